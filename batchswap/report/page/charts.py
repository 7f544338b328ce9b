"""The chart of a run in a page: SVG with the colours of the page as variables, which also fit its dark mode."""

import sqlite3
from collections.abc import Sequence
from xml.etree import ElementTree as ET

import msgspec

from batchswap.ledger import page_queries
from batchswap.ledger.runs import traffic
from batchswap.ledger.runs.traffic import Course
from batchswap.report.formatting import moment, plural
from batchswap.report.run_chart import KINDS, LINE, MAINTENANCE, REFUSED, SLOW, ChartNotes, draw_sized, title_of
from batchswap.tasks import clean

SLOWEST = 10
_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_WIDE, _NARROW = (10.5, 6.4), (4.3, 7.4)
_COLOURS = {
    **{colour.lower(): f"var(--chart-{kind})" for kind, (_, colour) in KINDS.items()},
    REFUSED.lower(): "var(--chart-429)",
    MAINTENANCE.lower(): "var(--chart-455)",
    SLOW.lower(): "var(--chart-slow)",
    LINE.lower(): "var(--chart-line)",
    "#444444": "var(--chart-text)",
    "#888888": "var(--chart-axis)",
    "#000000": "var(--chart-text)",
}


class SlowTask(msgspec.Struct, frozen=True):
    """One of the slowest tasks."""

    name: str
    at: float
    seconds: float


class TimeLine(msgspec.Struct, frozen=True):
    """The chart for wide and for narrow screens, the same in words, and the slowest tasks."""

    wide: str
    narrow: str
    summary: str
    steps: list[tuple[str, int, int, int, int, int, int, int]]
    slowest: list[SlowTask]


def gather(db: sqlite3.Connection, batches: Sequence[int], run_id: int | None) -> TimeLine | None:
    """Draw the run, or the last one that sent a request. Return None if there is nothing to draw."""
    run_id = traffic.last_run(db) if run_id is None else run_id
    course = None if run_id is None else traffic.course(db, run_id)
    if course is None or run_id is None:
        return None
    slowest = page_queries.slowest(db, batches, run_id, SLOWEST)
    end = course.start + len(course.in_flight) * course.step
    spans = tuple((max(at, course.start), min(took, end - max(at, course.start))) for _, at, took in slowest)
    notes = ChartNotes(spans, page_queries.last_submit(db, run_id))
    return TimeLine(
        wide=themed(draw_sized(course, _WIDE, notes=notes, extra="report")),
        narrow=themed(draw_sized(course, _NARROW, notes=notes, extra="report")),
        summary=_words(course),
        steps=list(_steps(course)),
        slowest=[SlowTask(clean(name), at, took) for name, at, took in slowest],
    )


def _words(course: Course) -> str:
    refused = [f"{plural(sum(counts), 'answer')} with status {code}"
               for code, counts in ((429, course.refused), (455, course.maintenance)) if any(counts)]  # fmt: skip
    most = plural(max(course.in_flight, default=0), "task")
    return (
        f"{title_of(course)}. At most {most} in flight. {' and '.join(refused) or 'No answer with status 429 or 455'}."
    )


def _steps(course: Course, most: int = 24) -> "list[tuple[str, int, int, int, int, int, int, int]]":
    """Return the numbers in at most `most` rows, for readers who cannot see the chart."""
    width = -(-len(course.in_flight) // most)
    found = []
    for start in range(0, len(course.in_flight), width):
        part = slice(start, start + width)
        sums = [sum(course.requests[kind][part]) for kind in KINDS]
        refused, maintenance = sum(course.refused[part]), sum(course.maintenance[part] if course.maintenance else [])
        when = moment(course.start + start * course.step)[11:]
        submit, useful, early, other = sums
        found.append((when, submit, useful, early, other, refused, maintenance, max(course.in_flight[part])))
    return found


def themed(image: str) -> str:
    """Return an SVG image as part of a page: no styles, which its policy forbids, and colours as variables."""
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _LINK)
    root = ET.fromstring(image)  # noqa: S314 - drawn by matplotlib from numbers
    for parent in [*root.iter()]:
        for child in [*parent]:
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style", f"{{{_SVG}}}title"):
                parent.remove(child)
        _restyle(parent)
    backgrounds = [each for each in root.iter(f"{{{_SVG}}}path") if each.get("fill") == "#ffffff"]
    for each in backgrounds:
        each.set("fill", "none")
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    root.set("aria-hidden", "true")
    root.set("focusable", "false")
    return ET.tostring(root, encoding="unicode")


def _restyle(element: ET.Element) -> None:
    """Turn the style of an element into attributes, which are the same to a browser."""
    for part in element.attrib.pop("style", "").split(";"):
        name, _, value = (text.strip() for text in part.partition(":"))
        if name == "font":
            element.set("font-size", value.split("px")[0].split()[-1])
        elif name and name != "font-family":
            element.set(name, _COLOURS.get(value, value))
    if element.tag == f"{{{_SVG}}}g":
        element.attrib.pop("id", None)
    if element.tag == f"{{{_SVG}}}text" and "fill" not in element.attrib:
        element.set("fill", "var(--chart-text)")
