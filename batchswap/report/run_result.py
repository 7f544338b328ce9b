"""The end of a run: the last line, with the commands that come next, and remarks on results and tasks before it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from batchswap.errors import Ending, Exit
from batchswap.events import LogEvent
from batchswap.report import stored_files
from batchswap.report.formatting import cells, counted, fit, moment, money, outcome, plural, priced, safe, span
from batchswap.report.next_commands import cancel_orphans, next_steps
from batchswap.runner.stop_reasons import exceeded_words
from batchswap.runner.summary import Summary
from batchswap.settings import Settings
from batchswap.states import DOUBTFUL, TO_DO, State

LONGEST = 160
"""Columns of a last line: two lines of a terminal."""
LOOKED_FOR = 20_000
"""Results that are looked for at the end: some may have been removed since."""


class RunRemains(msgspec.Struct, frozen=True):
    """Facts about the end of a run that its summary does not have."""

    has_moved: bool = True
    """Whether any task has another state than before."""
    has_results: bool = True
    """Whether results are where this run saves them."""
    is_elsewhere: bool = False
    """Whether results are only where an earlier run saved them."""
    losses: tuple[str, ...] = ()
    """Sentences about missing and changed files."""


def look(db: sqlite3.Connection, summary: Summary, out: Path, before: dict[str, int], ledger: Path) -> RunRemains:
    """Look for the results. `before`: the counts of the batches when the run began. `ledger`: for printed commands."""
    found = stored_files.look(db, summary.batch, out, LOOKED_FOR)
    is_here = found.is_here or summary.counts[State.DONE] > before[State.DONE]
    losses = tuple(stored_files.lines(found, ledger, out))
    return RunRemains(summary.counts != before, is_here, found.is_elsewhere, losses)


def remarks(summary: Summary, settings: Settings, seen: RunRemains) -> Iterator[tuple[LogEvent, str]]:
    """Yield what needs attention and has no room in the last line."""
    for words in seen.losses:
        yield LogEvent.RESULTS_MISSING, words
    if summary.orphans.counts:
        yield LogEvent.TASKS_ORPHANED, cancel_orphans(summary.orphans, settings.db)


def is_news(summary: Summary, settings: Settings, before: dict[str, int], last: Ending | None) -> bool:
    """Return whether a user who asked for quiet wants the last line: of a tick, only if it is not as expected.

    `before`: the counts when it began. `last`: how the tick before it ended.
    """
    if not settings.leaves:
        return True
    has_moved = summary.is_finished and summary.counts != before
    before_it = last if last is not None and last.exit_code is not None else Ending(Exit.DONE)
    is_known = before_it.had(summary.exit_code, summary.reason)
    return summary.exit_code != Exit.DEADLINE and (has_moved or not is_known)


def last_line(summary: Summary, settings: Settings, resume: str, seen: RunRemains | None = None) -> str:
    """Return the outcome and the next commands, shortened to `LONGEST`. `resume`: the command line of this run."""
    seen = seen or RunRemains()
    facts = ", ".join(
        part for part in (counted(summary.wanted), _needs(summary), _paid(summary), span(summary.seconds)) if part
    )
    head = safe(f"{fit(_head(summary, has_moved=seen.has_moved), LONGEST - 2 - cells(facts))}: {facts}")
    steps, again = next_steps(summary.wanted, settings.db, to_review=_has_doubtful(summary)), [""]
    is_open = summary.exit_code != Exit.DONE and not summary.is_finished
    if summary.next_tick_at is not None:
        again = [f"the next tick is worth it from {moment(summary.next_tick_at)[11:16]}", ""]
    elif is_open and settings.mode != "collect" and any(summary.wanted[state] for state in TO_DO):
        again = [f"to resume: {resume}", *([] if steps else ["run the same command again to resume"]), ""]
    places = dict.fromkeys((_place(summary, settings, seen), ""))
    ends = [[place, step, then] for step in steps or [""] for then in again for place in places]
    lines = [safe("; ".join(filter(None, [head, *end]))) for end in ends]
    return next((line for line in lines if cells(line) <= LONGEST), head)


def _needs(summary: Summary) -> str:
    """Return the number of tasks that need the user; "" if the states already show it."""
    return f"needs you: {summary.needs_you:,}" if summary.needs_you > summary.counts[State.UNCERTAIN] else ""


def _has_doubtful(summary: Summary) -> bool:
    return bool(_needs(summary)) and any(summary.quality.get(each) for each in DOUBTFUL)


def _place(summary: Summary, settings: Settings, seen: RunRemains) -> str:
    if summary.counts[State.DONE] and seen.has_results:
        return f"results in {settings.out}/"
    if summary.counts[State.DONE] and seen.is_elsewhere:
        return f"results are not in {settings.out}/ but where an earlier run saved them"
    return ""


def _head(summary: Summary, *, has_moved: bool) -> str:
    """Return why the run ended."""
    if summary.exit_code == Exit.DONE:
        if over := summary.credits["exceeded"]:
            return f"done, but {exceeded_words(over)}"
        return "done" if has_moved or any(summary.requests.values()) else "nothing to do"
    why = outcome(summary.exit_code, summary.reason)
    if summary.exit_code in (Exit.NO_CREDITS, Exit.REFUSED):  # what to do about it was reported when it happened
        return "; ".join(part.partition(": ")[0] for part in why.split("; "))
    return why


def _paid(summary: Summary) -> str:
    unpriced = summary.unpriced_attempts
    spent, reserved = summary.credits["spent"], summary.credits["reserved"]
    now = "" if summary.spent_now == spent else f" ({money(summary.spent_now)} in this run)"
    said = f"{priced(spent or None if unpriced else spent)}{now}"
    if reserved:
        said += f" and {money(reserved)} reserved"
    return said + (f", and {plural(unpriced, 'attempt')} without a price" if unpriced else "")
