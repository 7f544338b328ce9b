"""The number of tasks of unknown price that may be in flight."""

import pytest

from batchswap.runner.submit.price_trials import allowed


@pytest.mark.parametrize(
    ("estimate", "left", "is_first", "count"),
    [
        (2.0, 20.0, True, 1),
        (2.0, 39.9, True, 1),
        (2.0, 40.0, True, 2),
        (2.0, 1000.0, True, 4),
        (2.0, 1e9, False, 4),
        (2.0, 19.9, True, 1),  # one, as long as its estimate fits
        (2.0, 19.9, False, 0),
        (2.0, -5.0, True, 1),
        (2.0, -5.0, False, 0),
        (0.1, 3.0, True, 3),  # despite binary fractions
        (2.0, float("inf"), True, 4),
        (0.0, 100.0, True, 1),  # an estimate of zero does not bound the price
    ],
)
def test_no_more_than_the_budget_bears_at_ten_times_the_estimate(
    estimate: float, left: float, is_first: bool, count: int
) -> None:
    assert allowed(estimate, left, is_first=is_first) == count
