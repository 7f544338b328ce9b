"""The live display on terminals of any width and encoding: nothing is cut, and no line is too long."""

import io

import msgspec
import pytest
from rich.console import Console

from batchswap.cli.console import LOOK_ALIKE
from batchswap.cli.progress import draw
from batchswap.report.formatting import cells
from batchswap.report.progress import Shown

OUTAGE = "waiting: no connection in time (https://api.crun.ai/api/v1/client/job/TaskInfo?…)"
SHOWN = Shown(
    finished=12_345, total=100_000, in_flight=100, done=12_000, failed=300, uncertain=45, queued=87_555, left_out=1_200,
    spent=36_000.5, reserved=300.0, requests=30_000, pace="20/10s", waiting=OUTAGE, seconds=7_500.0, left=43_140.0,
)  # fmt: skip
FIGURES = [
    "12,345/100,000", "12%", "2 h 5 min, about 11 h 59 min left", "12,000 done", "100 in flight", "300 failed",
    "45 uncertain", "87,555 queued", "1,200 not in this run", "36,000.5 credits spent", "300 reserved",
    "30,000 requests at 20/10s", OUTAGE,
]  # fmt: skip


def drawn(shown: Shown, width: int, encoding: str, title: str) -> list[str]:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors=LOOK_ALIKE)
    console = Console(file=file, width=width, force_terminal=True, no_color=True, color_system=None)
    console.print(draw(shown, title, console))
    file.flush()
    return raw.getvalue().decode(encoding).splitlines()


@pytest.mark.parametrize("title", ["spring", "spring-campaign-2026, spring-campaign-2027", "春のキャンペーン"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
@pytest.mark.parametrize("width", [40, 60, 72, 80, 120])
def test_nothing_is_cut_and_no_line_is_too_long(width: int, encoding: str, title: str) -> None:
    lines = drawn(SHOWN, width, encoding, title)
    assert max(map(cells, lines)) <= width
    said = " ".join(" ".join(lines).split())
    for words in FIGURES:
        shown = words.encode(encoding, LOOK_ALIKE).decode(encoding)
        assert "".join(shown.split()) in "".join(said.split()), words
    assert lines[0].startswith(title[:2] if encoding == "utf-8" or title.isascii() else "\\u6")


def test_a_display_of_eighty_columns_has_three_lines() -> None:
    usual = msgspec.structs.replace(
        SHOWN, finished=123, total=200, done=120, failed=2, uncertain=1, queued=40, left_out=0, waiting=""
    )
    assert len(drawn(usual, 80, "utf-8", "spring")) == 3


def test_an_ellipsis_that_cannot_be_shown_is_as_wide_as_one() -> None:
    title = "a-very-long-name-of-a-batch-indeed"
    for encoding, mark in (("utf-8", "…"), ("latin-1", "~"), ("ascii", "~")):
        assert drawn(SHOWN, 80, encoding, title)[0].split(mark)[0] in title
