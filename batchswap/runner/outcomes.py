"""What a step made of a task. The scheduler alone acts on it: see `Loop.apply`."""

import msgspec

from batchswap.runner.task_context import Job, Ready
from batchswap.tasks import Task


class Settled(msgspec.Struct, frozen=True):
    """The run has nothing left to do with the task: it ended, is uncertain, or is left to the next run."""


class Accepted(msgspec.Struct, frozen=True):
    """The API has the task. `is_due`: ask for it at once."""

    job: Job
    is_due: bool = False


class SendAgain(msgspec.Struct, frozen=True):
    """The task is still ready."""

    ready: Ready


class PrepareAgain(msgspec.Struct, frozen=True):
    """The task was refused, perhaps because its preparation no longer holds."""

    task: Task


class StillRunning(msgspec.Struct, frozen=True):
    """The poll told nothing new; the agenda has the next one."""


class ResultReady(msgspec.Struct, frozen=True):
    """The result can be downloaded."""

    job: Job
    urls: tuple[str, ...]


class PayAgain(msgspec.Struct, frozen=True):
    """The generation failed, and may be paid once more."""

    task_id: int


class Saved(msgspec.Struct, frozen=True):
    """The result has its final name."""


class UrlExpired(msgspec.Struct, frozen=True):
    """The API must give a fresh media URL."""

    job: Job


SubmitOutcome = Accepted | SendAgain | PrepareAgain | Settled
PollOutcome = StillRunning | ResultReady | PayAgain | Settled
DownloadOutcome = Saved | UrlExpired | Settled
Outcome = SubmitOutcome | PollOutcome | DownloadOutcome

SETTLED, STILL_RUNNING, SAVED = Settled(), StillRunning(), Saved()
