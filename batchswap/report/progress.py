"""The progress of a run in words and numbers, for the live display and the log."""

from typing import Any

import msgspec

from batchswap.report.formatting import money, plural, priced, span
from batchswap.runner.background import RunView
from batchswap.states import ENDED, IN_FLIGHT, State

LEAST_FINISHED = 3
"""Tasks that must have ended before the time left is estimated."""


class Shown(msgspec.Struct, frozen=True):
    """The progress to show. `left`: estimated seconds, None if unknown."""

    finished: int
    total: int
    in_flight: int
    done: int
    failed: int
    uncertain: int
    queued: int
    left_out: int
    spent: float
    reserved: float
    requests: int
    pace: str
    waiting: str
    seconds: float
    left: float | None

    def to_json(self) -> dict[str, Any]:
        found = msgspec.to_builtins(self)
        return found if isinstance(found, dict) else {}


class Progress:
    """Turns views of a run into progress. Keeps the state at the start, to estimate the time left."""

    def __init__(self, first: RunView, now: float) -> None:
        """`now`: monotonic seconds."""
        self._began, self._finished = now, _finished(first)

    def at(self, view: RunView, now: float) -> Shown:
        finished, seconds = _finished(view), now - self._began
        total = sum(view.counts.values()) - view.counts[State.CANCELLED] - view.left_out
        ended = finished - self._finished
        left = seconds / ended * (total - finished) if ended >= LEAST_FINISHED else None
        return Shown(
            finished=finished,
            total=total,
            in_flight=sum(view.counts[state] for state in IN_FLIGHT),
            done=view.counts[State.DONE],
            failed=view.counts[State.FAILED],
            uncertain=view.counts[State.UNCERTAIN],
            queued=view.queued,
            left_out=view.left_out,
            spent=view.spent,
            reserved=view.reserved,
            requests=view.requests,
            pace=view.pace,
            waiting=view.waiting,
            seconds=seconds,
            left=left,
        )


def _finished(view: RunView) -> int:
    return sum(view.counts[state] for state in ENDED)


def tasks_line(shown: Shown) -> str:
    """Return `123 done · 34 in flight · 2 failed · 0 uncertain · 41 queued`."""
    others = f" · {shown.left_out:,} not in this run" if shown.left_out else ""
    return (
        f"{shown.done:,} done · {shown.in_flight:,} in flight · {shown.failed:,} failed"
        f" · {shown.uncertain:,} uncertain · {shown.queued:,} queued{others}"
    )


def costs_line(shown: Shown) -> str:
    """Return `246 credits spent · 68 reserved · 310 requests at 20/10s`."""
    pace = f" at {shown.pace}" if shown.pace else ""
    return f"{priced(shown.spent)} spent · {money(shown.reserved)} reserved · {plural(shown.requests, 'request')}{pace}"


def time_line(shown: Shown) -> str:
    """Return `3 min 21 s, about 2 min left`."""
    left = "" if shown.left is None or shown.finished >= shown.total else f", about {span(shown.left)} left"
    return f"{span(shown.seconds)}{left}"


def one_line(shown: Shown) -> str:
    """Return all of it in one line, for a log."""
    waiting = f"; {shown.waiting}" if shown.waiting else ""
    facts = f"{tasks_line(shown)}; {costs_line(shown)}{waiting}; {time_line(shown)}"
    return f"{shown.finished:,} of {shown.total:,} finished: {facts}"
