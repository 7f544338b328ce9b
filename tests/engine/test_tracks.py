"""Sightings are joined into people by place and look, and never two of the same frame."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from batchswap.local.engine.facemesh.geometry import Floats
from batchswap.local.engine.tracking.tracks import Follower, Sighting, describe

LOOKS = [describe(np.random.default_rng(seed).integers(40, 200, (468, 3)).astype(np.uint8)) for seed in range(3)]


def sighting(frame: int, x: float, look: Floats = LOOKS[0], size: float = 50, record: int = 0) -> Sighting:
    return Sighting(frame, record, (x, 100, x + size, 100 + size), look)


def follow(frames: list[list[tuple[float, int]]], size: float = 50) -> list[list[tuple[int, int]]]:
    """Follow frames with (x, look) of each face. Return the first and last frame of each person's tracks."""
    follower = Follower()
    for number, faces in enumerate(frames):
        follower.see([sighting(number, x, LOOKS[who], size) for x, who in faces])
    return [[(track.frames[0], track.frames[-1]) for track in person] for person in follower.people()]


def test_a_face_that_moves_is_one_person() -> None:
    assert follow([[(10 * n, 0)] for n in range(30)]) == [[(0, 29)]]


def test_a_face_may_be_missed_for_some_frames() -> None:
    assert follow([[(3 * n, 0)] if n % 5 else [] for n in range(1, 31)]) == [[(0, 28)]]


def test_another_face_in_the_same_place_is_another_person() -> None:
    """As after a cut between two people."""
    assert follow([[(100, n // 10)] for n in range(20)]) == [[(0, 9)], [(10, 19)]]


def test_a_person_who_returns_elsewhere_is_recognised_by_the_look() -> None:
    there = [[(100.0, 0)]] * 10 + [[]] * 20 + [[(600.0, 0)]] * 10
    assert follow(there) == [[(0, 9), (30, 39)]]


def test_a_later_stranger_is_another_person() -> None:
    there = [[(100.0, 0)]] * 10 + [[]] * 20 + [[(110.0, 1)]] * 12
    assert follow(there) == [[(30, 41)], [(0, 9)]]


def test_two_people_of_the_same_look_are_two_while_both_are_visible() -> None:
    assert follow([[(100, 0), (400, 0)]] * 10) == [[(0, 9)], [(0, 9)]]


def test_twins_who_come_and_go_at_the_same_time_stay_two() -> None:
    there = [[(100.0, 0), (400.0, 0)]] * 10 + [[]] * 12 + [[(100.0, 0), (400.0, 0)]] * 10
    people = follow(there)
    assert sorted(len(person) for person in people) == [2, 2]


def test_a_face_in_few_frames_is_no_person() -> None:
    assert follow([[(100.0, 0)]] * 20 + [[(100, 0), (500, 1)]] * 3) == [[(0, 22)]]


def test_a_very_short_clip_needs_no_more_frames_than_it_has() -> None:
    assert follow([[(100.0, 0)]] * 2) == [[(0, 1)]]


def test_the_largest_over_the_whole_clip_comes_first() -> None:
    follower = Follower()
    for number in range(20):
        near = [sighting(number, 400, LOOKS[1], 90)] if number < 5 else []
        follower.see([sighting(number, 100, LOOKS[0], 60), *near, sighting(number, 700, LOOKS[2], 50)])
    # a large face for five frames counts less than a medium one for twenty
    sizes = [person[0].area / len(person[0].frames) for person in follower.people()]
    assert sizes == [60**2, 50**2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(st.floats(0, 900), st.integers(0, 2)), max_size=4), min_size=1, max_size=40))
def test_a_person_is_never_in_two_places_at_once(frames: list[list[tuple[float, int]]]) -> None:
    follower = Follower()
    record = 0
    for number, faces in enumerate(frames):
        seen = []
        for x, who in faces:
            seen.append(sighting(number, x, LOOKS[who], record=record))
            record += 1
        follower.see(seen)
    records: set[int] = set()
    for person in follower.people():
        times = [frame for track in person for frame in track.frames]
        assert times == sorted(set(times))
        used = {number for track in person for number in track.records}
        assert not used & records
        records |= used
