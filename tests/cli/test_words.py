"""The decisions of a person (retry, resolve, cancel) and the ledger's accounts afterwards."""

import json
import sqlite3
from pathlib import Path
from typing import Any

from batchswap.ledger import queries
from batchswap.ledger.file import connection
from batchswap.ledger.file.lock import hold
from tests.cli.conftest import Place, call, work
from tests.http.local import Running


def show(key: str) -> Any:
    return json.loads(call("show", key, "--json").stdout)


def state(key: str) -> str:
    return str(show(key)["state"])


def credits_now() -> queries.Credits:
    db = connection.connect(Path("batchswap.db"), write=False)
    try:
        return queries.credits_of(db)
    finally:
        db.close()


def change(sql: str, *values: object) -> None:
    """Change the ledger to a state that would be slow to reach."""
    db = sqlite3.connect("batchswap.db")
    db.execute(sql, values)
    db.commit()
    db.close()


def lose(place: Place, rows: int = 1) -> None:
    """Make submits with an unknown outcome."""
    done = call("run", place.manifest("spring.csv", rows), "--rate", "none")
    assert done.exit_code == 4, done.stderr


def accepted_id(server: Running, folder: Path) -> str:
    """Return the task's id on the server."""
    db = sqlite3.connect(folder / "tasks.db")
    try:
        return str(db.execute("select id from tasks order by seq desc limit 1").fetchone()[0])
    finally:
        db.close()


def test_a_failed_generation_is_queued_again_and_paid_again(shop: Place) -> None:
    name = shop.manifest("spring.csv", 1, "broken")
    assert work(name).exit_code == 3
    said = call("retry")
    assert said.exit_code == 0
    assert "1 task queued again; the next run takes it" in said.stderr
    assert state("r0") == "queued"
    assert work(name).exit_code == 3
    assert [each["state"] for each in show("r0")["attempts"]] == ["failed", "failed"]
    assert credits_now().spent == 2.0


