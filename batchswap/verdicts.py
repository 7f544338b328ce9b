"""Classify the answers of the API by the table in docs/api.md, section "Codes".

`judge_submit` is for CreateTask, `judge_safe` for every call that may be repeated, `judge_task` for a task in TaskInfo
or a callback. Where the HTTP status and the code in the body contradict each other, the costlier reading counts: on
CreateTask, a 5xx with another code is "unknown", and so is a refusal with a task id.
"""

from enum import Enum
from math import inf

import msgspec


class Kind(Enum):
    """Meaning of an answer: the first group is for submits, the second for safe calls, the third for tasks."""

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

    @property
    def outcome(self) -> str:
        """Return the outcome of a request, as metrics name it."""
        return _OUTCOMES.get(self, "error")


_OUTCOMES = {
    Kind.ACCEPTED: "ok",
    Kind.OK: "ok",
    Kind.RATE_LIMITED: "rate_limited",
    Kind.MAINTENANCE: "maintenance",
    Kind.NO_CREDITS: "no_credits",
    Kind.REJECTED: "rejected",
    Kind.ACCOUNT_REFUSED: "account_refused",
    Kind.UNKNOWN: "unclear",
    Kind.MISSING: "not_found",
}


class Verdict(msgspec.Struct, frozen=True):
    """A classified answer. `code` is a short reason for the ledger and for scripts ("422", "not-json", "reset")."""

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
    """Return the number to classify by: the one that is not a success, and the body's code before the status.

    Any 2xx status is a success, because frameworks and gateways answer a POST with 201 or 202.
    """
    status = _OK if status in _TWO_HUNDREDS else status
    if code is not None and code != _OK:
        return code
    return code if status == _OK and code is not None else status


def _contradicts(status: int, code: int | None) -> bool:
    """Return whether a 5xx status has another code in the body, as when a gateway answers for the API."""
    return status in _FIVE_HUNDREDS and code is not None and code != status


def judge_submit(status: int, code: int | None, remote_id: str | None, *, is_envelope: bool = True) -> Verdict:
    """Classify the answer to CreateTask. `remote_id` is the usable id in `data`, or None."""
    decisive = _deciding(status, code)
    if _contradicts(status, code) or (not is_envelope and decisive == 505):
        return Verdict(Kind.UNKNOWN, str(status))
    if remote_id and decisive != _OK:  # a refusal with a task id: the task may have been accepted
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
    """Classify the answer to any other call, which may be repeated.

    `is_about_task`: the answer has the id of the requested task, which makes up for a missing `code`.
    """
    decisive = _deciding(status, code)
    match decisive:
        case 200:
            is_good = is_envelope and (code == _OK or is_about_task)
            return Verdict(Kind.OK) if is_good else Verdict(Kind.TROUBLE, "not-json")
        case 505 if not is_envelope:
            return Verdict(Kind.TROUBLE, "505")
        case 404 if is_envelope:  # a gateway answers 404, too, while its API is down
            return Verdict(Kind.MISSING, "404")
        case 422:
            return Verdict(Kind.REJECTED, "422")
        case _ if decisive in _SAME_FOR_ALL_CALLS:
            return Verdict(_SAME_FOR_ALL_CALLS[decisive], str(decisive))
        case _:
            return Verdict(Kind.TROUBLE, str(decisive))


def judge_task(asked: str, task_id: str, status: str, media: int) -> Verdict:
    """Classify a task in TaskInfo or a callback by its `status`, in lower case. `media` is the number of its URLs.

    An answer with the id of another task is ignored. A missing id is accepted, because the request had one.
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
    """Return the seconds to wait after `tries` failures in a row. `dice` in [0, 1) spreads them by ±25 %."""
    return min(cap, first * 2.0 ** min(tries - 1, 30)) * (0.75 + 0.5 * dice)


class Retries(msgspec.Struct):
    """Count the failures of one free call that may be repeated (--retries).

    While the API answers no request at all, a failure does not count against the call. A failure counts only if any
    request had a good answer since the failure before it. At least one retry is allowed, to tell the two cases apart.
    """

    allowed: int
    failures: int = 0
    failed_at: float = inf
    counted: int = 0

    def failed(self, now: float, good_at: float) -> bool:
        """Record a failure and return whether it was the last try. `good_at` is the time of the last good answer."""
        self.counted += good_at >= self.failed_at
        self.failures += 1
        self.failed_at = now
        return self.counted >= max(self.allowed, 1)


LONGEST_PAUSE = 60.0
"""Longest pause in seconds that one answer can impose on a key."""


def clamp_retry_after(seconds: float | None, default: float, *, longest: float = LONGEST_PAUSE) -> float:
    """Return the seconds of a Retry-After to wait: at most `longest`, and `default` if it is missing or invalid."""
    if seconds is None or not seconds > 0.0:
        return min(default, longest)
    return min(max(seconds, default), longest)


LOST_AFTER_TRIES = 6
LOST_AFTER_SECONDS = 300.0


def is_lost(tries: int, seconds: float) -> bool:
    """Return whether a task is gone after `tries` answers of 404 in a row, over `seconds`.

    Right after creation a 404 is transient (docs/api.md, 404). Later it may come from an API under repair.
    """
    return tries >= LOST_AFTER_TRIES and seconds >= LOST_AFTER_SECONDS


def may_pay_again(paid: int, paid_attempts: int) -> bool:
    """Return whether a failed generation may be submitted and charged again (--paid-attempts)."""
    return paid < paid_attempts
