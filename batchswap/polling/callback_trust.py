"""Whether the API's callbacks can be relied on, so that polls are only for what it forgets. Pure."""

import msgspec

FEW = 2
"""Tasks that may be found ended without a callback, beyond as many as came with one, before polls take over."""


class CallbackTrust(msgspec.Struct):
    """What became of the callbacks that were asked for.

    An address that the API cannot reach is the commonest mistake, and nobody tells of it but the tasks that end
    without a callback.
    """

    are_expected: bool
    came: int = 0
    missed: int = 0
    """Tasks that a poll found ended of which no callback had told."""

    def __str__(self) -> str:
        return f"{self.missed} tasks ended without a callback, and {self.came or 'none'} with one"

    @property
    def fail(self) -> bool:
        """Whether more are lost than come."""
        return self.are_expected and self.missed > self.came + FEW

    def are_relied_on(self, *, is_scout: bool) -> bool:
        """Whether a task need not be asked for as if there were none. Until the first has come, scouts are."""
        return self.are_expected and not self.fail and not (is_scout and not self.came)
