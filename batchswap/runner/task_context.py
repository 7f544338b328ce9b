"""State of a task in memory during a run. Everything here can be rebuilt from the ledger."""

import math
from pathlib import Path

import msgspec

from batchswap import wire
from batchswap.downloads import movie_seconds
from batchswap.ledger.api_cache import Detected
from batchswap.ledger.enrolment.input_files import Input
from batchswap.tasks import Attempt, Model, Task, is_url

STEP = 10.0
"""Seconds of video that one class spans."""
LONGEST_AGE = 30 * 86_400.0
"""Seconds. A task that seems older than this, or has a negative age, started before the clock was set."""


def age_of(since: float, now: float) -> float | None:
    """Return the seconds since a recorded Unix time; None if the clock was set in the meantime."""
    return now - since if 0.0 <= now - since <= LONGEST_AGE else None


def name_of(task: Task) -> str:
    """Return the task's name as commands accept it."""
    return f"{task.batch}/{task.key}"


class TaskClass(msgspec.Struct, frozen=True):
    """Tasks with the same expected price and duration.

    `step` is the length of the video in steps, rounded up; 0 for a still or an unknown length.
    """

    model: Model
    step: int = 0

    def __str__(self) -> str:
        if not self.step:
            return str(self.model)
        return f"{self.model}, {(self.step - 1) * STEP:g} to {self.step * STEP:g} s"

    @property
    def group(self) -> str:
        """The name in the agenda. A class of known length is a part of its model."""
        return f"{self.model}/{self.step}" if self.step else str(self.model)


def class_of(model: Model, seconds: float | None) -> TaskClass:
    """Return the class of a task. `seconds` is the length of the target, if known."""
    if seconds is None or not seconds > 0.0 or model.target_field != "video_url":
        return TaskClass(model)
    return TaskClass(model, math.ceil(seconds / STEP))


def seconds_of(task: Task) -> float | None:
    """Return the length of a local MP4 or MOV target in seconds; None for any other target."""
    if is_url(task.target) or task.model.target_field != "video_url":
        return None
    return movie_seconds(Path(task.folder, task.target))


class Ready(msgspec.Struct):
    """A queued task that is ready to submit."""

    task: Task
    body: wire.CreateTask
    price: float
    again: Attempt | None = None
    """An uncertain attempt to send again with its own Idempotency-Key, if the provider supports the header."""
    resends: int = 0
    seconds: float | None = None
    """Length of the target, if known."""
    detected: Detected | None = None
    """The faces of the target that `body` refers to."""
    used: tuple[Input, ...] = ()
    """The local input files."""
    good_until: float = math.inf
    """Unix time at which an upload or the detection expires."""

    def is_stale(self, now: float) -> bool:
        """Return whether the preparation has expired and must be repeated. `now` is a Unix time."""
        return self.good_until <= now


class Job(msgspec.Struct):
    """An accepted task. Times are monotonic seconds."""

    task: Task
    attempt: Attempt
    started: float
    missing: int = 0
    """Number of polls in a row for which TaskInfo did not know the task."""
    missing_since: float = 0.0
    """Time of the first of these polls."""
    troubles: int = 0
    """Number of polls in a row that failed or returned nothing useful."""
    trouble_since: float = 0.0
    """Time of the first of these polls."""
    pending_callback: wire.TaskInfo | None = None
    """A callback that arrived during a poll."""
    timeout_from: float | None = None
    """Start of --task-timeout if it differs from `started`: `retry` starts a new wait."""
    may_be_lost: bool = True
    """False if the task was submitted with another key: a 404 may then mean that the keys are of different accounts."""
    is_in_series: bool = False
    """Whether an earlier tick of the same series submitted it. Its cost then counts against the budget of this run."""
    is_timed: bool = True
    """False if `started` is a guess; the duration is then not learned."""
    refreshed: bool = False
    """Whether a new media URL was requested already."""
    seconds: float | None = None
    """Length of the target, if known."""
    seen: float | None = None
    """Time when an earlier tick last found it running."""
    has_old_url: bool = False
    """Whether its media URL is older than the shortest life of one that has expired."""
    ready_at: float | None = None
    """Unix time since which an earlier run knows that its result is ready."""
