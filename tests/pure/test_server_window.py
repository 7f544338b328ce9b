"""The server's strict sliding window, for any times."""

from hypothesis import given
from hypothesis import strategies as st

from batchswap.local.server.routes.http import RequestWindow


@given(st.integers(1, 5), st.floats(0.1, 10), st.lists(st.floats(0, 3), max_size=60))
def test_never_more_than_the_limit_in_any_period(limit: int, period: float, pauses: list[float]) -> None:
    window, now, let_in = RequestWindow(limit, period), 0.0, []
    for pause in pauses:
        now += pause
        if wait := window.claim(now):
            assert 0 < wait <= period + 1e-9
        else:
            let_in.append(now)
    for first, last in zip(let_in, let_in[limit:], strict=False):
        assert last >= first + period


@given(st.integers(1, 5), st.floats(0.1, 10))
def test_after_the_wait_there_is_room(limit: int, period: float) -> None:
    window = RequestWindow(limit, period)
    for _ in range(limit):
        assert window.claim(1.0) == 0.0
    wait = window.claim(1.0)
    assert window.claim(1.0 + wait + 1e-9) == 0.0
