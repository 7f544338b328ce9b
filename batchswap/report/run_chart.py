"""The chart of a run: its requests by purpose, and its tasks in flight, over time (`status --plot`, `report`)."""

import io
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from batchswap.errors import MissingExtra, UsageError
from batchswap.ledger.runs.traffic import Course
from batchswap.report.formatting import moment, plural, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours by Okabe and Ito. They differ in lightness too: for prints and for colour-blind readers.
KINDS = {
    "submit": ("submits", "#0072B2"),
    "useful": ("polls, finished", "#009E73"),
    "early": ("polls, too early", "#E69F00"),
    "other": ("other", "#BBBBBB"),
}
REFUSED, MAINTENANCE, LINE, SLOW = "#D55E00", "#CC79A7", "#333333", "#56B4E9"
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "batchswap",  # the same run gives the same file
    "font.size": 10.0,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
}
_LEDGER = ("", "-wal", "-shm", "-journal", ".lock")
"""Endings of the names of a ledger and its companion files."""
_HEAD = 4096
_SVG = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!DOCTYPE svg\b|(?:<!--.*?-->\s*)*<svg\b)", re.DOTALL)
_UNITS = (
    (2 * 86400.0, 86400.0, "days"),
    (2 * 3600.0, 3600.0, "hours"),
    (300.0, 60.0, "minutes"),
    (0.0, 1.0, "seconds"),
)


def check_place(path: Path, ledger: Path) -> None:
    """Raise UsageError for a file that the chart must not replace: the ledger, and any file that is not an SVG."""
    try:
        if any(path.resolve() == Path(f"{ledger.resolve()}{beside}") for beside in _LEDGER):
            raise UsageError(f"{path}: belongs to the ledger; name another file")
        if not path.is_file():
            return
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
    if head and not _SVG.match(head):
        raise UsageError(f"{path}: exists and is not an SVG file; name another file")


def write(course: Course, path: Path) -> None:
    """Write the chart as an SVG file. Raise MissingExtra without matplotlib, UsageError if it cannot be written."""
    image = draw(course)
    try:
        path.write_text(image, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error


class ChartNotes(msgspec.Struct, frozen=True):
    """More of a run to draw. Times are Unix seconds. `slowest`: start and seconds of the tasks that took longest."""

    slowest: tuple[tuple[float, float], ...] = ()
    last_submit: float | None = None


def draw(course: Course) -> str:
    """Return the chart as SVG."""
    return draw_sized(course, (9.0, 5.2), title=title_of(course))


def draw_sized(
    course: Course,
    inches: tuple[float, float],
    *,
    title: str = "",
    notes: ChartNotes | None = None,
    extra: str = "plot",
) -> str:
    """Return the chart as SVG, with the slowest tasks as bars if there are `notes`.

    `extra`: the part of the package that the caller needs, for the message when matplotlib is missing.
    """
    # A user without a home directory would get a remark on the place of its cache.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an optional part, and slow to load
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra(extra, "matplotlib") from error
    # Several charts in one page must not share the names of their clipping paths.
    with mpl.rc_context({**_STYLE, "svg.hashsalt": f"batchswap {inches}"}):
        figure = Figure(figsize=inches, layout="constrained")
        heights = (3, 2, 2) if notes and notes.slowest else (3, 2)
        panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        size, unit = _unit(len(course.in_flight) * course.step)
        _draw_requests(panels[0], course, size, columns=2 if inches[0] < 6 else 6)
        _draw_in_flight(panels[1], course, size, has_label=notes is not None)
        for each in panels[:2]:
            _draw_bands(each, course, size)
        if notes and notes.slowest:
            _draw_slowest(panels[2], course, size, notes.slowest)
        if notes and notes.last_submit is not None:
            _draw_stop(panels[1], (notes.last_submit - course.start) / size)
        panels[-1].set_xlabel(f"{unit} since {moment(course.start)}")
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=11.5)
        image = io.StringIO()
        figure.savefig(image, format="svg", metadata={"Date": None, "Creator": "batchswap", "Title": title_of(course)})
    return image.getvalue()


