"""The reasons why a run stops submitting or ends, with their exit codes."""

import shlex
from collections.abc import Mapping

import msgspec

from batchswap.errors import Exit, worst
from batchswap.states import State


class Stop(msgspec.Struct, frozen=True):
    """The reason why the run submits nothing more, or ends."""

    exit: Exit
    words: str
    cause: str = ""
    """"credits", "refusals" or "disk", for messages during the run; "" for others."""


_REFUSALS = {
    "401": "the API refuses the key (401): set CRUN_API_KEY, or the line CRUN_API_KEY=… in ~/.crun/.env",
    "403": "the API refuses the key (403): it may be disabled, see your account's page",
}
OUT_OF_CREDITS = Stop(Exit.NO_CREDITS, "out of credits (402): top up, and run again", "credits")


class Stopped(Exception):
    """Raised in steps that wait for their turn when the run ends or stops submitting."""


class RowRefused(Exception):
    """A free call refused a row's inputs (422), as a submit would. The message contains no secrets."""


def refusal_words(code: str) -> str:
    """Return the message for a refusal of the whole account (401, 403, 505)."""
    return _REFUSALS.get(code, "the API has disabled this feature for your account (505): see your account's page")


def exceeded_words(amount: float) -> str:
    """Return the message for credits charged beyond a budget."""
    return (
        f"the budget was exceeded by {amount:g} credit{'' if amount == 1 else 's'}: the API charged more than estimated"
    )


def elsewhere_words(counts: Mapping[str, int]) -> str:
    """Return the message for unfinished tasks of other accounts, given their number by account."""
    total = sum(counts.values())
    tasks, wait = ("task was", "it waits") if total == 1 else ("tasks were", "they wait")
    places = ["--provider local" if name == "local" else f"--base-url {shlex.quote(name)}" for name in sorted(counts)]
    return f"{total:,} unfinished {tasks} submitted elsewhere: {wait} for a run with {' or '.join(places)}"


def left_words(trouble: str) -> str:
    """Return the message for the work that a tick leaves. `trouble`: why the API takes no requests now, or ""."""
    left = "work is left for the next tick"
    return f"the API takes no requests now ({trouble}): {left}" if trouble else left


def conclude(
    stops: list[Stop],
    counts: dict[str, int],
    elsewhere: Mapping[str, int],
    waits: tuple[str, bool] = ("", False),
    *,
    is_finished: bool,
    exceeded: float = 0.0,
    doubtful: int = 0,
    is_part: bool = False,
) -> tuple[Exit, str]:
    """Return the exit code (the worst one) and the reason as text.

    `counts` are the tasks that the manifests contain, by state. `elsewhere` are paid tasks that this run cannot
    collect, by account. `waits` describes rows that wait for results of other tasks, and whether one of those is
    uncertain. `exceeded` is the amount charged beyond the budget; it does not change the exit code. `doubtful` counts
    the results without a swap, with --require-swap.
    If `is_finished`, the run has no work left, so a deadline that has passed is not a reason. If `is_part`, later runs
    continue the work, so single tasks do not count yet: the exit code is 7 unless something stops all of them.
    """
    counting = [stop for stop in stops if not (is_finished and stop.exit is Exit.DEADLINE)]
    words = [stop.words for stop in counting]
    exits = {stop.exit for stop in counting}
    if exceeded:
        words.append(exceeded_words(exceeded))
    if elsewhere:
        exits.add(Exit.FAILED)
        words.append(elsewhere_words(elsewhere))
    if waits[0]:
        exits |= {Exit.UNCERTAIN} if waits[1] else set() if exits else {Exit.FAILED}
        words.append(waits[0])
    if counts[State.FAILED]:
        exits.add(Exit.FAILED)
        words.append(f"{counts[State.FAILED]} failed")
    if doubtful:
        exits.add(Exit.FAILED)
        words.append(f"{doubtful} without a swap in all frames (--require-swap)")
    if counts[State.UNCERTAIN]:
        exits.add(Exit.UNCERTAIN)
        they_need = "it needs" if counts[State.UNCERTAIN] == 1 else "they need"
        words.append(f"{counts[State.UNCERTAIN]} uncertain: {they_need} your decision")
    if is_part and not is_finished:
        exits = {stop.exit for stop in counting}
    return worst(exits), "; ".join(words) or "all done"
