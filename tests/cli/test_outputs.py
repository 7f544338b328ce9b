"""Changed outputs of existing results: the result stays in its place, and every run and plan reports it."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Place, call, work
from tests.cli.test_words import change

ONE = "1 task that is done or in progress keeps its output: five/r1.mp4, not de/one.mp4"


@pytest.fixture
def renamed(shop: Place) -> str:
    """Return a manifest with done rows, of which the second one then gets another output."""
    name = shop.manifest("five.csv", 3)
    assert work(name).exit_code == 0
    first, *rows = Path(name).read_text().splitlines()
    rows[1] += ",de/one.mp4"
    Path(name).write_text("\n".join([f"{first},output", rows[0] + ",", rows[1], rows[2] + ",", ""]))
    return name


def test_every_run_reports_once_that_an_output_stays(renamed: str) -> None:
    for _ in range(3):
        done = work(renamed)
        assert done.exit_code == 0
        assert done.stderr.count(ONE) == 1, done.stderr
        assert "nothing to do: 3 done" in done.stderr
    assert sorted(path.name for path in Path("results").rglob("*.mp4")) == ["r0.mp4", "r1.mp4", "r2.mp4"]
    assert sum(json.loads(work(renamed, "--json").stdout)["requests"].values()) == 0


def test_a_plan_reports_it_too(renamed: str) -> None:
    for planned in (call("plan", renamed), call("run", "-n", renamed)):
        assert planned.stdout.splitlines()[:2] == ["five: 3 done", ONE]
    as_json = call("plan", renamed, "--json")
    assert json.loads(as_json.stdout)["rows"]["done"] == 3
    assert ONE in as_json.stderr


def test_a_template_for_names_changes_no_result(shop: Place) -> None:
    name = shop.manifest("five.csv", 2)
    work(name)
    again = work(name, "--name-template", "{batch}-{key}{ext}")
    assert "2 tasks that are done or in progress keep their output: five/r0.mp4, not five-r0.mp4" in again.stderr
    assert "keep" not in work(name).stderr, "the names that they have are asked for again"
    assert "the rows are unchanged" in work(name).stderr


def test_an_output_that_changes_as_intended_is_not_reported(renamed: str) -> None:
    """A task that is not done yet uses the new output, and so does an edited row, which runs again."""
    change("update tasks set state = 'failed' where key = 'r1'")
    assert "keep" not in work(renamed).stderr
    change("update tasks set state = 'done', output = 'five/r1.mp4' where key = 'r1'")
    text = Path(renamed).read_text()
    Path("other.png").write_bytes(Path("face.png").read_bytes())
    Path(renamed).write_text(text.replace("face.png,de/one.mp4", "other.png,de/one.mp4"))
    assert "keep" not in call("plan", renamed).stdout
    assert "keep" not in work(renamed).stderr
    assert Path("results/de/one.mp4").exists()
