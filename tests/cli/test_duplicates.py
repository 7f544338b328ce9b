"""Rows with the inputs of another batch: refused before anything is sent, reused for free, or paid on purpose."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Place, call, work
from tests.cli.test_words import change


def submits(*arguments: str) -> int:
    """Return the number of submits of a successful run."""
    done = work(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return int(json.loads(done.stdout)["requests"]["submit"])


def tasks(batch: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(call("tasks", "--batch", batch, "--format", "json").stdout)
    return found


@pytest.fixture
def renamed(shop: Place) -> str:
    """Return a manifest with done rows under a new name."""
    assert submits(shop.manifest("spring.csv", 2)) == 2
    Path("spring.csv").rename("final.csv")
    return "final.csv"


def test_a_renamed_manifest_is_refused_and_nothing_is_sent(renamed: str) -> None:
    refused = work(renamed)
    assert refused.exit_code == 2
    assert "2 rows would be paid for again" in refused.stderr
    assert "final.csv:2: r0 has the inputs of spring/r0 (done)" in refused.stderr
    for option in ("--batch spring", "--duplicates reuse", "--duplicates pay"):
        assert option in refused.stderr
    assert call("tasks", "--batch", "final").exit_code == 2, "nothing was enrolled"


def test_its_old_batch_knows_it(renamed: str) -> None:
    assert submits(renamed, "--batch", "spring") == 0


def test_the_renaming_is_offered_only_where_the_old_manifest_is_gone(renamed: str) -> None:
    Path("spring.csv").write_bytes(Path(renamed).read_bytes())
    assert "--batch spring" not in work(renamed).stderr


def test_reuse_links_the_files_and_pays_nothing(renamed: str) -> None:
    done = work(renamed, "--duplicates", "reuse")
    assert done.exit_code == 0, done.stderr
    assert "reused 2 results of other tasks with the same inputs: 0 credits" in done.stderr
    assert Path("results/final/r0.mp4").samefile("results/spring/r0.mp4")
    assert [task["credits"] for task in tasks("final")] == [0, 0]
    assert "reused → done (run 2): spring/r0" in call("show", "final/r0").stdout
    assert submits(renamed) == 0, "the decision holds"


def test_pay_pays_once_and_is_remembered(renamed: str) -> None:
    assert submits(renamed, "--duplicates", "pay") == 2
    assert submits(renamed) == 0
    Path(renamed).write_text(Path(renamed).read_text() + "new,final9.mp4,face.png\n")
    Place(Path.cwd()).video("final9.mp4")
    assert submits(renamed) == 1


def test_a_decision_to_pay_survives_an_interrupted_run(renamed: str) -> None:
    assert work(renamed, "--duplicates", "pay", "--budget", "1").exit_code == 6
    assert submits(renamed) == 1


def test_two_manifests_of_one_run_are_compared(shop: Place) -> None:
    name = shop.manifest("a.csv", 2)
    Path("b.csv").write_bytes(Path(name).read_bytes())
    refused = work("a.csv", "b.csv")
    assert (refused.exit_code, Path("batchswap.db").exists()) == (2, False)
    assert "b.csv:2: r0 has the inputs of a/r0 (queued)" in refused.stderr
    assert submits("a.csv", "b.csv", "--duplicates", "reuse") == 2
    assert Path("results/b/r1.mp4").samefile("results/a/r1.mp4")


def test_the_other_row_of_two_manifests_is_submitted_when_the_first_one_has_failed(shop: Place) -> None:
    name = shop.manifest("a.csv", 1, "broken")
    Path("b.csv").write_bytes(Path(name).read_bytes())
    done = work("a.csv", "b.csv", "--duplicates", "reuse", "--json")
    assert done.exit_code == 3
    said = json.loads(done.stdout)
    assert (said["counts"]["failed"], said["requests"]["submit"]) == (2, 2)


def test_repeated_rows_of_one_manifest_are_intended(shop: Place) -> None:
    shop.video("v.mp4")
    row = "id,video,face,repeat\nr,v.mp4,face.png,{}\n"
    Path("a.csv").write_text(row.format(2))
    assert submits("a.csv") == 2
    Path("a.csv").write_text(row.format(3))
    assert submits("a.csv") == 1
    Path("b.csv").write_text(row.format(4))
    assert submits("b.csv", "--duplicates", "reuse") == 1, "three results serve three of four rows"
    names = ["r.mp4", "r-2.mp4", "r-3.mp4"]
    assert {Path("results/b", name).stat().st_ino for name in names} == {
        Path("results/a", name).stat().st_ino for name in names
    }


def test_an_id_that_was_changed_is_no_new_work(shop: Place) -> None:
    name = shop.manifest("a.csv", 1)
    assert submits(name) == 1
    Path(name).write_text(Path(name).read_text().replace("r0,", "intro,"))
    assert "a.csv:2: intro has the inputs of a/r0 (done)" in work(name).stderr
    assert submits(name, "--duplicates", "reuse") == 0
    assert Path("results/a/intro.mp4").samefile("results/a/r0.mp4")


def test_another_file_under_the_old_name_is_new_work(renamed: str) -> None:
    Place(Path.cwd()).video("spring0.mp4", "another")
    assert "1 row would be paid for again" in work(renamed).stderr
    assert submits(renamed, "--duplicates", "reuse") == 1


def test_queued_rows_of_an_old_manifest_do_not_count(shop: Place) -> None:
    assert work(shop.manifest("a.csv", 2), "--limit", "1").exit_code == 0
    Path("a.csv").rename("b.csv")
    assert "b.csv:2: r0 has" in (refused := work("b.csv").stderr)
    assert "r1 has" not in refused


def test_waiting_rows_are_compared_again_after_another_batch_finished_them(shop: Place) -> None:
    name = shop.manifest("a.csv", 2)
    assert work(name, "--limit", "1").exit_code == 0
    Path("b.csv").write_text("id,video,face\nx,a1.mp4,face.png\n")
    assert submits("b.csv") == 1
    assert "a.csv:3: r1 has the inputs of b/x (done)" in work(name).stderr


def test_the_same_bytes_under_another_name_are_not_paid_for(shop: Place) -> None:
    name = shop.manifest("a.csv", 1)
    assert submits(name) == 1
    Path("b.csv").write_text("id,video,face\nr0,copy.mp4,face.png\n")
    Path("copy.mp4").write_bytes(Path("a0.mp4").read_bytes())
    refused = work("b.csv", "--json")
    assert (refused.exit_code, json.loads(refused.stdout)["requests"]["submit"]) == (3, 0)
    assert "a/r0 (done) has the same bytes in files of other names" in call("show", "b/r0").stdout
    assert call("retry", "b/r0").exit_code == 0
    assert submits("b.csv", "--duplicates", "reuse") == 0
    assert Path("results/b/r0.mp4").samefile("results/a/r0.mp4")


def test_bytes_under_another_name_are_paid_for_on_purpose(shop: Place) -> None:
    assert submits(shop.manifest("a.csv", 1)) == 1
    Path("b.csv").write_text("id,video,face\nr0,copy.mp4,face.png\n")
    Path("copy.mp4").write_bytes(Path("a0.mp4").read_bytes())
    assert submits("b.csv", "--duplicates", "pay") == 1


def lose(how: str) -> None:
    path = Path("results/spring/r0.mp4")
    content = path.read_bytes()
    path.unlink()
    if how == "changed":
        path.write_bytes(content[:-1] + b"?")
    elif how == "cut":
        path.write_bytes(content[:-1])
    elif how == "folder":
        path.mkdir()


@pytest.mark.parametrize("how", ["gone", "changed", "cut", "folder"])
def test_a_changed_file_is_not_reused(renamed: str, how: str) -> None:
    lose(how)
    done = work(renamed, "--duplicates", "reuse", "--json")
    said = json.loads(done.stdout)
    assert (done.exit_code, said["counts"]["done"], said["requests"]["submit"]) == (3, 1, 0)
    assert "batchswap retry spring/r0" in call("show", "final/r0").stdout
    assert not Path("results/final/r0.mp4").exists()


def test_after_the_other_file_is_back_the_row_gets_it(renamed: str) -> None:
    lose("gone")
    assert work(renamed, "--duplicates", "reuse").exit_code == 3
    assert call("retry", "spring/r0").exit_code == call("retry", "final/r0").exit_code == 0
    assert submits(renamed) == 0
    assert Path("results/final/r0.mp4").samefile("results/spring/r0.mp4")


def test_a_deleted_reused_file_is_restored(renamed: str) -> None:
    assert submits(renamed, "--duplicates", "reuse") == 0
    Path("results/final/r1.mp4").unlink()
    assert call("retry", "final/r1").exit_code == 0
    assert submits(renamed) == 0
    assert Path("results/final/r1.mp4").is_file()


def test_a_file_of_ours_is_not_overwritten_by_a_reused_one(renamed: str) -> None:
    Path("results/final").mkdir()
    Path("results/final/r0.mp4").write_text("mine")
    assert work(renamed, "--duplicates", "reuse").exit_code == 3
    assert Path("results/final/r0.mp4").read_text() == "mine"


def test_a_row_whose_other_task_is_uncertain_waits(forgetful: object, place: Place) -> None:
    name = place.manifest("a.csv", 1)
    assert work(name).exit_code == 4
    Path(name).rename("b.csv")
    assert "r0 has the inputs of a/r0 (uncertain)" in work("b.csv").stderr
    done = work("b.csv", "--duplicates", "reuse", "--json")
    said = json.loads(done.stdout)
    assert (done.exit_code, said["requests"]["submit"]) == (4, 0)
    assert "1 row waits for the result of a/r0 (uncertain)" in said["reason"]


def test_tasks_of_another_provider_do_not_count(shop: Place) -> None:
    """A rehearsal at another provider is no reason to refuse the real run."""
    assert submits(shop.manifest("a.csv", 1)) == 1
    change("update attempts set account = 'local'")
    Path("a.csv").rename("b.csv")
    assert submits("b.csv") == 1


def test_plan_names_them_and_counts_nothing_to_pay(renamed: str) -> None:
    Path(renamed).write_text(Path(renamed).read_text() + "new,https://cdn.example.com/a.mp4,face.png\n")
    planned = call("plan", renamed)
    assert planned.exit_code == 2
    assert planned.stdout.startswith("final: 1 new, 2 duplicate\nto submit: 1 task;")
    assert "final.csv:2: r0 has the inputs of spring/r0 (done)" in planned.stderr
    assert "batchswap run final.csv --batch spring # " in planned.stderr
    reused = call("plan", renamed, "--duplicates", "reuse")
    assert (reused.exit_code, reused.stdout.startswith("final: 1 new, 2 duplicate\n")) == (0, True)
    paid = json.loads(call("plan", renamed, "--duplicates", "pay", "--json").stdout)
    assert paid["submits"] == 3


def test_plan_follows_an_earlier_decision(renamed: str) -> None:
    assert work(renamed, "--duplicates", "pay", "--budget", "1").exit_code == 6
    planned = call("plan", renamed)
    assert (planned.exit_code, planned.stdout.startswith("final: 1 unfinished, 1 done\n")) == (0, True)


def test_plan_without_a_ledger_names_two_manifests_of_one_run(shop: Place) -> None:
    Path("b.csv").write_bytes(Path(shop.manifest("a.csv", 1)).read_bytes())
    planned = call("plan", "a.csv", "b.csv")
    assert planned.exit_code == 2
    assert "b.csv:2: r0 has the inputs of a/r0 (queued)" in planned.stderr


def test_plan_names_an_id_that_was_changed(shop: Place) -> None:
    name = shop.manifest("a.csv", 2)
    assert submits(name) == 2
    Path(name).write_text(Path(name).read_text().replace("r0,", "intro,"))
    planned = call("plan", name)
    assert "a.csv:2: intro has the inputs of a/r0 (done)" in planned.stderr
    assert planned.stdout.startswith("a: 1 done, 1 orphaned, 1 duplicate\n")


def test_check_reads_a_ledger_only_on_request(renamed: str) -> None:
    assert call("check", renamed).exit_code == 0
    Path("night.db").write_bytes(b"")
    assert call("check", renamed, "--db", "night.db").exit_code == 0
    refused = call("check", renamed, "--db", "batchswap.db", "--json")
    assert refused.exit_code == 2
    assert json.loads(refused.stdout)["problems"][1] == {
        "file": str(Path("final.csv").resolve()),
        "line": 3,
        "field": None,
        "message": "r1 has the inputs of spring/r1 (done)",
    }
    assert "batchswap run final.csv --duplicates reuse" in refused.stderr
    assert call("check", renamed, "--db", "batchswap.db", "--duplicates", "reuse").exit_code == 0
    assert call("check", renamed, "--db", "batchswap.db", "--batch", "spring").exit_code == 0
