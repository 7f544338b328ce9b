"""What a plan makes of a row, a selection and a price."""

from pathlib import Path

import pytest

from batchswap.ledger.queries import Selection
from batchswap.ledger.views import Known
from batchswap.manifest import Chunk
from batchswap.report.planning import Prices, Surveyor, classify, conclude
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
        (Known(State.QUEUED, "1"), ("unfinished", True)),
        (Known(State.RUNNING, "1"), ("unfinished", False)),
        (Known(State.SUBMITTING, "1"), ("unfinished", False)),
        (Known(State.FETCHING, "1"), ("unfinished", False)),
        (Known(State.DONE, "1"), ("done", False)),
        (Known(State.FAILED, "1"), ("failed", False)),
        (Known(State.UNCERTAIN, "1"), ("uncertain", False)),
        (Known(State.CANCELLED, "1"), ("cancelled", False)),
        (Known(State.DONE, "2"), ("changed", True)),
        (Known(State.FAILED, "2"), ("changed", True)),
        (Known(State.RUNNING, "2"), ("changed", False)),
        (Known(State.UNCERTAIN, "2"), ("changed", False)),
    ],
)
def test_what_a_row_is(known: Known | None, expected: tuple[str, bool]) -> None:
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
    assert found.submits.get(Model.VIDEO, 0) == submits
    assert found.rows["left_out"] == 5 - submits
    assert found.uploads == (1 if submits else 0)


def test_a_plan_adds_up() -> None:
    found = Surveyor(None, Selection()).survey([Chunk("spring", "/", "spring.csv", [row(f"k{i}") for i in range(10)])])
    settings = Settings(rate_limit=20, rate_period=10.0, in_flight=2, budget=25.0)
    plan = conclude(found, Prices({Model.VIDEO: 3.0}, balance=100.0), settings, {Model.VIDEO: 6.0})
    assert (plan.credits, plan.is_affordable) == (30.0, False)
    assert plan.requests == 10 + 10 + 1 + 1 + 1
    assert plan.seconds == 30.0  # ten tasks of six seconds, two at once: more than the window asks for
    assert conclude(found, Prices({Model.VIDEO: None}), settings, {}).credits is None
    assert conclude(found, Prices(), Settings(rate_limit=None), {}).seconds is None


def test_the_best_sample_is_one_that_can_be_priced() -> None:
    rows = [row("a"), row("b", face="https://host/f.png")]
    found = Surveyor(None, Selection()).survey([Chunk("spring", str(Path.cwd()), "spring.csv", rows)])
    assert found.samples[Model.VIDEO].row.key == "b"
