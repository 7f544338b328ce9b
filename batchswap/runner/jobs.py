"""What the runner knows of a task while it works on it. Everything here can be rebuilt from the ledger."""

import msgspec

from batchswap import wire
from batchswap.tasks import Attempt, Task


class Ready(msgspec.Struct):
    """A queued task with nothing left to do before its submit."""

    task: Task
    body: wire.CreateTask
    price: float
    again: Attempt | None = None
    """An uncertain attempt to be sent again under its own Idempotency-Key, to a provider that honours it."""
    resends: int = 0


class Job(msgspec.Struct):
    """An accepted task. Times are monotonic seconds."""

    task: Task
    attempt: Attempt
    started: float
    missing: int = 0
    """Times in a row that TaskInfo did not know it."""
    troubles: int = 0
    """Times in a row that TaskInfo said nothing useful."""
    told: wire.TaskInfo | None = None
    """What a callback said while a poll was on its way."""
    refreshed: bool = False
    """Whether a fresh media URL was asked for already."""


def group_of(task: Task) -> str:
    """Tasks that are expected to cost and to take alike."""
    return str(task.model)
