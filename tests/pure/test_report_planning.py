"""Plans: rows, selections and prices."""

import struct
from pathlib import Path

import pytest

from batchswap.ledger.report_queries import KnownTask
from batchswap.ledger.selections import Selection
from batchswap.manifest import Chunk
from batchswap.report.plan import PlanPrices, conclude
from batchswap.report.plan_survey import Surveyor, classify
from batchswap.runner.prepare.pricing import Known as KnownPrice
from batchswap.runner.prepare.pricing import Lesson
from batchswap.runner.task_context import TaskClass, class_of
from batchswap.settings import Settings
from batchswap.states import State
from batchswap.tasks import Model, Row


def row(key: str = "a", digest: str = "1", **fields: str) -> Row:
    values = {"target": "https://host/v.mp4?sig=1", "face": "f.png", "output": f"out/{key}.mp4", **fields}
    return Row(key, digest, Model.VIDEO, values["target"], values["face"], values["output"], 1, tags=("de",))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (None, ("new", True)),
        (KnownTask(State.QUEUED, "1"), ("unfinished", True)),
        (KnownTask(State.RUNNING, "1"), ("unfinished", False)),
        (KnownTask(State.SUBMITTING, "1"), ("unfinished", False)),
        (KnownTask(State.FETCHING, "1"), ("unfinished", False)),
        (KnownTask(State.DONE, "1"), ("done", False)),
        (KnownTask(State.FAILED, "1"), ("failed", False)),
        (KnownTask(State.UNCERTAIN, "1"), ("uncertain", False)),
        (KnownTask(State.CANCELLED, "1"), ("cancelled", False)),
        (KnownTask(State.DONE, "2"), ("changed", True)),
        (KnownTask(State.FAILED, "2"), ("changed", True)),
        (KnownTask(State.RUNNING, "2"), ("changed", True)),
        (KnownTask(State.FETCHING, "2"), ("changed", True)),
        (KnownTask(State.SUBMITTING, "2"), ("changed", False)),
        (KnownTask(State.UNCERTAIN, "2"), ("changed", False)),
    ],
)
def test_the_state_of_a_row_in_a_plan(known: KnownTask | None, expected: tuple[str, bool]) -> None:
    assert classify(row(), known) == expected


@pytest.mark.parametrize(
    ("selection", "submits"),
    [
        (Selection(), 5),
        (Selection(limit=2), 2),
        (Selection(limit=0), 0),
        (Selection(text="k3"), 1),
        (Selection(text="host"), 5),
        (Selection(text="sig="), 0),  # the ledger's readable columns have no queries, and a run selects by those
        (Selection(tags=("de",)), 5),
        (Selection(tags=("de", "fr")), 0),
    ],
)
def test_selections(selection: Selection, submits: int) -> None:
    chunks = [Chunk("spring", "/", "spring.csv", [row(f"k{i}") for i in range(5)])]
    found = Surveyor(None, selection).survey(chunks)
    assert found.submits.get(TaskClass(Model.VIDEO), 0) == submits
    assert found.rows["left_out"] == 5 - submits
    assert found.uploads == (1 if submits else 0)


def test_a_plan_adds_up() -> None:
    rows = [row(f"k{i}") for i in range(10)]
    found = Surveyor(None, Selection(), has_budget=True).survey([Chunk("spring", "/", "spring.csv", rows)])
    settings = Settings(rate_limit=20, rate_period=10.0, in_flight=2, budget=25.0)
    plan = conclude(found, PlanPrices({TaskClass(Model.VIDEO): 3.0}, balance=100.0), settings, {Model.VIDEO: 6.0})
    assert (plan.credits, plan.is_affordable) == (30.0, False)
    assert plan.requests == 10 + 10 + 1 + 1 + 1
    assert plan.seconds == 30.0  # ten tasks of six seconds, two at once: more than the window asks for
    assert conclude(found, PlanPrices({TaskClass(Model.VIDEO): None}), settings, {}).credits is None
    assert conclude(found, PlanPrices(), Settings(rate_limit=None), {}).seconds is None


