"""How a run ended: the JSON of `run --json`."""

from typing import Any

import msgspec

from batchswap.ledger.enrolment.orphans import Orphans

KINDS = ("submit", "poll", "estimate", "balance", "upload", "detect", "refused_429")
"""Of requests, in the order of the summary."""


class Summary(msgspec.Struct, frozen=True):
    """The document of `run --json` (docs/reference.md).

    Counts and credits are of the whole batches, over all runs; requests are of this run.
    """

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
