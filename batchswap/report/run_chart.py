"""The chart of a run (`status --plot`): its requests by purpose, and its tasks in flight, over time."""

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchswap.errors import MissingExtra, UsageError
from batchswap.ledger.traffic import Course
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
_REFUSED = "#D55E00"
_LINE = "#333333"
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


def draw(course: Course) -> str:
    """Return the chart as SVG."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an optional part, and slow to load
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("plot", "matplotlib") from error
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.0, 5.2), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        size, unit = _unit(len(course.in_flight) * course.step)
        _draw_requests(top, course, size)
        _draw_in_flight(bottom, course, size)
        bottom.set_xlabel(f"{unit} since {moment(course.start)}")
        figure.suptitle(_title(course), x=0.01, ha="left", fontsize=11.5)
        image = io.StringIO()
        figure.savefig(image, format="svg", metadata={"Date": None, "Creator": "batchswap", "Title": _title(course)})
    return image.getvalue()


def _unit(seconds: float) -> tuple[float, str]:
    return next((size, name) for least, size, name in _UNITS if seconds >= least)


def _title(course: Course) -> str:
    sums = {kind: sum(values) for kind, values in course.requests.items()}
    tasks, every = sums["submit"], sum(sums.values())
    a_task = f", {every / tasks:.2f} a task" if tasks else ""
    seconds = len(course.in_flight) * course.step
    return f"Run {course.run_id}: {plural(tasks, 'submit')}, {plural(every, 'request')}{a_task}, {span(seconds)}"


def _draw_requests(axes: "Axes", course: Course, size: float) -> None:
    """Draw stacked bars of requests per second."""
    lefts = [number * course.step / size for number in range(len(course.in_flight))]
    floor = [0.0] * len(lefts)
    for kind, (words, colour) in KINDS.items():
        heights = [n / course.step for n in course.requests[kind]]
        if any(heights):
            axes.bar(
                lefts,
                heights,
                course.step / size,
                floor,
                align="edge",
                color=colour,
                edgecolor=colour,
                label=words,
                linewidth=0.4,
            )
            floor = [below + height for below, height in zip(floor, heights, strict=True)]
    refused = [(left + course.step / size / 2, n) for left, n in zip(lefts, course.refused, strict=True) if n]
    if refused:
        height = max(floor) * 1.06
        label = f"429 ({sum(n for _, n in refused):,})"
        axes.plot([at for at, _ in refused], [height] * len(refused), "v", color=_REFUSED, label=label, clip_on=False)
    axes.set_ylabel("requests a second")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, len(lefts) * course.step / size)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=5, frameon=False, fontsize=9, borderaxespad=0.2)


def _draw_in_flight(axes: "Axes", course: Course, size: float) -> None:
    edges = [number * course.step / size for number in range(len(course.in_flight) + 1)]
    axes.stairs(course.in_flight, edges, color=_LINE, linewidth=1.4)
    axes.stairs(course.in_flight, edges, color=_LINE, alpha=0.12, fill=True)
    axes.set_ylabel("tasks in flight")
    axes.set_ylim(0, max(*course.in_flight, 1) * 1.05)
    axes.locator_params(axis="y", integer=True)
