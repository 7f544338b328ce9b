"""How a run ended: the JSON of `run --json`."""

from typing import Any

import msgspec

from batchswap.ledger.enrolment.orphans import Orphans

KINDS = ("submit", "poll", "estimate", "balance", "upload", "detect", "refused_429")
"""Kinds of requests, in the order of the summary."""


class Summary(msgspec.Struct, frozen=True):
    """The document of `run --json` (docs/reference.md).

    Counts and credits cover the whole batches over all runs; `requests` covers this run.
    """

    exit_code: int
    reason: str
    batch: list[str]
    counts: dict[str, int]
    credits: dict[str, float | None]
    requests: dict[str, int]
    seconds: float
    spent_now: float
    """Credits charged for the attempts of this run. Shown to people, not in the JSON."""
    unpriced_attempts: int = 0
    """Ended attempts without a price from the API: `spent` lacks their cost. In the JSON unless zero."""
    is_finished: bool = False
    """Whether the same command would find nothing to do. In the JSON, its name is "finished"."""
    next_tick_at: float | None = None
    """Unix time from which the next tick will probably find a finished task. In the JSON of ticks."""
    needs_you: int = 0
    """Tasks that need the user: uncertain, paid for and not saved, or of doubtful quality."""
    quality: dict[str, int] = {}
    """Results by quality."""
    signed: int = 0
    """Results with a signature."""
    orphans: Orphans = Orphans()
    """Unpaid tasks that the manifests no longer contain. Shown to people, not in the JSON."""

    ledger: str = ""
    """The ledger's path. Shown to people, not in the JSON."""

    @property
    def wanted(self) -> dict[str, int]:
        """Return the counts without the orphans."""
        return self.orphans.without(self.counts)

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.to_builtins(self)
        del found["spent_now"], found["orphans"], found["ledger"]
        found["finished"] = found.pop("is_finished")
        if self.next_tick_at is None:
            del found["next_tick_at"]
        if not self.unpriced_attempts:
            del found["unpriced_attempts"]
        return found