def _unit(seconds: float) -> tuple[float, str]:
    return next((size, name) for least, size, name in _UNITS if seconds >= least)


def title_of(course: Course) -> str:
    sums = {kind: sum(values) for kind, values in course.requests.items()}
    tasks, every = sums["submit"], sum(sums.values())
    a_task = f", {every / tasks:.2f} a task" if tasks else ""
    seconds = len(course.in_flight) * course.step
    return f"Run {course.run_id}: {plural(tasks, 'submit')}, {plural(every, 'request')}{a_task}, {span(seconds)}"


def _draw_requests(axes: "Axes", course: Course, size: float, columns: int) -> None:
    """Draw the requests by purpose, one upon the other."""
    lefts = [number * course.step / size for number in range(len(course.in_flight))]
    edges = [*lefts, len(lefts) * course.step / size]
    floor = [0.0] * len(lefts)
    most = max(map(sum, zip(*course.requests.values(), strict=True)), default=0) / course.step
    period, unit = (1, "second") if most >= 0.5 else (60, "minute")
    for kind, (words, colour) in KINDS.items():
        heights = [n * period / course.step for n in course.requests[kind]]
        if any(heights):
            tops = [below + height for below, height in zip(floor, heights, strict=True)]
            axes.stairs(tops, edges, baseline=floor, fill=True, color=colour, label=words)
            floor = tops
    refused = [(left + course.step / size / 2, n) for left, n in zip(lefts, course.refused, strict=True) if n]
    if refused:
        height = max(floor) * 1.06
        label = f"429 ({sum(n for _, n in refused):,})"
        axes.plot([at for at, _ in refused], [height] * len(refused), "v", color=REFUSED, label=label, clip_on=False)
    if any(course.maintenance):
        label = f"455 ({sum(course.maintenance):,})"
        axes.plot([], [], "s", color=MAINTENANCE, alpha=0.5, label=label)
    axes.set_ylabel(f"requests a {unit}")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, edges[-1])
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False, fontsize=9, borderaxespad=0.2)


def _draw_in_flight(axes: "Axes", course: Course, size: float, *, has_label: bool) -> None:
    edges = [number * course.step / size for number in range(len(course.in_flight) + 1)]
    axes.stairs(course.in_flight, edges, color=LINE, linewidth=1.4)
    axes.stairs(course.in_flight, edges, color=LINE, alpha=0.12, fill=True)
    axes.set_ylabel("tasks in flight")
    axes.set_ylim(0, max(*course.in_flight, 1) * (1.25 if has_label else 1.05))
    axes.locator_params(axis="y", integer=True)


def _draw_bands(axes: "Axes", course: Course, size: float) -> None:
    """Mark the steps with answers 429 and 455 over the whole height."""
    for counts, colour in ((course.refused, REFUSED), (course.maintenance, MAINTENANCE)):
        bands = [(number * course.step / size, course.step / size) for number, n in enumerate(counts) if n]
        if bands:
            transform = axes.get_xaxis_transform()
            axes.broken_barh(bands, (0, 1), transform=transform, color=colour, alpha=0.18, linewidth=0, zorder=0)


def _draw_stop(axes: "Axes", at: float) -> None:
    axes.axvline(at, color=LINE, linestyle=(0, (4, 3)), linewidth=1.0)
    axes.annotate("last submit", (at, 1), xycoords=axes.get_xaxis_transform(), xytext=(-4, -2),
                  textcoords="offset points", ha="right", va="top", fontsize=8.5, color=LINE)  # fmt: skip


def _draw_slowest(axes: "Axes", course: Course, size: float, slowest: tuple[tuple[float, float], ...]) -> None:
    """Draw when the slowest tasks ran, numbered from the slowest one."""
    for number, (start, seconds) in enumerate(slowest, 1):
        axes.barh(number, seconds / size, 0.62, (start - course.start) / size, color=SLOW)
    axes.set_ylim(len(slowest) + 0.6, 0.4)
    axes.set_yticks(range(1, len(slowest) + 1))
    axes.tick_params(axis="y", labelsize=7.5, length=0)
    axes.set_ylabel("slowest tasks")
