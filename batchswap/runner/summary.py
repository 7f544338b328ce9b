"""How a run ended: the JSON of `run --json`, the exit code, and one line in words."""

import shlex
from collections.abc import Mapping
from typing import Any

import msgspec

from batchswap.errors import Exit, worst
from batchswap.ledger.enrolment.orphans import Orphans
from batchswap.runner.stop_reasons import Stop
from batchswap.states import State

KINDS = ("submit", "poll", "estimate", "balance", "upload", "detect", "refused_429")
"""Of requests, in the order of the summary."""


class Summary(msgspec.Struct, frozen=True):
    """cli.md, "Options of `run`". Counts and credits are of the whole batches, over all runs; requests of this run."""

    exit_code: int
    reason: str
    batch: list[str]
    counts: dict[str, int]
    credits: dict[str, float | None]
    requests: dict[str, int]
    seconds: float
    spent_now: float
    """Credits that this run's own attempts were charged; for people, not in the JSON."""
    unpriced_attempts: int = 0
    """Ended attempts that the API did not price: what was spent is more by what they cost. In the JSON if there are."""
    is_finished: bool = False
    """Whether the same command would find nothing to do; for people, not in the JSON."""
    orphans: Orphans = Orphans()
    """Tasks that the manifests no longer ask for, and that cost nothing; for people, not in the JSON."""

    ledger: str = ""
    """Where the record of the run is; for people, not in the JSON."""

    @property
    def wanted(self) -> dict[str, int]:
        """The counts without the orphans."""
        return self.orphans.without(self.counts)

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(self)
        del found["spent_now"], found["is_finished"], found["orphans"], found["ledger"]
        if not self.unpriced_attempts:
            del found["unpriced_attempts"]
        return found


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
