"""Choose the next request. Pure: depends only on a view of the run and the time."""

from math import inf

import msgspec


class ChoiceView(msgspec.Struct, frozen=True):
    """The facts that the choice depends on. Times are monotonic seconds; inf means never."""

    is_over: bool = False
    """Whether the run sends no further requests."""
    has_worker: bool = True
    probe_at: float = inf
    """When to request the balance to see whether the API answers."""
    is_paused: bool = False
    """Whether only probes are sent until the API answers."""
    is_probing: bool = False
    """Whether a balance call is open."""
    has_free_call: bool = False
    """Whether a free call (such as an estimate or a detection) waits for its turn."""
    was_free_call: bool = False
    """Whether the last turn went to a free call."""
    is_waiting: bool = False
    """Whether a task is ready and submits are not held back."""
    unclear: int = 0
    """Submits without a clear answer since the balance was last read."""
    is_after_unclear: bool = False
    """Whether no submit has had a clear answer since the last unclear one."""
    submits: int = 0
    """Submits that wait for an answer."""
    in_flight: int = 0
    allowed: int = 0
    """Tasks in flight including open submits, and the most that are allowed."""
    is_in_budget: bool = True
    """Whether the budget allows to submit one of the ready tasks now."""
    is_capacity_unclear: bool = False
    """Whether the last 429 to a submit may concern either the requests or the tasks in flight."""
    grows_at: float = inf
    """When another task in flight will be allowed."""
    has_forgotten: bool = False
    """Whether the callback of a task is long overdue."""
    poll_at: float = inf
    """When a poll is worth a place in the window; earlier if `is_pressing`."""
    is_pressing: bool = False

    @property
    def has_place(self) -> bool:
        """Return whether one more task may be submitted.

        After an unclear answer, submit one task at a time until an answer is clear.
        """
        if self.unclear or (self.is_after_unclear and self.submits):
            return False
        return self.in_flight < self.allowed and self.is_in_budget


class Submit(msgspec.Struct, frozen=True):
    """Submit the first ready task that the budget allows."""


class Poll(msgspec.Struct, frozen=True):
    """Poll the task that has most likely ended."""

    pressing: bool


class FreeCall(msgspec.Struct, frozen=True):
    """Give the turn to the free call that has waited for longest."""


class CheckBalance(msgspec.Struct, frozen=True):
    """Read the balance, as evidence about unclear submits or to see whether the API serves other calls."""


class Probe(msgspec.Struct, frozen=True):
    """Request the balance to see whether the API answers."""


class Wait(msgspec.Struct, frozen=True):
    """Send nothing until something changes, for `seconds` at most."""

    seconds: float


Request = Submit | Poll | FreeCall | CheckBalance | Probe
Action = Request | Wait


def choose(view: ChoiceView, now: float) -> Action:
    """Return the next request, or how long to wait if nothing changes."""
    if view.is_over or not view.has_worker:
        return Wait(inf)
    probe_at = inf if view.is_probing else view.probe_at
    if probe_at <= now:
        return Probe()
    if view.is_paused:
        return Wait(probe_at - now)
    action = _choose_work(view, now)
    return Wait(min(action.seconds, probe_at - now)) if isinstance(action, Wait) else action


def _choose_work(view: ChoiceView, now: float) -> Action:
    """Return the most useful request while the API answers."""
    if view.has_free_call:
        is_submit_next = view.is_waiting and view.was_free_call and not view.is_capacity_unclear and view.has_place
        return Submit() if is_submit_next else FreeCall()
    if view.is_waiting:
        if view.unclear and not view.is_probing:
            return CheckBalance()
        if view.has_forgotten:
            return Poll(pressing=True)
        if view.is_capacity_unclear:
            return _test_other_call(view, now)
        if view.has_place:
            return Submit()
    if view.poll_at <= now:
        return Poll(pressing=view.is_pressing)
    return Wait(min(view.poll_at, view.grows_at) - now)


def _test_other_call(view: ChoiceView, now: float) -> Action:
    """After a 429 to a submit, see whether the API serves other calls: a poll if one is due, else the balance."""
    if view.poll_at <= now:
        return Poll(pressing=True)
    return Wait(view.poll_at - now) if view.is_probing else CheckBalance()
