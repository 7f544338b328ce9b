"""Outcomes of a step. Only the scheduler acts on them: see `Loop.apply`."""

import msgspec

from batchswap.runner.task_context import Job, Ready
from batchswap.tasks import Task


class Settled(msgspec.Struct, frozen=True):
    """The run has finished with the task: it ended, is uncertain, or is left to the next run."""


class Accepted(msgspec.Struct, frozen=True):
    """The API has accepted the task. `is_due` means to poll it at once."""

    job: Job
    is_due: bool = False


class SendAgain(msgspec.Struct, frozen=True):
    """The task is still ready."""

    ready: Ready


class PrepareAgain(msgspec.Struct, frozen=True):
    """The task was refused, perhaps because its preparation is no longer valid."""

    task: Task


class StillRunning(msgspec.Struct, frozen=True):
    """The poll brought nothing new; the agenda has scheduled the next one."""


class ResultReady(msgspec.Struct, frozen=True):
    """The result can be downloaded."""

    job: Job
    urls: tuple[str, ...]


class PayAgain(msgspec.Struct, frozen=True):
    """The generation failed, and the task may be paid for again."""

    task_id: int


class Saved(msgspec.Struct, frozen=True):
    """The result has its final name."""


class UrlExpired(msgspec.Struct, frozen=True):
    """The media URL has expired; the API must give a new one."""

    job: Job


SubmitOutcome = Accepted | SendAgain | PrepareAgain | Settled
PollOutcome = StillRunning | ResultReady | PayAgain | Settled
DownloadOutcome = Saved | UrlExpired | Settled
Outcome = SubmitOutcome | PollOutcome | DownloadOutcome

SETTLED, STILL_RUNNING, SAVED = Settled(), StillRunning(), Saved()
