"""`python -m tests.docs`: compare the documentation with the code; with `--write`, bring it up to date.

That writes the tables that come from the code, and the outputs of the examples. Read the difference before a commit.
"""

import sys

from tests.docs.pages import PAGES, Page
from tests.docs.replay import replay
from tests.docs.tables import outdated


def main(arguments: list[str]) -> int:
    """Return 0 when the pages agree with the code, or do now."""
    count = 0
    for path in PAGES:
        changes = outdated(Page(path))
        if "--write" in arguments:
            Page(path).rewrite(changes)
        outputs, wrong, _ = replay(Page(path))
        if "--write" in arguments:
            Page(path).rewrite(outputs)
        count += len(changes) + len(wrong)
        for each in wrong:
            print(each, end="\n\n")
        if changes:
            print(f"{Page(path).name}: {len(changes)} tables differ from the code")
    if count and "--write" not in arguments:
        print(f"{count} differences; `python -m tests.docs --write` brings the pages up to date")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
