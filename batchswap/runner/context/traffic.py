"""How many requests of which kind have left, and in which second."""

from collections import Counter

from batchswap.clock import Clock


class Traffic:
    """`requests` by kind, for the summary."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began, self._began_at = clock.now(), clock.monotonic()
        self.requests = Counter[str]()
        self._by_second = Counter[tuple[int, str]]()

    def count(self, kind: str) -> None:
        """Count a request, or an answer of a kind."""
        self.requests[kind] += 1
        self.note(kind)

    def note(self, kind: str) -> None:
        """Count it for the chart alone, by the monotonic clock, so that setting the clock bends nothing."""
        self._by_second[int(self._began + self._clock.monotonic() - self._began_at), kind] += 1

    def take(self) -> dict[tuple[int, str], int]:
        """Return what was counted since the last call, by second and kind."""
        taken = dict(self._by_second)
        self._by_second.clear()
        return taken