def test_a_result_that_was_not_saved_is_not_paid_again(shop: Place) -> None:
    name = shop.manifest("spring.csv", 1)
    blocked = Path("results/spring/.r0.mp4.part")
    blocked.mkdir(parents=True)
    assert work(name, "--retries", "0").exit_code == 3
    blocked.rmdir()
    assert state("r0") == "fetching", "the disk's failure is not the task's"
    refused = call("retry", "r0")
    assert refused.exit_code == 2
    assert "`batchswap run` collects it, and it is not paid for again" in refused.stderr
    done = work(name, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["requests"]["submit"] == 0
    assert credits_now().spent == 1.0


def test_an_older_success_is_not_taken_for_an_edited_row(shop: Place) -> None:
    """The row was edited after its first result and then could not be submitted, so there is nothing to resume."""
    name = shop.manifest("spring.csv", 1)
    assert work(name).exit_code == 0
    Path(name).write_text(f"id,video,face\nr0,{shop.video('other.mp4')},face.png\n")
    assert work(name, "--limit", "0").exit_code == 0
    Path("other.mp4").unlink()
    assert work(name).exit_code == 3
    assert "1 task queued again; the next run takes it" in call("retry").stderr


def test_retry_affects_only_the_selected_tasks(shop: Place) -> None:
    work(shop.manifest("spring.csv", 2, "broken"))
    assert "0 tasks queued again" in call("retry", "--code", "422").stderr
    assert "1 task queued again" in call("retry", "spring/r1").stderr
    assert "1 task queued again" in call("retry", "--code", "501").stderr
    assert call("retry", "r0").exit_code == 2
    assert call("retry", "r0", "--code", "501").exit_code == 2


def test_cancelled_tasks_do_not_run_until_they_are_retried(shop: Place) -> None:
    name = shop.manifest("spring.csv", 3)
    work(name, "--limit", "0")
    assert call("cancel").exit_code == 2
    assert "1 task cancelled" in call("cancel", "r0").stderr
    assert "2 tasks cancelled" in call("cancel", "--batch", "spring").stderr
    assert json.loads(work(name, "--json").stdout)["requests"]["submit"] == 0
    assert "3 tasks queued again" in call("retry", "--state", "cancelled").stderr
    assert work(name).exit_code == 0
    assert call("cancel", "r0").exit_code == 2


def test_a_failed_task_that_is_named_can_be_cancelled(shop: Place) -> None:
    name = shop.manifest("spring.csv", 1, "broken")
    work(name)
    assert "1 task cancelled" in call("cancel", "r0").stderr
    assert work(name).exit_code == 0


def test_show_prints_the_commands_to_resolve(forgetful: Running, place: Place) -> None:
    lose(place)
    change("update attempts set balance_before = 10, balance_after = 8")
    said = call("show", "r0").stdout
    assert "evidence: the balance fell by 2 from 10: probably accepted" in said
    change("update attempts set balance_after = 12")
    assert "evidence: none, because the balance rose by 2 meanwhile" in call("show", "r0").stdout
    for word in ("--task-id ID", "--not-accepted", "--give-up"):
        assert f"batchswap resolve spring/r0 {word}" in said


def test_resolving_as_accepted_collects_the_result(forgetful: Running, place: Place, tmp_path: Path) -> None:
    lose(place)
    remote_id = accepted_id(forgetful, tmp_path / "forgetful")
    assert credits_now().reserved == 1.0
    said = call("resolve", "r0", "--task-id", remote_id)
    assert said.exit_code == 0, said.stderr
    assert state("r0") == "running"
    change("update attempts set accepted_at = accepted_at - 3600, took = null")
    forgetful.wait(remote_id)
    assert call("run", "spring.csv", "--rate", "none").exit_code == 0
    assert credits_now() == queries.Credits(spent=1.0)


def test_an_id_that_is_not_the_rows_is_refused(forgetful: Running, place: Place, tmp_path: Path) -> None:
    lose(place)
    first = accepted_id(forgetful, tmp_path / "forgetful")
    url = forgetful.upload((place.folder / "face.png").read_bytes(), ".png", "image/png")
    video = forgetful.upload((place.folder / place.video("x.mp4")).read_bytes())
    Path("urls.csv").write_text(f"id,video,face\nu0,{video}?a=1,{url}\nu1,{video}?a=2,{url}\n")
    assert call("run", "urls.csv", "--rate", "none").exit_code == 4
    assert "does not know a task unknown" in call("resolve", "u0", "--task-id", "unknown").stderr
    foreign = call("resolve", "u0", "--task-id", first)
    assert (foreign.exit_code, "has other inputs than urls/u0: give the id" in foreign.stderr) == (2, True), (
        foreign.stderr
    )
    mine = accepted_id(forgetful, tmp_path / "forgetful")
    owners = [key for key in ("u0", "u1") if call("resolve", key, "--task-id", mine).exit_code == 0]
    assert len(owners) == 1
    other = {"u0": "u1", "u1": "u0"}[owners[0]]
    assert call("resolve", other, "--task-id", mine).exit_code == 2
    assert state(other) == "uncertain"


def test_an_id_of_other_files_is_refused(forgetful: Running, place: Place, tmp_path: Path) -> None:
    name = place.manifest("spring.csv", 2)
    ids = []
    for rows in ("1", "2"):
        assert call("run", name, "--rate", "none", "--limit", rows).exit_code == 4
        ids.append(accepted_id(forgetful, tmp_path / "forgetful"))
    assert [state("r0"), state("r1")] == ["uncertain", "uncertain"]
    swapped = call("resolve", "r0", "--task-id", ids[1])
    assert (swapped.exit_code, "other inputs than spring/r0" in swapped.stderr) == (2, True), swapped.stderr
    assert call("resolve", "r0", "--task-id", ids[0]).exit_code == 0
    (place.folder / "spring1.mp4").write_bytes(b"another one by now")
    assert call("resolve", "r1", "--task-id", ids[1]).exit_code == 0


def test_one_remote_task_belongs_to_one_attempt(forgetful: Running, place: Place, tmp_path: Path) -> None:
    video = place.video("same.mp4")
    Path("spring.csv").write_text(f"id,video,face\nr0,{video},face.png\nr1,{video},face.png\n")
    assert call("run", "spring.csv", "--rate", "none").exit_code == 4
    remote_id = accepted_id(forgetful, tmp_path / "forgetful")
    assert call("resolve", "r1", "--task-id", remote_id).exit_code == 0
    again = call("resolve", "r0", "--task-id", remote_id)
    assert again.exit_code == 2
    assert "already belongs to an attempt of spring/r1" in again.stderr


def test_resolving_as_not_accepted_queues_the_task(forgetful: Running, place: Place) -> None:
    lose(place)
    assert call("resolve", "r0", "--not-accepted").exit_code == 0
    assert state("r0") == "queued"
    assert credits_now() == queries.Credits()
    assert call("resolve", "r0", "--not-accepted").exit_code == 2


def test_the_submit_of_a_killed_run_can_be_resolved_at_once(forgetful: Running, place: Place) -> None:
    lose(place)
    change("update tasks set state = 'submitting'")
    change("update attempts set state = 'open', code = ''")
    assert call("resolve", "r0", "--not-accepted").exit_code == 0
    assert [each["event"] for each in show("r0")["events"]][-2:] == ["unknown", "not-accepted"]


def test_resolving_as_given_up_ends_the_task(forgetful: Running, place: Place) -> None:
    lose(place)
    assert call("resolve", "r0").exit_code == 2
    assert call("resolve", "r0", "--give-up", "--not-accepted").exit_code == 2
    assert call("resolve", "r0", "--give-up").exit_code == 0
    assert (state("r0"), show("r0")["credits"]) == ("failed", None)
    assert credits_now() == queries.Credits(assumed=1.0, unpriced=1)
    assert "the cost of 1 ended attempt is unknown" in call("status").stdout
    assert (
        "skipped 1 task that you had given up on: it may already be paid, name it to queue it anyway"
        in call("retry").stderr
    )
    assert state("r0") == "failed"
    assert (
        "  Tasks that you gave up on may already be paid. To queue them anyway: batchswap retry --code given-up\n"
    ) in call("status").stdout
    assert "1 task queued again" in call("retry", "r0").stderr


def test_a_given_up_task_is_paid_again_only_by_its_name_even_after_a_cancel(forgetful: Running, place: Place) -> None:
    lose(place, 2)
    assert call("resolve", "r0", "--give-up").exit_code == 0
    assert call("resolve", "r1", "--not-accepted").exit_code == 0
    said = call("cancel", "r0", "r1").stderr
    assert "2 tasks cancelled" in said
    assert "1 task that you had given up on may already be paid: only `batchswap retry KEY` queues" in said
    said = call("retry", "--state", "cancelled").stderr
    assert "1 task queued again" in said
    assert "skipped 1 task that you had given up on" in said
    assert (state("r0"), state("r1")) == ("cancelled", "queued")
    assert "1 task queued again" in call("retry", "r0").stderr
    assert call("cancel", "r0").exit_code == 0  # on second thoughts
    assert "skipped 1 task that you had given up on" in call("retry", "--state", "cancelled").stderr


def test_a_given_up_task_is_not_paid_again_by_the_code_of_a_later_failure(forgetful: Running, place: Place) -> None:
    lose(place)
    assert call("resolve", "r0", "--give-up").exit_code == 0
    assert call("retry", "r0").exit_code == 0
    Path("spring0.mp4").unlink()
    assert call("run", "spring.csv", "--rate", "none").exit_code == 3
    code = str(show("r0")["code"])
    assert "skipped 1 task that you had given up on" in call("retry", "--code", code).stderr
    assert state("r0") == "failed"


def test_an_edited_row_is_not_given_up(forgetful: Running, place: Place) -> None:
    lose(place)
    assert call("resolve", "r0", "--give-up").exit_code == 0
    Path("spring.csv").write_text(f"id,video,face\nr0,{place.video('other.mp4')},face.png\n")
    assert call("run", "spring.csv", "--rate", "none", "--limit", "0").exit_code == 0
    assert state("r0") == "queued"
    assert call("cancel", "r0").stderr == "1 task cancelled; to undo: `batchswap retry spring/r0`\n"
    assert "1 task queued again" in call("retry", "--state", "cancelled").stderr


def test_no_decision_during_a_run(shop: Place) -> None:
    work(shop.manifest("spring.csv", 1, "broken"))
    with hold(Path("batchswap.db"), wait=False):
        busy = call("retry")
    assert busy.exit_code == 75
    assert "a run is using batchswap.db" in busy.stderr
    assert state("r0") == "failed"


def test_decisions_for_several_tasks_are_all_or_nothing(shop: Place) -> None:
    work(shop.manifest("spring.csv", 2, "broken"))
    assert call("retry", "r0", "unknown").exit_code == 2
    assert state("r0") == "failed"


def fetched_again(name: str, key: str) -> None:
    """Run `retry KEY`, and check that the next run pays nothing for it."""
    said = call("retry", key)
    assert said.exit_code == 0, said.stderr
    assert "0 tasks queued again, 1 to collect again without paying; the next run takes it" in said.stderr
    done = work(name, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["requests"]["submit"], found["requests"]["poll"]) == (0, 1)


def test_a_result_that_was_deleted_is_fetched_again_and_not_paid_again(shop: Place) -> None:
    name = shop.manifest("spring.csv", 2)
    work(name)
    path = Path("results/spring/r1.mp4")
    content = path.read_bytes()
    path.unlink()
    assert "nothing to do: 2 done" in work(name).stderr, "a run does not look"
    assert call("retry").stderr == "0 tasks queued again\n", "nor does a retry without a key"
    fetched_again(name, "spring/r1")
    assert path.read_bytes() == content
    assert credits_now().spent == 2.0
    assert [each["state"] for each in show("r1")["attempts"]] == ["succeeded"]


def test_an_intact_result_is_not_fetched_again(shop: Place) -> None:
    work(shop.manifest("spring.csv", 1), "--out", "else where")
    Path("linked.mp4").write_bytes(Path("else where/spring/r0.mp4").read_bytes())
    Path("else where/spring/r0.mp4").unlink()
    Path("else where/spring/r0.mp4").symlink_to(Path("linked.mp4").resolve())
    refused = call("retry", "r0", "--out", "else where")
    assert refused.exit_code == 2
    assert "spring/r0 is done: only failed and cancelled tasks can be retried" in refused.stderr
    assert state("r0") == "done"


def test_a_result_in_another_place_costs_one_confirmation(shop: Place) -> None:
    name = shop.manifest("spring.csv", 1)
    work(name)
    before = Path("results/spring/r0.mp4").stat()
    assert "1 to collect again" in call("retry", "r0", "--out", "else where").stderr
    assert not Path("else where").exists()
    assert work(name).exit_code == 0
    after = Path("results/spring/r0.mp4").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns), "not touched"


def test_a_changed_result_blocks_a_new_one_until_it_is_moved(shop: Place) -> None:
    name = shop.manifest("spring.csv", 1)
    work(name)
    path = Path("results/spring/r0.mp4")
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    said = call("retry", "r0").stderr
    assert "results/spring/r0.mp4: is not the stored result and is never replaced: move it away" in said
    assert said.endswith("0 tasks queued again, 1 to collect again without paying; the next run takes it\n")
    assert work(name).exit_code == 3
    assert (show("r0")["code"], path.read_bytes()) == ("output-taken", content[:-1])
    path.unlink()
    fetched_again(name, "r0")
    assert path.read_bytes() == content
    assert credits_now().spent == 1.0
