"""The first step of `make demo`: make the input media in the folder demo/media."""

import sys
from pathlib import Path

from batchswap.local import engine

FOLDER = Path("demo")


def main() -> int:
    problems = engine.check_usable()
    for problem in problems:
        print(f"demo: {problem}", file=sys.stderr)  # noqa: T201
    if problems:
        return 2
    from manifests import demo_media  # noqa: PLC0415 - the libraries are installed, as was just checked

    print("Preparing the demo media …", flush=True)  # noqa: T201
    demo_media.make(FOLDER / "media")
    return 0


if __name__ == "__main__":
    sys.exit(main())
