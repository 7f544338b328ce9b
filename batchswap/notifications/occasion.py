"""Decide whether the end of a run is an occasion for a message. Pure."""

from typing import Literal

from batchswap.errors import Ending, Exit
from batchswap.notifications.run_end import EarlierRun, RunEnd
from batchswap.states import State

NotifyOn = Literal["always", "trouble", "never"]
FIRST = EarlierRun(0.0, Exit.DONE)
"""Stands for the run before the first one: it had no trouble, and left nothing."""


def is_due(end: RunEnd, notify_on: NotifyOn) -> bool:
    """Return whether a message about the end of a run is sent.

    Trouble is an exit code other than 0, and anything that needs the user. Ticks and the other short runs of cron end
    with exit code 7 as long as work is left. They send only what is new since the last run of the same batches.
    """
    if notify_on == "never":
        return False
    if end.mode == "run":
        return notify_on == "always" or _is_trouble(end)
    before = end.before or FIRST
    if _is_worse(end, before):
        return True
    is_over = not end.open and (before.open > 0 or end.before is None)
    return is_over and (notify_on == "always" or _is_trouble(end) or end.counts[State.FAILED] > 0)


def is_well(code: int | None, mode: str) -> bool:
    """Return whether a run ended as it should: for the short runs of cron, also with work left for the next one."""
    return code == Exit.DONE or (code == Exit.DEADLINE and mode != "run")


def _is_trouble(end: RunEnd) -> bool:
    return not is_well(end.exit_code, end.mode) or end.needs_you > 0


def _is_worse(end: RunEnd, before: EarlierRun) -> bool:
    """Return whether there is trouble that the run before did not have."""
    is_known = end.exit_code is not None and Ending(before.exit_code, before.reason).had(end.exit_code, end.reason)
    if not is_well(end.exit_code, end.mode) and not is_known:
        return True
    return (end.needs_you > 0 and not before.needs_you) or end.uncertain > before.uncertain
