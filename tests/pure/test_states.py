"""The table of moves: complete, and without a way to pay twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchswap.states import AT_API, BY_PERSON, FINAL, MOVES, Event, IllegalMove, State, advance


def test_every_state_has_a_row_and_every_event_is_used() -> None:
    assert set(MOVES) == set(State)
    used = {event for table in (MOVES, BY_PERSON) for moves in table.values() for event in moves}
    assert used == set(Event)


def test_final_states() -> None:
    assert {State.DONE, State.FAILED, State.CANCELLED} == FINAL
    assert AT_API.isdisjoint(FINAL)


@given(st.sampled_from(State), st.sampled_from(Event))
def test_a_move_is_in_a_table_or_refused(state: State, event: Event) -> None:
    allowed = MOVES[state] | BY_PERSON.get(state, {})
    if event in allowed:
        assert advance(state, event) == allowed[event]
    else:
        with pytest.raises(IllegalMove):
            advance(state, event)


def test_no_event_has_two_meanings_in_one_state() -> None:
    for state, moves in BY_PERSON.items():
        assert moves.keys().isdisjoint(MOVES[state].keys())


def test_only_known_refusals_and_payable_failures_lead_back_to_the_queue_by_themselves() -> None:
    """Invariants 2 and 3: nothing that goes wrong in polling, callbacks or downloads can lead to a submit."""
    back = {(state, event) for state, moves in MOVES.items() for event, after in moves.items() if after == State.QUEUED}
    assert back == {(State.SUBMITTING, Event.REFUSED), (State.RUNNING, Event.PAYABLE_AGAIN)}


def test_an_uncertain_task_is_never_queued_by_the_program() -> None:
    assert State.QUEUED not in MOVES[State.UNCERTAIN].values()
