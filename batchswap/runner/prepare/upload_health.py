"""The health of the upload store, learned from all uploads. Pure: the caller passes the time."""

from math import inf


class Intake:
    """If one file fails, the file is the cause. If several fail and none succeeds, the store is."""

    def __init__(self) -> None:
        self._failing: dict[str, float] = {}
        """When each failing file first failed (monotonic seconds), by digest. Emptied by any success."""
        self._good_at = -inf
        self._is_reported = False

    def stored(self, now: float) -> None:
        """Note a successful upload."""
        self._good_at = now
        self._failing.clear()
        self._is_reported = False

    def failed(self, digest: str, now: float) -> float:
        """Note a failed upload. Return when the store last worked for this file: now, unless other files fail too."""
        self._failing.setdefault(digest, now)
        return self._good_at if self._is_out() else now

    def forget(self, digest: str) -> None:
        """Forget a file that is not tried again."""
        self._failing.pop(digest, None)

    def out_for(self, now: float) -> float:
        """Return for how many seconds the store has failed; 0.0 if it works."""
        return now - min(self._failing.values()) if self._is_out() else 0.0

    def is_news(self) -> bool:
        """Return whether the store fails and this was not reported yet."""
        is_news = self._is_out() and not self._is_reported
        self._is_reported = self._is_reported or is_news
        return is_news

    def _is_out(self) -> bool:
        return len(self._failing) > 1
