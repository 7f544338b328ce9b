"""What the runner knows of a task while it works on it. Everything here can be rebuilt from the ledger."""

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


BELIEVED = 30 * 86_400.0
"""Seconds that a task may have been at work. What seems older, or younger than nothing, was begun by another clock."""


def age_of(since: float, now: float) -> float | None:
    """Seconds since a Unix time that another process, or this one, has written down; None: the clock was set since."""
    return now - since if 0.0 <= now - since <= BELIEVED else None


def name_of(task: Task) -> str:
    """Return the name that commands take."""
    return f"{task.batch}/{task.key}"


class TaskClass(msgspec.Struct, frozen=True):
    """Tasks that are expected to cost and to take alike. `step` counts started steps of the video; 0: a still, or
    nobody knows how long."""

    model: Model
    step: int = 0

    def __str__(self) -> str:
        if not self.step:
            return str(self.model)
        return f"{self.model}, {(self.step - 1) * STEP:g} to {self.step * STEP:g} s"

    @property
    def group(self) -> str:
        """Its name in the agenda: a class of known length is a part of its model."""
        return f"{self.model}/{self.step}" if self.step else str(self.model)


def class_of(model: Model, seconds: float | None) -> TaskClass:
    """`seconds`: of the target, where they are known."""
    if seconds is None or not seconds > 0.0 or model.target_field != "video_url":
        return TaskClass(model)
    return TaskClass(model, math.ceil(seconds / STEP))


def seconds_of(task: Task) -> float | None:
    """Seconds of a video on this disk; None for a still, a URL, and what is no MP4 or MOV."""
    if is_url(task.target) or task.model.target_field != "video_url":
        return None
    return movie_seconds(Path(task.folder, task.target))


class Ready(msgspec.Struct):
    """A queued task with nothing left to do before its submit."""

    task: Task
    body: wire.CreateTask
    price: float
    again: Attempt | None = None
    """An uncertain attempt to be sent again under its own Idempotency-Key, to a provider that honours it."""
    resends: int = 0
    seconds: float | None = None
    """Of the target, where they are known."""
    detected: Detected | None = None
    """The target's faces that `body` refers to."""
    used: tuple[Input, ...] = ()
    """The local files that are its inputs."""
    good_until: float = math.inf
    """Unix time at which an upload or the detection grows too old."""

    def is_stale(self, now: float) -> bool:
        """Whether it must be made ready anew, because it has waited too long for its place (`now`: Unix time)."""
        return self.good_until <= now


class Job(msgspec.Struct):
    """An accepted task. Times are monotonic seconds."""

    task: Task
    attempt: Attempt
    started: float
    missing: int = 0
    """Times in a row that TaskInfo did not know it, …"""
    missing_since: float = 0.0
    """… and when it did so for the first of them."""
    troubles: int = 0
    """Times in a row that TaskInfo said nothing useful, …"""
    trouble_since: float = 0.0
    """… and when it was asked for the first of them."""
    pending_callback: wire.TaskInfo | None = None
    """A callback that came while a poll was on its way."""
    timeout_from: float | None = None
    """What --task-timeout counts from while it runs, when it is not `started`: `retry` begins a new wait."""
    may_be_lost: bool = True
    """Off: it was submitted with another key, so that a 404 may only mean that this key is of another account."""
    is_timed: bool = True
    """Off: `started` is a guess, so its duration teaches nothing."""
    refreshed: bool = False
    """Whether a fresh media URL was asked for already."""
    seconds: float | None = None
    """Of the target, where they are known."""
