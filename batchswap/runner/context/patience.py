"""For how long the API has given no good answer, by the clock: also while every call hangs. Pure: told the time."""

from math import inf


class Patience:
    """How much of --patience is left. Times are monotonic seconds."""

    def __init__(self, allowed: float) -> None:
        self._allowed = allowed
        self._since = inf
        """When the trouble that lasts was first met."""
        self._open: dict[int, float] = {}
        """Calls without an answer yet, and when they left, oldest first."""
        self._calls = 0
        self._good_at = self._looked_at = -inf

    def begin(self, now: float) -> int:
        """A call leaves. Returns its number."""
        self._calls += 1
        self._open[self._calls] = now
        return self._calls

    def end(self, call: int, *, answered: bool) -> None:
        """The call is over. One that was not answered was in trouble from the moment it left."""
        left = self._open.pop(call)
        if not answered:
            self.trouble(max(left, self._good_at))

    def trouble(self, at: float) -> None:
        """Something went wrong for everybody."""
        self._since = min(self._since, at)

    def good(self, now: float) -> None:
        """A good answer came."""
        self._since, self._good_at = inf, now

    def away(self, seconds: float) -> None:
        """The process was stopped for so long: the answers may lie there, unread."""
        self._since += seconds
        self._open = {call: left + seconds for call, left in self._open.items()}

    def _unanswered_since(self) -> float:
        """Since when the oldest open call has waited while nothing good came to others. inf: no call is open."""
        left = next(iter(self._open.values()), None)
        return inf if left is None else max(left, self._good_at)

    def ends_at(self) -> float:
        """When it is over if nothing good comes. inf: there is no trouble."""
        return min(self._since, self._unanswered_since()) + self._allowed

    def look_at(self) -> float:
        """When to ask for the balance because calls hang: an API that answers that is slow, and not gone."""
        return max(self._unanswered_since(), self._looked_at) + self._allowed / 2

    def looked(self, now: float) -> None:
        """The balance is asked for."""
        self._looked_at = now
