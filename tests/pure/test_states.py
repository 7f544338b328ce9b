"""The table of moves: complete, and without a way to pay twice."""

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchswap
from batchswap import states
from batchswap.states import (
    ATTEMPT_MOVES,
    BY_PERSON,
    COSTS_MONEY,
    DOUBTFUL,
    FINAL,
    HAS_RESULT,
    IN_FLIGHT,
    MAY_HAVE_RESULT,
    MOVES,
    RESERVED,
    UNANSWERED,
    AttemptState,
    Event,
    IllegalMove,
    Quality,
    State,
    advance,
    attempts_before,
)


def test_every_state_has_a_row_and_every_event_is_used() -> None:
    assert set(MOVES) == set(State)
    used = {event for table in (MOVES, BY_PERSON) for moves in table.values() for event in moves}
    assert used == set(Event)


def test_final_states() -> None:
    assert {State.DONE, State.FAILED, State.CANCELLED} == FINAL
    assert FINAL.isdisjoint(IN_FLIGHT)


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
    """Invariants 2 and 3: no failure in polls, callbacks or downloads leads to a submit."""
    back = {(state, event) for state, moves in MOVES.items() for event, after in moves.items() if after == State.QUEUED}
    assert back == {(State.SUBMITTING, Event.REFUSED), (State.RUNNING, Event.PAYABLE_AGAIN)}


def test_an_uncertain_task_is_never_queued_by_the_program() -> None:
    assert State.QUEUED not in MOVES[State.UNCERTAIN].values()


def test_every_state_of_an_attempt_has_a_row_and_can_be_reached() -> None:
    assert set(ATTEMPT_MOVES) == set(AttemptState)
    reached = set(itertools.chain(*ATTEMPT_MOVES.values()))
    assert reached == set(AttemptState)
    for after in AttemptState:
        assert set(attempts_before(after)) == {state for state in AttemptState if after in ATTEMPT_MOVES[state]}


def test_an_attempt_is_refused_only_before_its_acceptance_is_known() -> None:
    """Invariant 2: an accepted attempt is never recorded as free."""
    assert set(attempts_before(AttemptState.REFUSED)) == set(UNANSWERED)
    assert attempts_before(AttemptState.OPEN) == (AttemptState.UNKNOWN,)


def test_an_attempt_is_reserved_spent_or_refused() -> None:
    """Each credit counts once, however the attempt ends."""
    groups = (RESERVED, COSTS_MONEY, (AttemptState.REFUSED,))
    assert sorted(itertools.chain(*groups)) == sorted(AttemptState)


def test_attempts_that_were_not_refused_and_did_not_fail_may_have_a_result() -> None:
    assert set(MAY_HAVE_RESULT) == {*RESERVED, AttemptState.SUCCEEDED}
    assert set(HAS_RESULT) < set(MAY_HAVE_RESULT)


WORDS = "|".join([*State, *AttemptState])
LISTED = re.compile(rf"(?:State\.[A-Z]+, (?:Attempt)?){{2}}State|\b(?:{WORDS})', '")
"""Three states in a row in Python, or two in SQL."""


def test_groups_of_states_are_declared_in_one_place() -> None:
    package = Path(batchswap.__file__).parent
    where = {path for path in package.rglob("*.py") if LISTED.search(path.read_text())}
    assert where == {Path(states.__file__), package / "ledger" / "schema.py"}, "released steps are never edited"


@pytest.mark.parametrize("state", State)
def test_each_move_leads_where_its_table_says_and_all_others_are_refused(state: State) -> None:
    moves = MOVES[state] | BY_PERSON.get(state, {})
    assert {event: advance(state, event) for event in moves} == moves
    for event in set(Event) - set(moves):
        with pytest.raises(IllegalMove, match=f"a {state} task cannot be {event}"):
            advance(state, event)


def test_doubtful_results_are_those_that_are_known_to_be_no_full_swap() -> None:
    assert set(DOUBTFUL) == set(Quality) - {Quality.SWAPPED, Quality.UNKNOWN}
    assert [each.words for each in DOUBTFUL] == ["partly", "unchanged", "no face"]
