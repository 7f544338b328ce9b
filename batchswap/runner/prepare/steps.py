"""The steps of a task, in order, for each model."""

from enum import StrEnum

from batchswap.tasks import Model


class Step(StrEnum):
    """A step. Those before SUBMIT are free and may be repeated; those after it only poll and download."""

    UPLOAD = "upload"
    DETECT = "detect"
    PRICE = "estimate"
    SUBMIT = "submit"
    POLL = "poll"
    FETCH = "fetch"


_PLAIN = (Step.UPLOAD, Step.PRICE, Step.SUBMIT, Step.POLL, Step.FETCH)
_CHOSEN = (Step.UPLOAD, Step.DETECT, Step.PRICE, Step.SUBMIT, Step.POLL, Step.FETCH)

STEPS: dict[Model, tuple[Step, ...]] = {
    Model.VIDEO: _PLAIN,
    Model.IMAGE: _PLAIN,
    Model.VIDEO_MULTI: _CHOSEN,
    Model.IMAGE_MULTI: _CHOSEN,
}


def before_submit(model: Model) -> tuple[Step, ...]:
    """Return the steps that prepare a queued task."""
    return STEPS[model][: STEPS[model].index(Step.SUBMIT)]


class TaskInvalid(Exception):
    """The task cannot be submitted. `code` is a short reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class FreeCallFailed(TaskInvalid):
    """A step failed after all retries while other calls work. Either the row is the cause, or this call is broken."""
