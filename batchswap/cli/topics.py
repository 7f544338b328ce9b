"""The pages of the documentation, which are part of the package."""

import re
from collections.abc import Iterator
from importlib.resources import files

_COMMENT = re.compile(r"^<!--.*-->\n+", re.MULTILINE)


def topics() -> dict[str, str]:
    """Return the text of each page, without comments, by its name."""
    return {
        each.name.removesuffix(".md"): _COMMENT.sub("", each.read_text(encoding="utf-8"))
        for each in sorted(files("batchswap").joinpath("docs").iterdir(), key=lambda page: page.name)
        if each.name.endswith(".md")
    }


def lines_of(pages: dict[str, str]) -> Iterator[str]:
    """Yield a line for each page: its name, and its heading."""
    for name, text in pages.items():
        heading = text.splitlines()[0].removeprefix("# ").removeprefix(f"{name.capitalize()}: ")
        yield f"- {name}: {heading}"
