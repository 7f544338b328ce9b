"""Changed result files and input files: `run`, `plan` and `status` report them."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Place, call, work


def last(said: str) -> str:
    return said.splitlines()[-1]


@pytest.fixture
def done(shop: Place) -> str:
    """Return a manifest with three results."""
    name = shop.manifest("spring.csv", 3)
    assert work(name).exit_code == 0
    return name


FILE = Path("results/spring/r1.mp4")


def spoil(how: str) -> None:
    content = FILE.read_bytes()
    FILE.unlink()
    match how:
        case "cut":
            FILE.write_bytes(content[:-1])
        case "folder":
            FILE.mkdir()
        case "dangling":
            FILE.symlink_to("nowhere")
        case "edited":
            FILE.write_bytes(content[:-1] + b"?")
            later = FILE.stat().st_mtime + 60
            os.utime(FILE, (later, later))


def test_a_deleted_result_is_named_with_the_command_that_fetches_it(done: str) -> None:
    FILE.unlink()
    said = work(done)
    assert said.exit_code == 0
    assert "nothing to do: 3 done" in last(said.stderr)
    assert "earlier run" not in last(said.stderr)
    words = "1 result file is missing: spring/r1; `batchswap retry spring/r1` and a run download it again"
    assert words in said.stderr
    assert words in call("plan", done).stdout
    assert words in call("status").stdout
    assert json.loads(call("status", "--json").stdout)["results"]["gone"] == ["spring/r1"]
    assert call("retry", "spring/r1").exit_code == 0
    again = work(done, "--json")
    assert json.loads(again.stdout)["requests"]["submit"] == 0
    assert "missing" not in again.stderr


@pytest.mark.parametrize("how", ["cut", "folder", "dangling", "edited"])
def test_a_replaced_result_is_named(done: str, how: str) -> None:
    spoil(how)
    words = "1 result file is changed since the download: spring/r1; move it away, then `batchswap retry spring/r1`"
    for said in (work(done).stderr, call("plan", done).stdout, call("status").stdout):
        assert words in said


def test_a_link_to_the_same_file_and_a_new_date_are_fine(done: str) -> None:
    FILE.rename("elsewhere.mp4")
    FILE.symlink_to(Path("elsewhere.mp4").resolve())
    os.utime("results/spring/r0.mp4")
    assert last(work(done).stderr).endswith("; results in results/")
    assert "result file" not in call("status").stdout


def test_many_are_fetched_with_one_command(shop: Place) -> None:
    name = shop.manifest("spring.csv", 4)
    assert work(name).exit_code == 0
    for path in Path("results/spring").iterdir():
        path.unlink()
    said = work(name).stderr
    assert "4 result files are missing: spring/r2, " in said or "4 result files are missing: spring/r3, " in said
    assert "is a drive not mounted?" in said
    assert "`batchswap retry --state done`" in said
    assert ", 4 to collect again without paying" in call("retry", "--state", "done").stderr
    assert json.loads(work(name, "--json").stdout)["requests"]["submit"] == 0
    assert len(list(Path("results/spring").iterdir())) == 4


def test_a_missing_folder_is_named_once(shop: Place) -> None:
    name = shop.manifest("spring.csv", 3)
    assert work(name, "--out", "drive/results").exit_code == 0
    Path("drive").rename("moved")
    said = call("status").stdout
    assert f"the folder {Path('drive/results').resolve()} is missing, where 3 results were stored: mount it" in said
    assert "are missing" not in said
    assert "is missing" not in call("status", "--out", "moved/results").stdout
    assert last(work(name, "--out", "moved/results").stderr).endswith("; results in moved/results/")


def test_a_run_with_another_out_knows_the_places_of_old_results(done: str) -> None:
    said = last(work(done, "--out", "other").stderr)
    assert said.endswith("results are not in other/ but where an earlier run saved them")


def test_an_input_that_changed_since_is_named(done: str, shop: Place) -> None:
    shop.video("spring1.mp4", "another")
    words = "spring1.mp4 has changed since spring/r1 was made from it: to swap the new file"
    said = work(done)
    assert (said.exit_code, words in said.stderr) == (0, True)
    assert words in call("plan", done).stdout
    found = json.loads(call("status", "--json").stdout)["results"]["inputs_changed"]
    assert found == [{"path": str(Path("spring1.mp4").resolve()), "name": "spring/r1"}]
    Path(done).write_text(Path(done).read_text().replace("r1,", "r1-new,"))
    again = work(done, "--json")
    assert json.loads(again.stdout)["requests"]["submit"] == 1
    assert "has changed" not in last(again.stderr)


def test_an_input_with_a_new_date_and_the_same_bytes_is_fine(done: str) -> None:
    os.utime("spring1.mp4")
    assert "has changed" not in work(done).stderr