def test_a_budget_that_just_suffices_is_accepted() -> None:
    found = Surveyor(None, Selection()).survey([Chunk("spring", "/", "spring.csv", [row(f"k{i}") for i in range(3)])])
    plan = conclude(found, PlanPrices({TaskClass(Model.VIDEO): 0.1}), Settings(budget=0.3), {})
    assert (plan.credits, plan.is_affordable) == (0.3, True)


def test_a_plan_with_a_budget_counts_a_price_for_each_target_of_unknown_length() -> None:
    rows = [row(f"k{i}", target=f"https://host/{i % 4}.mp4") for i in range(10)]
    for has_budget, prices in ((False, 1), (True, 4)):
        survey = Surveyor(None, Selection(), has_budget=has_budget)
        found = survey.survey([Chunk("spring", "/", "spring.csv", rows)])
        settings = Settings(budget_per_day=25.0 if has_budget else None)
        assert conclude(found, PlanPrices(), settings, {}).requests == 10 + 10 + found.uploads + prices + 1


def test_the_best_sample_is_one_that_can_be_priced() -> None:
    rows = [row("a"), row("b", face="https://host/f.png")]
    found = Surveyor(None, Selection()).survey([Chunk("spring", str(Path.cwd()), "spring.csv", rows)])
    assert found.samples[TaskClass(Model.VIDEO)].row.key == "b"


def movie(path: Path, seconds: int) -> str:
    """Return the header of an MP4 of this length, which is all that is read."""
    mvhd = box(b"mvhd", bytes(12) + struct.pack(">II", 1000, seconds * 1000) + bytes(80))
    path.write_bytes(box(b"ftyp", b"isom") + box(b"mdat", b"") + box(b"moov", mvhd))
    return path.name


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), name) + body


def test_long_and_short_files_are_priced_apart_and_by_the_longest_of_their_class(tmp_path: Path) -> None:
    lengths = (4, 10, 9, 11, 60, 51)
    rows = [row(f"k{n}", target=movie(tmp_path / f"{n}.mp4", n)) for n in lengths] + [
        row("url"),
        row("gone", target="x"),
    ]
    work = Surveyor(None, Selection()).survey([Chunk("spring", str(tmp_path), "spring.csv", rows)])
    found = {str(group): (n, work.samples[group].row.key) for group, n in work.submits.items()}
    assert found == {
        "video-face-swap, 0 to 10 s": (3, "k10"),
        "video-face-swap, 10 to 20 s": (1, "k11"),
        "video-face-swap, 50 to 60 s": (2, "k60"),
        "video-face-swap": (2, "url"),
    }
    assert work.uploads == 8


def test_a_longer_video_of_a_class_is_reserved_in_proportion() -> None:
    known = KnownPrice(3.0, 2.0)
    assert [known.of(seconds) for seconds in (1.0, 2.0, 4.0, None)] == [3.0, 3.0, 6.0, 3.0]
    assert KnownPrice(3.0).of(9.0) == 3.0


def test_charges_correct_estimates_upwards_in_proportion() -> None:
    lesson = Lesson().learned(2.0, 3.0).learned(10.0, 5.0)
    assert [lesson.of(estimate) for estimate in (2.0, 20.0, 0.0)] == [3.0, 30.0, 0.0]
    lesson = lesson.learned(0.0, 4.0).learned(0.0, 1.0)
    assert [lesson.of(estimate) for estimate in (2.0, 0.0)] == [3.0, 4.0]


@pytest.mark.parametrize(
    ("model", "seconds", "step"),
    [
        (Model.VIDEO, 0.04, 1),
        (Model.VIDEO, 10.0, 1),
        (Model.VIDEO_MULTI, 10.1, 2),
        (Model.VIDEO, None, 0),
        (Model.IMAGE, 5.0, 0),
    ],
)
def test_started_steps_of_ten_seconds(model: Model, seconds: float | None, step: int) -> None:
    assert class_of(model, seconds) == TaskClass(model, step)
