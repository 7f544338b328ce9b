"""Whether the store takes files at all, learned from all that go up. Pure: told the time."""

from math import inf


class Intake:
    """A file that fails alone is at fault itself. Where several fail and none goes up, the store is."""

    def __init__(self) -> None:
        self._failing: dict[str, float] = {}
        """What fails since when, while nothing goes up. Files by their digests, times in monotonic seconds."""
        self._good_at = -inf
        self._is_said = False

    def stored(self, now: float) -> None:
        """A file went up."""
        self._good_at = now
        self._failing.clear()
        self._is_said = False

    def failed(self, digest: str, now: float) -> float:
        """A file did not. When the store was last good, as far as this file can tell: now, if no other one fails."""
        self._failing.setdefault(digest, now)
        return self._good_at if self._is_out() else now

    def forget(self, digest: str) -> None:
        """Nobody tries that file any longer."""
        self._failing.pop(digest, None)

    def out_for(self, now: float) -> float:
        """Seconds for which several files fail and none goes up; 0.0: that is not so."""
        return now - min(self._failing.values()) if self._is_out() else 0.0

    def is_news(self) -> bool:
        """Whether the store has failed, and that was not asked for yet."""
        is_news = self._is_out() and not self._is_said
        self._is_said = self._is_said or is_news
        return is_news

    def _is_out(self) -> bool:
        return len(self._failing) > 1
