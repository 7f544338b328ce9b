"""What may happen to a task and to its attempts, and nothing else.

Every transition of a task is in MOVES or BY_PERSON, every one of an attempt in ATTEMPT_MOVES. Groups of states are
declared here alone; the SQL of the ledger and the lists of the reports are made from them.
"""

from enum import StrEnum


class State(StrEnum):
    """Where a task is. The ledger stores these words."""

    QUEUED = "queued"
    SUBMITTING = "submitting"
    RUNNING = "running"
    FETCHING = "fetching"
    DONE = "done"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """What happened. The ledger logs these words."""

    SUBMITTED = "submitted"  # the attempt is on disk, the request may leave
    REFUSED = "refused"  # known not to be accepted, and not the row's fault (429, 455, 402, nothing was sent)
    REJECTED = "rejected"  # known not to be accepted, and the row's fault (422, 404)
    UNFIT = "unfit"  # cannot be submitted at all: an input that is gone, a face that was not detected
    ACCEPTED = "accepted"
    UNKNOWN = "unknown"  # it is not known whether the submit was accepted
    RESENT = "resent"  # the same attempt again, to a provider that honours Idempotency-Key
    SUCCEEDED = "succeeded"
    GENERATION_FAILED = "generation-failed"
    PAYABLE_AGAIN = "payable-again"  # the generation failed and --paid-attempts allows another attempt
    LOST = "lost"  # the API no longer knows the task
    TIMED_OUT = "timed-out"  # --task-timeout ended the waiting
    SAVED = "saved"
    STALE = "stale"  # the media URL has expired; TaskInfo must give a fresh one
    UNSAVED = "unsaved"  # the download was given up
    ATTACHED = "attached"  # a late callback, or a person, named the remote task
    NOT_ACCEPTED = "not-accepted"
    GIVEN_UP = "given-up"
    RETRIED = "retried"  # a failed task is queued again and may cost again
    RESUMED = "resumed"  # a task whose result is paid for, and is not there, is asked for again
    REUSED = "reused"  # another task's result, made from the same inputs, serves this one too
    REUSE_AGAIN = "reuse-again"  # the file that it got from another task is gone
    ADOPTED = "adopted"  # an attempt that was accepted elsewhere is this task's: by the log of submits, or a person
    DOUBTED = "doubted"  # the log of submits has an attempt for it, and does not tell whether it was accepted
    CHANGED = "changed"  # its row in the manifest was edited
    CANCELLED = "cancelled"


MOVES: dict[State, dict[Event, State]] = {
    State.QUEUED: {Event.SUBMITTED: State.SUBMITTING, Event.UNFIT: State.FAILED, Event.REUSED: State.DONE},
    State.SUBMITTING: {
        Event.REFUSED: State.QUEUED,
        Event.REJECTED: State.FAILED,
        Event.ACCEPTED: State.RUNNING,
        Event.UNKNOWN: State.UNCERTAIN,
    },
    State.RUNNING: {
        Event.SUCCEEDED: State.FETCHING,
        Event.GENERATION_FAILED: State.FAILED,
        Event.PAYABLE_AGAIN: State.QUEUED,
        Event.LOST: State.FAILED,
        Event.TIMED_OUT: State.FAILED,
    },
    State.FETCHING: {Event.SAVED: State.DONE, Event.STALE: State.RUNNING, Event.UNSAVED: State.FAILED},
    State.DONE: {},
    State.FAILED: {},
    State.UNCERTAIN: {Event.ATTACHED: State.RUNNING, Event.RESENT: State.SUBMITTING},
    State.CANCELLED: {},
}
"""What the program may do by itself."""

BY_PERSON: dict[State, dict[Event, State]] = {
    State.QUEUED: {Event.CANCELLED: State.CANCELLED, Event.ADOPTED: State.RUNNING, Event.DOUBTED: State.UNCERTAIN},
    State.DONE: {Event.CHANGED: State.QUEUED, Event.RESUMED: State.RUNNING, Event.REUSE_AGAIN: State.QUEUED},
    State.FAILED: {
        Event.RETRIED: State.QUEUED,
        Event.RESUMED: State.RUNNING,
        Event.CHANGED: State.QUEUED,
        Event.CANCELLED: State.CANCELLED,
        Event.ADOPTED: State.RUNNING,
        Event.DOUBTED: State.UNCERTAIN,
    },
    State.UNCERTAIN: {Event.NOT_ACCEPTED: State.QUEUED, Event.GIVEN_UP: State.FAILED},
    State.CANCELLED: {
        Event.RETRIED: State.QUEUED,
        Event.RESUMED: State.RUNNING,
        Event.CHANGED: State.QUEUED,
        Event.ADOPTED: State.RUNNING,
        Event.DOUBTED: State.UNCERTAIN,
    },
}
"""What takes a person's word: a command, or an edited manifest."""

