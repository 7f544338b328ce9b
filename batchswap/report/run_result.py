"""The last line of a run: what happened, what it cost, and the command that comes next."""

import re
import sqlite3
from pathlib import Path

import msgspec

from batchswap.errors import Exit
from batchswap.report import stored_files
from batchswap.report.formatting import counted, money, plural, priced, safe, span
from batchswap.report.next_commands import next_steps, no_longer_asked_for
from batchswap.runner.stop_reasons import exceeded_words
from batchswap.runner.summary import Summary
from batchswap.settings import Settings
from batchswap.states import TO_DO, State

_COUNT = re.compile(r"\d+ (failed|uncertain)\b")
LOOKED_FOR = 20_000
"""Results that are looked at: some may have been taken away since."""


class RunRemains(msgspec.Struct, frozen=True):
    """What a run left, as far as its summary does not tell."""

    has_moved: bool = True
    """Whether any task is elsewhere than before."""
    has_results: bool = True
    """Whether results are where this run saves them."""
    is_elsewhere: bool = False
    """Whether results are only where an earlier run saved them."""
    losses: tuple[str, ...] = ()
    """What is no longer on the disk as it was, in words."""


def look(db: sqlite3.Connection, summary: Summary, out: Path, before: dict[str, int], ledger: Path) -> RunRemains:
    """`before`: the counts of the batches when the run began. `ledger`: for commands that are shown."""
    found = stored_files.look(db, summary.batch, out, LOOKED_FOR)
    is_here = found.is_here or summary.counts[State.DONE] > before[State.DONE]
    losses = tuple(stored_files.lines(found, ledger, out))
    return RunRemains(summary.counts != before, is_here, found.is_elsewhere, losses)


def last_line(summary: Summary, settings: Settings, resume: str, seen: RunRemains | None = None) -> str:
    """`resume` is the command line that goes on with the work."""
    seen = seen or RunRemains()
    wanted = summary.wanted
    parts = [counted(wanted), _paid(summary), span(summary.seconds)]
    said = [f"{_head(summary, has_moved=seen.has_moved)}: {', '.join(part for part in parts if part)}"]
    if summary.counts[State.DONE] and seen.has_results:
        said.append(f"results in {settings.out}/")
    elif summary.counts[State.DONE] and seen.is_elsewhere:
        said.append(f"results are not in {settings.out}/ but where an earlier run saved them")
    said += seen.losses
    said += next_steps(wanted, settings.db)
    if summary.orphans.counts:
        said.append(no_longer_asked_for(summary.orphans, settings.db))
    if summary.exit_code != Exit.DONE and not summary.is_finished and any(wanted[state] for state in TO_DO):
        said.append(f"go on with: {resume}")
    return safe("; ".join(said))


def _head(summary: Summary, *, has_moved: bool) -> str:
    """Why it ended, in words; the counts are said anyway."""
    said = "; ".join(part for part in summary.reason.split("; ") if not _COUNT.match(part))
    match summary.exit_code:
        case Exit.DONE:
            if over := summary.credits["exceeded"]:
                return f"done, but {exceeded_words(over)}"
            return "done" if has_moved or any(summary.requests.values()) else "nothing to do"
        case Exit.FAILED:
            return said or "not all done"
        case Exit.UNCERTAIN:
            return said or "a person must decide"
    return said


def _paid(summary: Summary) -> str:
    unpriced = summary.unpriced_attempts
    spent, reserved = summary.credits["spent"], summary.credits["reserved"]
    now = "" if summary.spent_now == spent else f" ({money(summary.spent_now)} of them in this run)"
    said = f"{priced(spent or None if unpriced else spent)}{now}"
    if reserved:
        said += f" and {money(reserved)} reserved"
    return said + (f", and {plural(unpriced, 'attempt')} without a price" if unpriced else "")
