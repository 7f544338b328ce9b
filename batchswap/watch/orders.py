"""Orders of the page: the decisions of `review`, `retry`, `resolve` and `cancel`, carried out by the same functions."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from batchswap.errors import UsageError
from batchswap.ledger.operator_actions import GIVEN_UP
from batchswap.operations import decisions, review
from batchswap.operations.decisions import RetryChoice, Settlement
from batchswap.report.formatting import plural
from batchswap.states import Review

Text = Annotated[str, msgspec.Meta(max_length=1_000)]
Names = Annotated[tuple[Text, ...], msgspec.Meta(max_length=5_000)]
_VERDICTS = {"accept": Review.ACCEPTED, "reject": Review.REJECTED, "reset": Review.NONE}
_DONE = {"accept": "accepted", "reject": "rejected", "reset": "no longer judged"}


class PageOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One decision about named tasks. `retry` may have a code and a batch instead. `price` only asks what `redo` costs.

    A task id of the API cannot be given: only `batchswap resolve --task-id` can ask the API to confirm it.
    """

    action: Literal["accept", "reject", "reset", "price", "redo", "retry", "cancel", "not-accepted", "give-up"]
    names: Names = ()
    note: Text = ""
    code: Text | None = None
    batch: Text | None = None


def parse_order(body: bytes) -> PageOrder:
    """Return the order in a request. Raise UsageError."""
    try:
        order = msgspec.json.decode(body, type=PageOrder)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the page sent an order that is not valid: {error}") from None
    if not order.names and order.action != "retry":
        raise UsageError("the page sent an order without a task")
    return order


def carry_out(order: PageOrder, ledger: Path, out: Path) -> str:
    """Do what the page orders, and return a sentence about it. Blocks. Raise the errors of the commands."""
    match order.action:
        case "accept" | "reject" | "reset":
            reviewed = review.give(ledger, out, order.names, _VERDICTS[order.action], order.note)
            return f"{plural(reviewed.total, 'result')} {_DONE[order.action]}"
        case "price":
            return str(review.price(ledger, order.names))
        case "redo":
            redone = review.redo(ledger, out, order.names, order.note)
            return f"{plural(redone.total, 'task')} queued for another attempt by the next run"
        case "retry":
            may_pay_twice = bool(order.names) or order.code == GIVEN_UP
            choice = RetryChoice(order.names, batch=order.batch, code=order.code, may_pay_twice=may_pay_twice)
            return decisions.retry(ledger, out, choice)
        case "cancel":
            return f"{plural(decisions.cancel(ledger, order.names, None).total, 'task')} cancelled"
        case "not-accepted" | "give-up":
            return "; ".join(_settle(ledger, name, order) for name in order.names)


def _settle(ledger: Path, name: str, order: PageOrder) -> str:
    decisions.uncertain_task(ledger, name)
    return decisions.settle(ledger, name, Settlement(not_accepted=order.action == "not-accepted"))