FINAL = frozenset(state for state, moves in MOVES.items() if not moves)
"""States that a run never leaves by itself."""

IN_FLIGHT = (State.SUBMITTING, State.RUNNING, State.FETCHING)
"""A run works on the task until it leaves these states."""
TO_COLLECT = (State.RUNNING, State.FETCHING)
"""The API accepted the task: a run polls and downloads it, and submits nothing."""
OPEN = (*IN_FLIGHT, State.UNCERTAIN)
"""The last attempt is not settled: an edited row has to wait."""
UNDONE = (State.QUEUED, State.FAILED, State.CANCELLED)
"""Nothing is under way or done: the next attempt uses the inputs that the manifest names."""
TO_DO = (State.QUEUED, *IN_FLIGHT)
"""The next run of the manifest continues with the task."""
UNCLEAR = (State.SUBMITTING, State.UNCERTAIN)
"""The last attempt may have been accepted or not."""
ENDED = (State.DONE, State.FAILED, State.UNCERTAIN)
"""The run has finished with a task that it was asked to do."""


class AttemptState(StrEnum):
    """Where an attempt is, which decides what it costs. The ledger stores these words."""

    OPEN = "open"  # on disk; its request may leave
    ACCEPTED = "accepted"
    REFUSED = "refused"  # not accepted, and not charged
    UNKNOWN = "unknown"  # it may have been accepted
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"  # the API no longer knows the task
    GIVEN_UP = "given-up"  # a person stopped asking whether it was accepted


ATTEMPT_MOVES: dict[AttemptState, tuple[AttemptState, ...]] = {
    AttemptState.OPEN: (AttemptState.ACCEPTED, AttemptState.REFUSED, AttemptState.UNKNOWN),
    AttemptState.ACCEPTED: (
        AttemptState.ACCEPTED,  # a task that was given up or cancelled is polled again
        AttemptState.SUCCEEDED,
        AttemptState.FAILED,
        AttemptState.LOST,
    ),
    AttemptState.REFUSED: (),
    AttemptState.UNKNOWN: (
        AttemptState.OPEN,  # the same request again, under its Idempotency-Key
        AttemptState.ACCEPTED,
        AttemptState.REFUSED,
        AttemptState.GIVEN_UP,
    ),
    AttemptState.SUCCEEDED: (AttemptState.ACCEPTED,),  # its media URL expired, or its file is gone: polled again
    AttemptState.FAILED: (),
    AttemptState.LOST: (),
    AttemptState.GIVEN_UP: (),
}

UNANSWERED = (AttemptState.OPEN, AttemptState.UNKNOWN)
"""It is not recorded whether the API accepted the attempt."""
RESERVED = (AttemptState.OPEN, AttemptState.ACCEPTED, AttemptState.UNKNOWN)
"""The attempt may still be charged: its credits are reserved."""
COSTS_MONEY = (AttemptState.SUCCEEDED, AttemptState.FAILED, AttemptState.LOST, AttemptState.GIVEN_UP)
"""The attempt is over and counts as spent, with the API's price or without one."""
HAS_RESULT = (AttemptState.ACCEPTED, AttemptState.SUCCEEDED)
"""The API took the attempt and it has not ended badly: asking for its result costs nothing more."""
MAY_HAVE_RESULT = (*UNANSWERED, *HAS_RESULT)
"""Another attempt with the same inputs may be paid for twice."""


class IllegalMove(Exception):
    """A move that no table allows: a mistake in this program."""


def advance(state: State, event: Event) -> State:
    """Return the state after `event`. Raise IllegalMove when neither table has it."""
    after = MOVES[state].get(event) or BY_PERSON.get(state, {}).get(event)
    if after is None:
        raise IllegalMove(f"a {state} task cannot be {event}")
    return after


def attempts_before(after: AttemptState) -> tuple[AttemptState, ...]:
    """Return the states that an attempt may leave for `after`."""
    return tuple(state for state, moves in ATTEMPT_MOVES.items() if after in moves)
