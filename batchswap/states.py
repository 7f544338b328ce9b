"""States of tasks and attempts, and the transitions between them.

MOVES and BY_PERSON have every transition of a task, ATTEMPT_MOVES every one of an attempt. Groups of states are
declared only here. The SQL of the ledger and the reports are built from them.
"""

from enum import StrEnum


class State(StrEnum):
    """State of a task, as the ledger stores it."""

    QUEUED = "queued"
    SUBMITTING = "submitting"
    RUNNING = "running"
    FETCHING = "fetching"
    DONE = "done"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """Event in the life of a task, as the ledger logs it."""

    SUBMITTED = "submitted"  # the attempt is on disk; its request may be sent
    REFUSED = "refused"  # not accepted, for a reason outside of the row (429, 455, 402, nothing was sent)
    REJECTED = "rejected"  # not accepted, because of the row (422, 404)
    UNFIT = "unfit"  # cannot be submitted: an input is gone, a face was not detected
    ACCEPTED = "accepted"
    UNKNOWN = "unknown"  # the submit may have been accepted
    RESENT = "resent"  # the same attempt was sent again, to a provider that honours Idempotency-Key
    SUCCEEDED = "succeeded"
    GENERATION_FAILED = "generation-failed"
    PAYABLE_AGAIN = "payable-again"  # the generation failed and --paid-attempts allows another attempt
    LOST = "lost"  # the API does not have the task any more
    TIMED_OUT = "timed-out"  # no result within --task-timeout
    SAVED = "saved"
    STALE = "stale"  # the media URL expired; TaskInfo has to return a fresh one
    UNSAVED = "unsaved"  # the download failed for good
    ATTACHED = "attached"  # a late callback or `batchswap resolve` named the remote task
    NOT_ACCEPTED = "not-accepted"
    GIVEN_UP = "given-up"
    RETRIED = "retried"  # a failed task is queued again and may cost again
    RESUMED = "resumed"  # a result that is paid for and missing is requested again
    REUSED = "reused"  # the task got the result that another task made from the same inputs
    REUSE_AGAIN = "reuse-again"  # the file that came from another task is gone
    ADOPTED = "adopted"  # the submission log or `batchswap adopt` has an accepted attempt for it
    DOUBTED = "doubted"  # the submission log has an attempt for it, without an answer
    CHANGED = "changed"  # its row in the manifest was edited
    REDONE = "redone"  # the user rejected the result and wants another attempt, which costs credits again
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
"""Transitions that a run makes by itself."""

BY_PERSON: dict[State, dict[Event, State]] = {
    State.QUEUED: {Event.CANCELLED: State.CANCELLED, Event.ADOPTED: State.RUNNING, Event.DOUBTED: State.UNCERTAIN},
    State.DONE: {
        Event.CHANGED: State.QUEUED,
        Event.RESUMED: State.RUNNING,
        Event.REUSE_AGAIN: State.QUEUED,
        Event.REDONE: State.QUEUED,
    },
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
"""Transitions that only a person causes, by a command or an edited manifest."""

FINAL = frozenset(state for state, moves in MOVES.items() if not moves)
"""States that a run does not leave by itself."""

IN_FLIGHT = (State.SUBMITTING, State.RUNNING, State.FETCHING)
"""A run works on the task until it leaves these states."""
TO_COLLECT = (State.RUNNING, State.FETCHING)
"""The API accepted the task. A run only polls and downloads."""
OPEN = (*IN_FLIGHT, State.UNCERTAIN)
"""The last attempt has no final outcome yet. An edited row has to wait."""
UNDONE = (State.QUEUED, State.FAILED, State.CANCELLED)
"""Nothing is in progress or done. The next attempt uses the inputs that the manifest has then."""
TO_DO = (State.QUEUED, *IN_FLIGHT)
"""The next run of the manifest continues with the task."""
UNCLEAR = (State.SUBMITTING, State.UNCERTAIN)
"""The last attempt may or may not have been accepted."""
ADOPTABLE = (State.QUEUED, State.FAILED, State.UNCERTAIN)
"""`batchswap adopt` may attach a task of the API."""
ENDED = (State.DONE, State.FAILED, State.UNCERTAIN)
"""A run has nothing left to do for the task."""


class AttemptState(StrEnum):
    """State of an attempt, as the ledger stores it. It decides whether the attempt costs credits."""

    OPEN = "open"  # on disk; its request may be sent
    ACCEPTED = "accepted"
    REFUSED = "refused"  # not accepted, and not charged
    UNKNOWN = "unknown"  # it may have been accepted
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"  # the API does not have the task any more
    GIVEN_UP = "given-up"  # a person closed the question whether it was accepted


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
"""The ledger does not have an answer to the attempt."""
RESERVED = (AttemptState.OPEN, AttemptState.ACCEPTED, AttemptState.UNKNOWN)
"""The attempt may still be charged. Its credits are reserved."""
COSTS_MONEY = (AttemptState.SUCCEEDED, AttemptState.FAILED, AttemptState.LOST, AttemptState.GIVEN_UP)
"""The attempt has ended and counts as spent, whether or not the API reported a price."""
HAS_RESULT = (AttemptState.ACCEPTED, AttemptState.SUCCEEDED)
"""The API accepted the attempt and it did not fail. Requesting its result again is free."""
MAY_HAVE_RESULT = (*UNANSWERED, *HAS_RESULT)
"""A further attempt with the same inputs could be charged a second time."""


class Quality(StrEnum):
    """Whether a result is a swap, as the ledger stores it. A result without a finding is UNKNOWN."""

    SWAPPED = "swapped"
    PARTLY = "partly"
    UNCHANGED = "unchanged"
    NO_FACE = "no_face"
    UNKNOWN = "unknown"

    @property
    def words(self) -> str:
        """Return the quality as it is shown."""
        return self.replace("_", " ")


DOUBTFUL = (Quality.PARTLY, Quality.UNCHANGED, Quality.NO_FACE)
"""The result needs the user until it is reviewed."""


class Review(StrEnum):
    """The user's judgement of a result, as the ledger stores it."""

    NONE = ""
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class IllegalMove(Exception):
    """A transition that no table has: a bug."""


def advance(state: State, event: Event) -> State:
    """Return the state after `event`. Raise IllegalMove when neither table has it."""
    after = MOVES[state].get(event) or BY_PERSON.get(state, {}).get(event)
    if after is None:
        raise IllegalMove(f"a {state} task cannot be {event}")
    return after


def attempts_before(after: AttemptState) -> tuple[AttemptState, ...]:
    """Return the states that an attempt may leave for `after`."""
    return tuple(state for state, moves in ATTEMPT_MOVES.items() if after in moves)
