"""The way of a task to its result: which steps a task of which model takes, in which order. Nothing else decides it."""

from enum import StrEnum

from batchswap.tasks import Model


class Step(StrEnum):
    """One step. Those before the submit are free, and may be repeated; those after it only ask and fetch."""

    UPLOAD = "upload"  # inputs that are files become URLs
    DETECT = "detect"  # the faces of the target, with their ids
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
    """What makes a queued task ready."""
    return STEPS[model][: STEPS[model].index(Step.SUBMIT)]


class TaskInvalid(Exception):
    """The task cannot be submitted as it is. `code` is a short reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class FreeCallFailed(TaskInvalid):
    """A step was not served after all tries, though others are: the row's fault, or the step is out of order."""
