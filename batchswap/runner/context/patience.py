"""Time without a good answer from the API, even while all calls hang. Pure: the caller passes the time."""

from math import inf


class Patience:
    """Tracks --patience. Times are monotonic seconds."""

    def __init__(self, allowed: float) -> None:
        self._allowed = allowed
        self._since = inf
        """When the present trouble began."""
        self._open: dict[int, float] = {}
        """When each open call left, oldest first."""
        self._calls = 0
        self._waited = 0.0
        """Seconds of earlier trouble."""
        self._good_at = self._probed_at = -inf

    def begin(self, now: float) -> int:
        """Note that a call leaves. Return its number."""
        self._calls += 1
        self._open[self._calls] = now
        return self._calls

    def end(self, call: int, *, answered: bool) -> None:
        """Note the end of a call. An unanswered call counts as trouble from its departure."""
        left = self._open.pop(call)
        if not answered:
            self.trouble(max(left, self._good_at))

    def trouble(self, at: float) -> None:
        """Note trouble that concerns all requests."""
        self._since = min(self._since, at)

    def good(self, now: float) -> None:
        """Note a good answer."""
        self._waited = self.waited(now)
        self._since, self._good_at = inf, now

    def waited(self, now: float) -> float:
        """Return the seconds of trouble so far: from a request without a good answer until the next good answer."""
        return self._waited + max(0.0, now - self._since)

    def away(self, seconds: float) -> None:
        """Do not count time in which the process was stopped, because answers may wait unread."""
        self._since += seconds
        self._open = {call: left + seconds for call, left in self._open.items()}

    def _unanswered_since(self) -> float:
        """Return since when the oldest open call has waited without a good answer to others; inf without open calls."""
        left = next(iter(self._open.values()), None)
        return inf if left is None else max(left, self._good_at)

    def ends_at(self) -> float:
        """Return when patience ends without a good answer; inf if there is no trouble."""
        return min(self._since, self._unanswered_since()) + self._allowed

    def probe_at(self) -> float:
        """Return when to request the balance because calls hang. An API that answers it is only slow."""
        return max(self._unanswered_since(), self._probed_at) + self._allowed / 2

    def probed(self, now: float) -> None:
        """Note that the balance was requested."""
        self._probed_at = now
