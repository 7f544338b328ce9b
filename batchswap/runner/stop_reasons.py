"""Why a run submits no more, or ends: in words, with its exit code."""

import shlex
from collections.abc import Mapping

import msgspec

from batchswap.errors import Exit, worst
from batchswap.states import State


class Stop(msgspec.Struct, frozen=True):
    """Why no more is submitted, or why everything ends."""

    exit: Exit
    words: str


OUT_OF_CREDITS = Stop(Exit.NO_CREDITS, "out of credits (402): top up, and run again")


class Stopped(Exception):
    """The run ends, or submits no more: what waited for its turn need not wait any longer."""


class RowRefused(Exception):
    """A free call refused a row's inputs (422): submitting them would do the same. Its words are clean."""


def refusal_words(code: str) -> str:
    """What a refusal of the whole account (401, 403, 505) asks of the user."""
    match code:
        case "401":
            return "the API refuses the key (401): set CRUN_API_KEY, or the line CRUN_API_KEY=… in ~/.crun/.env"
        case "403":
            return "the API refuses the key (403): it may be disabled; see the account's page"
        case _:
            return "the API has this feature disabled for the account (505)"


def exceeded_words(amount: float) -> str:
    """What the API charged beyond a budget."""
    return (
        f"the budget was exceeded by {amount:g} credit{'' if amount == 1 else 's'}: the API charged more than estimated"
    )


def elsewhere_words(counts: Mapping[str, int]) -> str:
    """`counts`: tasks by the account that they were submitted to."""
    total = sum(counts.values())
    tasks, wait = ("task was", "it waits") if total == 1 else ("tasks were", "they wait")
    places = ["--provider local" if name == "local" else f"--base-url {shlex.quote(name)}" for name in sorted(counts)]
    return f"{total:,} unfinished {tasks} submitted elsewhere: {wait} for a run with {' or '.join(places)}"


def conclude(
    stops: list[Stop],
    counts: dict[str, int],
    elsewhere: Mapping[str, int],
    waits: tuple[str, bool] = ("", False),
    *,
    is_finished: bool,
    exceeded: float = 0.0,
) -> tuple[Exit, str]:
    """The exit code, and the reason in words. The worst wins. `counts`: of what the manifests ask for.

    `elsewhere`: paid for, and not collected by this run, by account. `waits`: which rows wait for the results of
    other tasks, in words, and whether one of these is uncertain.
    `exceeded`: credits that were charged beyond the budget, which changes no exit code.
    `is_finished`: nothing is left that the run was asked for. Then a deadline has stopped nothing, even if it came.
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
    if counts[State.UNCERTAIN]:
        exits.add(Exit.UNCERTAIN)
        words.append(f"{counts[State.UNCERTAIN]} uncertain: a person must decide")
    return worst(exits), "; ".join(words) or "all done"
