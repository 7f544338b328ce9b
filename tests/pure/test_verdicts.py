"""The table of api.md, "Codes", line by line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchswap.verdicts import (
    Kind,
    Retries,
    Verdict,
    backoff,
    clamp_retry_after,
    is_lost,
    judge_safe,
    judge_submit,
    judge_task,
    may_pay_again,
)

SUBMIT = [
    # HTTP status, code and id in the body, meaning
    (200, 200, "t1", Kind.ACCEPTED),
    (200, 200, None, Kind.UNKNOWN),
    (200, None, "t1", Kind.UNKNOWN),
    (201, 200, "t1", Kind.ACCEPTED),
    (202, 200, "t1", Kind.ACCEPTED),
    (299, 200, "t1", Kind.ACCEPTED),
    (202, 200, None, Kind.UNKNOWN),
    (202, None, "t1", Kind.UNKNOWN),
    (202, 422, None, Kind.REJECTED),
    (302, 200, "t1", Kind.UNKNOWN),
    (401, 401, None, Kind.ACCOUNT_REFUSED),
    (200, 401, None, Kind.ACCOUNT_REFUSED),
    (403, 403, None, Kind.ACCOUNT_REFUSED),
    (200, 505, None, Kind.ACCOUNT_REFUSED),
    (505, 505, None, Kind.ACCOUNT_REFUSED),
    (402, 402, None, Kind.NO_CREDITS),
    (200, 402, None, Kind.NO_CREDITS),
    (404, 404, None, Kind.REJECTED),
    (422, 422, None, Kind.REJECTED),
    (200, 422, None, Kind.REJECTED),
    (400, None, None, Kind.REJECTED),
    (413, None, None, Kind.REJECTED),
    (429, 429, None, Kind.RATE_LIMITED),
    (200, 429, None, Kind.RATE_LIMITED),
    (429, None, None, Kind.RATE_LIMITED),
    (429, 200, None, Kind.RATE_LIMITED),
    (455, 455, None, Kind.MAINTENANCE),
    (200, 455, None, Kind.MAINTENANCE),
    (500, 500, None, Kind.UNKNOWN),
    (200, 500, None, Kind.UNKNOWN),
    (200, 501, None, Kind.UNKNOWN),
    (502, None, None, Kind.UNKNOWN),
    (503, 429, None, Kind.UNKNOWN),
    (504, 200, "t1", Kind.UNKNOWN),
    (408, None, None, Kind.UNKNOWN),
    (302, None, None, Kind.UNKNOWN),
    (200, 999, None, Kind.UNKNOWN),
    (200, 0, None, Kind.UNKNOWN),
]


@pytest.mark.parametrize(("status", "code", "remote_id", "kind"), SUBMIT)
def test_create_task(status: int, code: int | None, remote_id: str | None, kind: Kind) -> None:
    assert judge_submit(status, code, remote_id).kind is kind


@pytest.mark.parametrize("status", [200, 500, 502, 505])
def test_create_task_without_an_envelope_is_unknown(status: int) -> None:
    assert judge_submit(status, None, None, is_envelope=False).kind is Kind.UNKNOWN


@given(st.integers(100, 599), st.none() | st.integers(-1, 999), st.none() | st.just("t1"), st.booleans())
def test_a_submit_is_only_accepted_by_a_clean_success(
    status: int, code: int | None, remote_id: str | None, envelope: bool
) -> None:
    verdict = judge_submit(status, code, remote_id, is_envelope=envelope)
    is_clean = 200 <= status < 300 and code == 200 and remote_id == "t1" and envelope
    assert (verdict.kind is Kind.ACCEPTED) == is_clean
    if status >= 500 and not (status == code == 505):
        assert verdict.kind is Kind.UNKNOWN
    if remote_id is not None and verdict.kind is not Kind.ACCEPTED:
        assert verdict.kind is Kind.UNKNOWN  # in any case: a task with this id may exist


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (200, 200, Kind.OK),
        (200, None, Kind.TROUBLE),
        (201, 200, Kind.OK),
        (202, 200, Kind.OK),
        (202, None, Kind.TROUBLE),
        (200, 401, Kind.ACCOUNT_REFUSED),
        (403, None, Kind.ACCOUNT_REFUSED),
        (402, 402, Kind.NO_CREDITS),
        (404, 404, Kind.MISSING),
        (422, 422, Kind.REJECTED),
        (429, None, Kind.RATE_LIMITED),
        (200, 455, Kind.MAINTENANCE),
        (500, 500, Kind.TROUBLE),
        (502, None, Kind.TROUBLE),
        (301, None, Kind.TROUBLE),
    ],
)
def test_safe_calls(status: int, code: int | None, kind: Kind) -> None:
    assert judge_safe(status, code).kind is kind


@pytest.mark.parametrize(
    ("status", "code", "kind"), [(200, None, Kind.OK), (202, None, Kind.OK), (500, None, Kind.TROUBLE)]
)
def test_an_answer_that_names_the_task_needs_no_code(status: int, code: int | None, kind: Kind) -> None:
    assert judge_safe(status, code, is_about_task=True).kind is kind


@pytest.mark.parametrize(
    ("task_id", "status", "media", "kind"),
    [
        ("t1", "pending", 0, Kind.RUNNING),
        ("t1", "running", 0, Kind.RUNNING),
        ("t1", "warming-up", 0, Kind.RUNNING),
        ("t1", "", 0, Kind.RUNNING),
        ("", "success", 1, Kind.SUCCEEDED),
        ("t1", "success", 2, Kind.SUCCEEDED),
        ("t1", "success", 0, Kind.TROUBLE),
        ("t1", "failed", 1, Kind.FAILED),
        ("t2", "success", 1, Kind.TROUBLE),
        ("t2", "failed", 0, Kind.TROUBLE),
    ],
)
def test_task_info(task_id: str, status: str, media: int, kind: Kind) -> None:
    assert judge_task("t1", task_id, status, media).kind is kind


@given(st.integers(1, 5000), st.floats(0, 0.999))
def test_backoff_is_bounded_at_any_try(tries: int, dice: float) -> None:
    assert 0.75 <= backoff(tries, dice) <= 75.0


def test_backoff_grows() -> None:
    assert [backoff(n, 0.5) for n in (1, 2, 3, 4, 7, 8)] == [1.0, 2.0, 4.0, 8.0, 60.0, 60.0]


@pytest.mark.parametrize(
    ("said", "honoured"),
    [(None, 2.0), (0.0, 2.0), (-5.0, 2.0), (1.0, 2.0), (30.0, 30.0), (1e9, 60.0), (1e300, 60.0), (float("nan"), 2.0)],
)
def test_retry_after_is_clamped(said: float | None, honoured: float) -> None:
    assert clamp_retry_after(said, 2.0) == honoured


def test_a_404_is_transient_for_a_while() -> None:
    assert not is_lost(100, 10.0)
    assert not is_lost(1, 1e6)
    assert is_lost(6, 300.0)


def test_only_the_api_itself_says_that_something_is_missing() -> None:
    assert judge_safe(404, None, is_envelope=False).kind is Kind.TROUBLE


def test_a_failed_generation_is_paid_again_only_as_often_as_allowed() -> None:
    assert not may_pay_again(1, 1)
    assert may_pay_again(1, 2)
    assert not may_pay_again(2, 2)


def tries(retries: Retries, *failures: tuple[float, float]) -> list[bool]:
    """`failures` are the times of failed tries, each with the time of the last good answer to any call by then."""
    return [retries.failed(now, good_at) for now, good_at in failures]


def test_a_call_that_fails_alone_is_given_up_after_its_retries() -> None:
    assert tries(Retries(3), (1.0, 0.5), (2.0, 1.5), (4.0, 3.5), (8.0, 7.5)) == [False, False, False, True]


def test_tries_do_not_count_while_the_api_is_unavailable() -> None:
    retries = Retries(3)
    assert not any(tries(retries, *((float(now), 0.5) for now in range(1, 5000))))
    assert tries(retries, (5000.0, 4999.5), (5001.0, 5000.5), (5002.0, 5001.5)) == [False, False, True]


@pytest.mark.parametrize("allowed", [0, 1])
def test_one_further_try_distinguishes_a_failing_call_from_an_outage(allowed: int) -> None:
    assert tries(Retries(allowed), (1.0, 0.5), (2.0, 0.5), (3.0, 2.5)) == [False, False, True]


def test_505_is_a_code_of_the_api_and_without_an_envelope_a_gateway() -> None:
    assert judge_safe(505, None, is_envelope=False) == Verdict(Kind.TROUBLE, "505")
    assert judge_safe(505, 505) != judge_safe(505, None, is_envelope=False)


def test_each_answer_has_an_outcome_for_metrics() -> None:
    answers = ((200, 200), (429, 429), (455, 455), (402, 402), (422, 422), (401, 401), (505, 505), (404, 404))
    found = [judge_safe(status, code).kind.outcome for status, code in answers]
    refused = ["rate_limited", "maintenance", "no_credits", "rejected", "account_refused", "account_refused"]
    assert found == ["ok", *refused, "not_found"]
    assert judge_safe(500, 500).kind.outcome == judge_safe(200, None, is_envelope=False).kind.outcome == "error"
    assert judge_submit(200, 200, "id").kind.outcome == "ok"
    assert judge_submit(400, 400, None).kind.outcome == "rejected"
    assert judge_submit(500, 500, None).kind.outcome == "unclear"
