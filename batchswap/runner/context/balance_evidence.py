"""What the account's balance tells about submits without a clear answer."""

from batchswap.tasks import Attempt

Doubt = tuple[Attempt, float | None]
"""A submit without a clear answer, and the balance before it, if nothing else was in flight."""


class BalanceEvidence:
    """The balance, and what was submitted since it was read."""

    def __init__(self) -> None:
        self.latest: float | None = None
        self.quiet: float | None = None
        """The balance, if nothing was submitted since it was read."""
        self.unclear_submits: list[Doubt] = []
        """Nothing is submitted before the balance is read."""
        self.reads = 0
        """Times that it was read for them since a submit last got a clear answer."""
        self.submits = 0
        """Submits in progress."""

    def note(self, balance: float | None, *, is_quiet: bool = False) -> None:
        """Keep a balance. `is_quiet`: nothing was in flight or submitted while it was read."""
        self.latest = balance
        if is_quiet:
            self.quiet = balance

    def submit_began(self) -> None:
        """Count a submit that is being recorded and sent."""
        self.submits += 1

    def submit_left(self) -> None:
        """Forget the quiet balance: a request that may cost leaves."""
        self.quiet = None

    def submit_ended(self) -> None:
        """Count a submit no longer."""
        self.submits -= 1

    def submit_was_clear(self) -> None:
        """Note that the API answers submits."""
        self.reads = 0

    def submit_was_unclear(self, attempt: Attempt, before: float | None) -> None:
        """Keep a submit without a clear answer, with the balance before it if nothing else was in flight."""
        self.unclear_submits.append((attempt, before))

    def was_read(self, count: int) -> None:
        """Drop the first `count` unclear submits: the balance was read since."""
        del self.unclear_submits[:count]
        self.reads += 1
