"""What tasks and their inputs are, and how inputs may be shown."""

import pytest

from batchswap.tasks import Attempt, Model, clean, is_nameable, public


@pytest.mark.parametrize(
    ("model", "is_multi", "field"),
    [
        (Model.VIDEO, False, "video_url"),
        (Model.VIDEO_MULTI, True, "video_url"),
        (Model.IMAGE, False, "image_url"),
        (Model.IMAGE_MULTI, True, "image_url"),
    ],
)
def test_models(model: Model, is_multi: bool, field: str) -> None:
    assert (model.is_multi, model.target_field) == (is_multi, field)


def test_an_attempt_is_expected_to_cost_its_estimate_or_what_was_reserved() -> None:
    attempt = Attempt(1, 1, 1, "ref", reserved=3.0, submitted_at=0.0)
    assert attempt.expected == 3.0
    assert Attempt(1, 1, 1, "ref", reserved=3.0, submitted_at=0.0, estimate=2.0).expected == 2.0


@pytest.mark.parametrize(
    ("host", "nameable"),
    [("cdn.example", True), ("127.0.0.1", True), ("a..example", False), ("a" * 64 + ".example", False)],
)
def test_hosts_that_cannot_be_asked_for(host: str, nameable: bool) -> None:
    assert is_nameable(host) is nameable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("clips/a\x1b[2Jb.mp4", "clips/a?[2Jb.mp4"),
        ("https://user:pw@h.example:8080/a.mp4?sig=S#f", "https://h.example:8080/a.mp4?…"),
        ("https://h.example/a\u202eb.mp4", "https://h.example/a?b.mp4"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("http://[::1]/a", "http://[::1]/a"),
        ("https:///a.mp4", "https:///a.mp4"),
        ("https://h:99999999/a", "(not a URL)"),
        ("https://[::bad/a", "(not a URL)"),
    ],
)
def test_inputs_are_shown_without_what_may_be_secret(text: str, shown: str) -> None:
    assert public(text) == shown


def test_foreign_words_become_one_line_that_is_not_too_long() -> None:
    assert clean("two\n\x1b lines ") == "two lines"
    assert clean("from https://me:pass@host/a.mp4, you@host") == "from https://host/a.mp4, you@host"
    assert clean("x" * 501) == "x" * 499 + "…"
    assert clean("x" * 500) == "x" * 500
