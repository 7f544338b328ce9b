"""Failed tasks are folded by their code and by what their messages have in common."""

import pytest

from batchswap.ledger.page_queries import Failure
from batchswap.report.page.problems import OTHER, fold, pattern_of


def failure(n: int, code: str, reason: str, **more: float) -> Failure:
    return Failure(
        "spring", f"r{n}", code, reason, 100.0 + n, more.get("spent", 0.0), int(more.get("unknown", 0)), n == 1
    )


@pytest.mark.parametrize(
    ("reason", "pattern"),
    [
        ("no face found in any frame", "no face found in any frame"),
        ("frame 12 of 240 has no face", "frame N of N has no face"),
        ("https://cdn.example.com/a/1.jpg could not be fetched", "URL could not be fetched"),
        ("could not fetch https://cdn.example.com/a.jpg?k=v twice", "could not fetch URL twice"),
        ('the file "intro.mp4" is empty', "the file “…” is empty"),
        ("task 5f0c6b0e9a5d4c0f8a3e2b1d7c6f5e4d is gone", "task ID is gone"),
        ("task 0f0f0f0f-1111-2222-3333-444444444444 is gone", "task ID is gone"),
        ("clips/intro.mp4: no face", "PATH: no face"),
        ("wrote 1,024.5 of 2,048 bytes of intro.mp4", "wrote N of N bytes of intro.mp4"),
        ("", ""),
    ],
)
def test_the_pattern_of_a_message(reason: str, pattern: str) -> None:
    assert pattern_of(reason) == pattern


def test_tasks_that_are_alike_are_one_group() -> None:
    found = fold(
        [
            failure(1, "501", "frame 1 has no face", spent=2.5),
            failure(2, "422", "frame 1 has no face", unknown=1),
            *(failure(n, "501", f"frame {n} has no face", spent=0.1) for n in range(3, 7)),
        ]
    )
    assert [(each.code, each.pattern, each.count) for each in found] == [
        ("501", "frame N has no face", 5),
        ("422", "frame N has no face", 1),
    ]
    assert (found[0].lost, found[0].unknown, found[0].saveable) == (2.9, 0, 1)
    assert (found[0].first, found[0].last) == (101.0, 106.0)
    assert found[0].examples == ["spring/r1", "spring/r3", "spring/r4"]
    assert found[1].unknown == 1


def test_ever_new_messages_need_no_more_memory() -> None:
    found = fold((failure(n, "501", f"{'abc' * n} went wrong") for n in range(1, 100)), most=10)
    assert len(found) == 11
    assert (found[0].pattern, found[0].count) == (OTHER, 89)
    assert sum(each.count for each in found) == 99
