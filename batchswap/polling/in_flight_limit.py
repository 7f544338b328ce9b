"""How many tasks the API takes at once, as far as 429s tell. Pure: told the time."""

from math import inf

import msgspec

FIRST_HOLD, LONGEST_HOLD = 15.0, 60.0
"""Seconds until one task more than were taken is tried again, at first and after many refusals in a row."""


class Capacity(msgspec.Struct):
    """A 429 to a submit may mean the requests in the window, or the tasks in flight: other processes of the key, or
    another program of the account, may have a share of those. It means the tasks when something else is served in
    between two of them; and once that is known, until as many are taken as were configured.

    `most` is what is configured, `believed` what was taken when a 429 last spoke of it. None: nothing is known.
    """

    most: int
    believed: int | None = None
    refused_at: float = -inf
    """When a submit last got a 429, if none was accepted since."""
    more_at: float = inf
    hold: float = FIRST_HOLD

    def allowed(self, now: float) -> int:
        """Tasks that may be in flight."""
        if self.believed is None:
            return self.most
        return min(self.most, self.believed + (now >= self.more_at))

    def grows_at(self, now: float) -> float:
        """When more will be allowed by itself. inf: never, or it is already."""
        return self.more_at if self.more_at > now else inf

    def is_unclear(self, served_at: float) -> bool:
        """Whether something else should be asked before the next submit. `served_at`: when the last request left that
        was answered well."""
        return self.believed is None and -inf < self.refused_at >= served_at

    def refused(self, now: float, running: int, served_at: float) -> bool:
        """A submit got a 429 while `running` others were in flight. Whether that says how many are taken.

        `served_at` is what it was when the submit left.
        """
        is_told = self.believed is not None or -inf < self.refused_at < served_at
        self.refused_at = now
        if not is_told or not running:
            return False
        self.believed, self.more_at = running, now + self.hold
        self.hold = min(2 * self.hold, LONGEST_HOLD)
        return True

    def accepted(self, now: float, running: int) -> None:
        """A submit was accepted, as the last of `running` tasks in flight."""
        self.refused_at = -inf
        if self.believed is not None and running > self.believed:
            self.believed = running if running < self.most else None
            self.more_at, self.hold = now, FIRST_HOLD
