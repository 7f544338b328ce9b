"""Learn from 429s how many tasks the API accepts in flight. Pure: the caller passes the time."""

from math import inf

import msgspec

FIRST_HOLD, LONGEST_HOLD = 15.0, 60.0
"""Seconds until one more task is tried: at first, and after many refusals in a row."""


class Capacity(msgspec.Struct):
    """The number of tasks that may be in flight.

    A 429 to a submit may concern the requests in the window or the tasks in flight, some of which may belong to other
    programs. It concerns the tasks if another call is served between two such 429s, and from then on until the
    configured number is accepted.
    `most` is the configured number. `believed` is the number accepted at the last such 429, None if unknown.
    """

    most: int
    believed: int | None = None
    refused_at: float = -inf
    """When a submit last got a 429, if none was accepted after it."""
    more_at: float = inf
    hold: float = FIRST_HOLD

    def allowed(self, now: float) -> int:
        """Return how many tasks may be in flight."""
        if self.believed is None:
            return self.most
        return min(self.most, self.believed + (now >= self.more_at))

    def grows_at(self, now: float) -> float:
        """Return when one more task will be allowed; inf for never or already."""
        return self.more_at if self.more_at > now else inf

    def is_unclear(self, served_at: float) -> bool:
        """Return whether to test another call before the next submit.

        `served_at` is when the latest request with a good answer left.
        """
        return self.believed is None and -inf < self.refused_at >= served_at

    def refused(self, now: float, running: int, served_at: float) -> bool:
        """Note a 429 to a submit with `running` others in flight. Return whether it concerns the tasks in flight.

        `served_at` is the value from when the submit left.
        """
        is_about_tasks = self.believed is not None or -inf < self.refused_at < served_at
        self.refused_at = now
        if not is_about_tasks or not running:
            return False
        self.believed, self.more_at = running, now + self.hold
        self.hold = min(2 * self.hold, LONGEST_HOLD)
        return True

    def accepted(self, now: float, running: int) -> None:
        """Note an accepted submit, as the last of `running` tasks in flight."""
        self.refused_at = -inf
        if self.believed is not None and running > self.believed:
            self.believed = running if running < self.most else None
            self.more_at, self.hold = now, FIRST_HOLD
