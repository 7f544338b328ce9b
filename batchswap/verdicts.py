"""What an answer of the API means: the table of api.md, section "Codes", and nothing else decides it.

`judge_submit` for CreateTask, `judge_safe` for every call that may be repeated, `judge_task` for what TaskInfo says.
An HTTP status and a body's code that contradict each other are believed as far as they can do harm: on CreateTask
a contradiction with a 5xx in it is "unknown", and so is a refusal that brings a task id.
"""

from enum import Enum
from math import inf

import msgspec


class Kind(Enum):
    """What an answer means. The first group can be said of a submit, the second of a safe call, the third of a task."""

    ACCEPTED = "accepted"
    RATE_LIMITED = "rate limited"
    MAINTENANCE = "under maintenance"
    NEVER_SENT = "never sent"
    NO_CREDITS = "out of credits"
    REJECTED = "rejected"
    ACCOUNT_REFUSED = "account refused"
    UNKNOWN = "unknown"

    OK = "ok"
    MISSING = "missing"
    TROUBLE = "trouble"

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "generation failed"


class Verdict(msgspec.Struct, frozen=True):
    """What an answer means. `code` is a short reason for ledgers and scripts ("422", "not-json", "reset")."""

    kind: Kind
    code: str = ""


_OK = 200
_SAME_FOR_ALL_CALLS = {
    **dict.fromkeys((401, 403, 505), Kind.ACCOUNT_REFUSED),
    402: Kind.NO_CREDITS,
    429: Kind.RATE_LIMITED,
    455: Kind.MAINTENANCE,
}
_FIVE_HUNDREDS = range(500, 600)
_TWO_HUNDREDS = range(200, 300)
REQUEST_TIMEOUT = 408


def _deciding(status: int, code: int | None) -> int:
    """The one number to judge by: whichever of the two is not a success, the body's code before the status.

    Any 2xx status is a success: frameworks and gateways answer a POST with 201 or 202.
    """
    status = _OK if status in _TWO_HUNDREDS else status
    if code is not None and code != _OK:
        return code
    return code if status == _OK and code is not None else status


def _contradicts(status: int, code: int | None) -> bool:
    """A 5xx status whose body names something else: a gateway spoke over the API."""
    return status in _FIVE_HUNDREDS and code is not None and code != status


def judge_submit(status: int, code: int | None, remote_id: str | None, *, is_envelope: bool = True) -> Verdict:
    """CreateTask was answered. `remote_id` is the usable id in `data`, or None."""
    decisive = _deciding(status, code)
    if _contradicts(status, code) or (not is_envelope and decisive == 505):
        return Verdict(Kind.UNKNOWN, str(status))
    if remote_id and decisive != _OK:  # a refusal that names a task: somebody took it
        return Verdict(Kind.UNKNOWN, str(decisive))
    match decisive:
        case 200 if is_envelope and code == _OK:
            return Verdict(Kind.ACCEPTED) if remote_id else Verdict(Kind.UNKNOWN, "no-task-id")
        case 200:
            return Verdict(Kind.UNKNOWN, "no-code" if is_envelope else "not-json")
        case _ if decisive in _SAME_FOR_ALL_CALLS:
            return Verdict(_SAME_FOR_ALL_CALLS[decisive], str(decisive))
        case _ if 400 <= decisive < 500 and decisive != REQUEST_TIMEOUT:
            return Verdict(Kind.REJECTED, str(decisive))
        case _:
            return Verdict(Kind.UNKNOWN, str(decisive))


def judge_safe(status: int, code: int | None, *, is_envelope: bool = True, is_about_task: bool = False) -> Verdict:
    """Any call but CreateTask was answered: it may be repeated, whatever came.

    `is_about_task`: the answer names the very task that was asked for, so that a missing `code` is made up for.
    """
    decisive = _deciding(status, code)
    match decisive:
        case 200:
            is_good = is_envelope and (code == _OK or is_about_task)
            return Verdict(Kind.OK) if is_good else Verdict(Kind.TROUBLE, "not-json")
        case 505 if not is_envelope:
            return Verdict(Kind.TROUBLE, "505")
        case 404 if is_envelope:  # a gateway whose API has gone says so, too
            return Verdict(Kind.MISSING, "404")
        case 422:
            return Verdict(Kind.REJECTED, "422")
        case _ if decisive in _SAME_FOR_ALL_CALLS:
            return Verdict(_SAME_FOR_ALL_CALLS[decisive], str(decisive))
        case _:
            return Verdict(Kind.TROUBLE, str(decisive))


def judge_task(asked: str, task_id: str, status: str, media: int) -> Verdict:
    """TaskInfo, or a callback, speaks of a task. `media` counts its URLs; `status` is lower case and decides alone.

    An answer that names another task says nothing of ours. A missing id is tolerated: we know what we asked for.
    """
    if task_id and task_id != asked:
        return Verdict(Kind.TROUBLE, "foreign-task")
    match status:
        case "success":
            return Verdict(Kind.SUCCEEDED) if media else Verdict(Kind.TROUBLE, "no-media")
        case "failed":
            return Verdict(Kind.FAILED)
        case _:
            return Verdict(Kind.RUNNING)


def backoff(tries: int, dice: float, *, first: float = 1.0, cap: float = 60.0) -> float:
    """Seconds to wait after the `tries`-th failure in a row (from 1). `dice` in [0, 1) spreads them by ±25 %."""
    return min(cap, first * 2.0 ** min(tries - 1, 30)) * (0.75 + 0.5 * dice)


class Retries(msgspec.Struct):
    """The tries of one free call that may be repeated (--retries), told the time by the caller.

    While the API answers nobody, a failure says nothing of the call: it is waited for. So a further try counts only if
    something good was heard, by anybody, since the one before it. There is always one: it tells the two apart.
    """

    allowed: int
    failures: int = 0
    failed_at: float = inf
    counted: int = 0

    def failed(self, now: float, good_at: float) -> bool:
        """One more has failed, and the last good answer came at `good_at`. Whether that was the last try."""
        self.counted += good_at >= self.failed_at
        self.failures += 1
        self.failed_at = now
        return self.counted >= max(self.allowed, 1)


LONGEST_PAUSE = 60.0
"""Seconds for which one answer may silence a key, whatever it asks for."""


def clamp_retry_after(seconds: float | None, default: float, *, longest: float = LONGEST_PAUSE) -> float:
    """Seconds to honour of a Retry-After: nothing or nonsense gives `default`, and never more than `longest`."""
    if seconds is None or not seconds > 0.0:
        return min(default, longest)
    return min(max(seconds, default), longest)


LOST_AFTER_TRIES = 6
LOST_AFTER_SECONDS = 300.0


def is_lost(tries: int, seconds: float) -> bool:
    """Whether a task is gone that TaskInfo has answered with 404 so often in a row, for so long.

    Right after creation a 404 is transient (api.md, 404); later it may be an API that is being mended.
    """
    return tries >= LOST_AFTER_TRIES and seconds >= LOST_AFTER_SECONDS


def may_pay_again(paid: int, paid_attempts: int) -> bool:
    """Whether a failed generation may be submitted, and charged, once more (--paid-attempts)."""
    return paid < paid_attempts
