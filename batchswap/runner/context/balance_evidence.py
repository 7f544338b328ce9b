"""The account's balance as evidence about submits without a clear answer."""

from batchswap.tasks import Attempt

Doubt = tuple[Attempt, float | None]
"""A submit without a clear answer, and the balance before it if nothing else was in flight."""


class BalanceEvidence:
    """The balance, and what was submitted since it was read."""

    def __init__(self) -> None:
        self.latest: float | None = None
        self.quiet: float | None = None
        """The balance if nothing was submitted after it was read."""
        self.unclear_submits: list[Doubt] = []
        """While there are any, the balance must be read before the next submit."""
        self.reads = 0
        """Number of such reads since a submit last had a clear answer."""
        self.submits = 0
        """Submits in progress."""

    def note(self, balance: float | None, *, is_quiet: bool = False) -> None:
        """Keep a balance. `is_quiet` means that nothing was in flight or submitted during the call."""
        self.latest = balance
        if is_quiet:
            self.quiet = balance

    def submit_began(self) -> None:
        """Count a submit in progress."""
        self.submits += 1

    def submit_left(self) -> None:
        """Forget the quiet balance, because the submit may cost something."""
        self.quiet = None

    def submit_ended(self) -> None:
        """Stop counting a submit."""
        self.submits -= 1

    def submit_was_clear(self) -> None:
        """Note that a submit had a clear answer."""
        self.reads = 0

    def submit_was_unclear(self, attempt: Attempt, before: float | None) -> None:
        """Keep a submit without a clear answer, with the balance before it if known."""
        self.unclear_submits.append((attempt, before))

    def was_read(self, count: int) -> None:
        """Drop the first `count` unclear submits, because the balance was read after them."""
        del self.unclear_submits[:count]
        self.reads += 1
