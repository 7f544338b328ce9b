"""The server's own sliding window. Pure: the caller brings the time."""

from collections import deque


class Window:
    """At most `limit` requests in any `period` seconds. One that is refused does not count."""

    def __init__(self, limit: int, period: float) -> None:
        self.limit, self.period = limit, period
        self._taken: deque[float] = deque()

    def claim(self, now: float) -> float:
        """0.0 and the request is counted; otherwise the seconds until there is room."""
        while self._taken and self._taken[0] + self.period <= now:
            self._taken.popleft()
        if len(self._taken) >= self.limit:
            return self._taken[0] + self.period - now
        self._taken.append(now)
        return 0.0
