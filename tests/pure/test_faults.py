"""The schedule of simulated faults: its notation and its random draws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchswap.errors import UsageError
from batchswap.local.faults import WHEN, Fault, FaultRate, Moment, Schedule, parse_fault


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("429:0.1", FaultRate(Fault.RATE_LIMITED, 0.1)),
        ("lost:1", FaultRate(Fault.LOST, 1.0)),
        ("slow:0.5:20", FaultRate(Fault.SLOW, 0.5, 20.0)),
        ("501:0", FaultRate(Fault.FAILED, 0.0)),
    ],
)
def test_how_a_fault_is_written(text: str, rate: FaultRate) -> None:
    assert parse_fault(text) == rate


@pytest.mark.parametrize("text", ["", "429", "404:0.1", "429:", "429:x", "429:1.1", "429:-1", "slow:1:nan", "lost:nan"])
def test_invalid_faults(text: str) -> None:
    with pytest.raises(UsageError):
        parse_fault(text)


@given(st.text(max_size=20))
def test_any_text_is_a_fault_or_a_usage_error(text: str) -> None:
    try:
        parse_fault(text)
    except UsageError:
        return


def test_every_fault_has_a_time() -> None:
    assert set(WHEN) == set(Fault)
    for fault, moment in WHEN.items():
        schedule = Schedule((FaultRate(fault, 1.0),), 0)
        drawn = {each: schedule.draw(each) for each in Moment}
        assert [each for each, rate in drawn.items() if rate] == [moment]


def test_the_same_seed_brings_the_same_faults_whatever_else_is_drawn() -> None:
    rates = (FaultRate(Fault.FAILED, 0.3), FaultRate(Fault.MAINTENANCE, 0.3))
    one, other = Schedule(rates, 7), Schedule(rates, 7)
    for _ in range(100):
        other.draw(Moment.REQUEST)
    assert [one.draw(Moment.WORK) for _ in range(50)] == [other.draw(Moment.WORK) for _ in range(50)]


def test_the_frequency_is_about_the_chance() -> None:
    schedule = Schedule((FaultRate(Fault.RATE_LIMITED, 0.2),), 1)
    hits = sum(schedule.draw(Moment.REQUEST) is not None for _ in range(5000))
    assert 900 < hits < 1100


def test_durations_lie_around_their_median() -> None:
    rate = FaultRate(Fault.SLOW, 1.0, 6.0)
    schedule = Schedule((rate,), 1)
    drawn = sorted(schedule.draw_seconds(rate) for _ in range(2001))
    assert 5.7 < drawn[1000] < 6.3
    assert drawn[20] > 2.0
    assert drawn[-20] < 18.0
