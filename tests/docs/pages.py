"""The pages of the documentation, cut into the parts that tests look at."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "batchswap" / "docs"
PAGES = (ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted((ROOT / ".github").glob("*.md")))
COMMENT = re.compile(r"<!-- (\w+): ?(.*?) ?-->")
FENCE = re.compile(r"```(.*)")
HEADING = re.compile(r"#+ (.*)")
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: `info` are the words after the fence, `orders` the comments before it, `start` its first line."""

    start: int
    info: tuple[str, ...]
    lines: tuple[str, ...]
    orders: tuple[tuple[str, str], ...]

    @property
    def kind(self) -> str:
        """Return the language, "" for none."""
        return self.info[0] if self.info else ""


@dataclass(frozen=True)
class Page:
    """A Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        """Return the path below the project's folder."""
        return str(self.path.relative_to(ROOT))

    @cached_property
    def lines(self) -> list[str]:
        """Return the lines, without their ends."""
        return self.path.read_text(encoding="utf-8").splitlines()

    @cached_property
    def blocks(self) -> list[Block]:
        """Return the fenced blocks in their order."""
        found: list[Block] = []
        orders: list[tuple[str, str]] = []
        start: int | None = None
        for number, line in enumerate(self.lines):
            if fence := FENCE.fullmatch(line):
                if start is None:
                    start, info = number + 1, tuple(fence[1].split())
                else:
                    found.append(Block(start, info, tuple(self.lines[start:number]), tuple(orders)))
                    start, orders = None, []
            elif start is None and (comment := COMMENT.fullmatch(line)):
                orders.append((comment[1], comment[2]))
        return found

    @cached_property
    def prose(self) -> list[str]:
        """Return the lines outside of fenced blocks."""
        inside = {n for block in self.blocks for n in range(block.start - 1, block.start + len(block.lines) + 1)}
        return [line for number, line in enumerate(self.lines) if number not in inside]

    @property
    def anchors(self) -> set[str]:
        """Return the names that links can lead to, as GitHub makes them of headings."""
        headings = (found[1] for line in self.prose if (found := HEADING.fullmatch(line)))
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    @property
    def links(self) -> list[str]:
        """Return the targets of all links."""
        return [target for line in self.prose for target in LINK.findall(line)]

    def rewrite(self, changes: dict[int, tuple[int, list[str]]]) -> None:
        """Replace lines in the file: first line -> (how many, the new ones). Read it again after this."""
        lines = list(self.lines)
        for start in sorted(changes, reverse=True):
            count, new = changes[start]
            lines[start : start + count] = new
        if lines != self.lines:
            self.path.write_text("\n".join([*lines, ""]), encoding="utf-8")
