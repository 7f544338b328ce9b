"""The first and last step of `make demo`: the input media, and the picture that compares them with the results.

`python -m manifests.demo media` and `python -m manifests.demo picture` write to the folder demo/.
"""

import sys
from pathlib import Path

from batchswap.local import engine

FOLDER = Path("demo")
PICTURE = FOLDER / "before-after.png"


def make_media() -> None:
    from manifests import demo_media  # noqa: PLC0415 - main() checks first that the libraries are installed

    print("Preparing the demo media …", flush=True)  # noqa: T201
    demo_media.make(FOLDER / "media")


def draw() -> None:
    from manifests.demo_picture import Pair, make_picture  # noqa: PLC0415

    media, results = FOLDER / "media", FOLDER / "results" / "demo"
    wanted = (
        ("carphone.mp4", "carphone-anna.mp4", "anna.png"),
        ("carphone.mp4", "carphone-grace.mp4", "grace.jpg"),
        ("portrait.mp4", "portrait-grace.mp4", "grace.jpg"),
        ("duo.mp4", "duo-anna.mp4", "anna.png"),
    )
    pairs = [Pair(media / before, results / after, media / face) for before, after, face in wanted]
    newest = max(pair.after.stat().st_mtime for pair in pairs)
    if not PICTURE.exists() or PICTURE.stat().st_mtime < newest:
        make_picture(pairs, PICTURE)
    print(f"The swapped media are in {results}/.\nCompare before and after: {PICTURE}")  # noqa: T201


def main() -> int:
    problems = engine.check_usable()
    for problem in problems:
        print(f"demo: {problem}", file=sys.stderr)  # noqa: T201
    if problems:
        return 2
    {"media": make_media, "picture": draw}[sys.argv[1]]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
