"""The last line of a run: what happened, what it cost, and the command that comes next."""

import re

from batchswap.errors import Exit
from batchswap.report.commands import next_steps
from batchswap.report.words import money, safe, span
from batchswap.runner.summary import Summary
from batchswap.settings import Settings
from batchswap.states import State

_NAMED = {
    State.DONE: "done",
    State.FAILED: "failed",
    State.UNCERTAIN: "uncertain",
    State.SUBMITTING: "submitting",
    State.RUNNING: "running",
    State.FETCHING: "to download",
    State.QUEUED: "queued",
    State.CANCELLED: "cancelled",
}
_COUNT = re.compile(r"\d+ (failed|uncertain)\b")
_OPEN = (State.QUEUED, State.SUBMITTING, State.RUNNING, State.FETCHING)


def last_line(summary: Summary, settings: Settings, resume: str) -> str:
    """`resume` is the command line that goes on with the work."""
    parts = [_counted(summary.counts), _paid(summary), span(summary.seconds)]
    said = [f"{_head(summary)}: {', '.join(part for part in parts if part)}"]
    if summary.counts[State.DONE]:
        said.append(f"results in {settings.out}/")
    said += next_steps(summary.counts, settings.db)
    if summary.exit_code != Exit.DONE and sum(summary.counts[state] for state in _OPEN) > summary.elsewhere:
        said.append(f"go on with: {resume}")
    return safe("; ".join(said))


def _head(summary: Summary) -> str:
    """Why it ended, in words; the counts are said anyway."""
    said = "; ".join(part for part in summary.reason.split("; ") if not _COUNT.match(part))
    match summary.exit_code:
        case Exit.DONE:
            return "done" if any(summary.requests.values()) else "nothing to do"
        case Exit.FAILED:
            return said or "not all done"
        case Exit.UNCERTAIN:
            return said or "a person must decide"
    return said


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{counts[state]:,} {name}" for state, name in _NAMED.items() if counts[state]) or "no tasks"


def _paid(summary: Summary) -> str:
    spent, reserved = summary.credits["spent"], summary.credits["reserved"]
    now = "" if summary.spent_now == spent else f" ({money(summary.spent_now)} of them in this run)"
    return f"{money(spent)} credits{now}" + (f" and {money(reserved)} reserved" if reserved else "")
