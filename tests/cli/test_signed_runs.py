"""`run` labels the results of a vendor, and signs them with --sign."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from batchswap.provenance import keys
from batchswap.provenance.verification import SignatureState, verify
from tests.cli.conftest import Place, work


@pytest.fixture
def signing(shop: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place with keys, where results are labelled as usual."""
    keys.create(Path("keys"), "test")
    monkeypatch.delenv("BATCHSWAP_NO_LABEL")
    return shop


def rows(sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect("batchswap.db")) as db:
        return db.execute(sql).fetchall()


def test_every_result_is_labelled_and_signed_before_it_is_done(signing: Place) -> None:
    done = work(signing.manifest("spring.csv", 2), "--sign", "keys", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["signed"] == 2
    for key in ("r0", "r1"):
        found = verify(Path(f"results/spring/{key}.mp4"))
        assert (found.state, found.is_labelled) == (SignatureState.VALID, True)
        assert found.task is not None
        assert (found.task.batch, found.task.key) == ("spring", key)
    assert rows("select count(*) from deliveries where received_sha256 <> sha256") == [(0,)]
    assert rows("select count(*) from tasks t join deliveries d on d.task_id = t.id where t.sha256 = d.sha256") == [
        (0,)
    ]


def test_results_are_labelled_without_keys_and_keep_their_bytes_with_no_label(signing: Place) -> None:
    name = signing.manifest("spring.csv", 1)
    assert work(name).exit_code == 0
    found = verify(Path("results/spring/r0.mp4"))
    assert (found.state, found.is_labelled) == (SignatureState.NONE, True)
    assert rows("select signed from deliveries") == [(0,)]
    assert work(signing.manifest("plain.csv", 1), "--no-label").exit_code == 0
    assert not verify(Path("results/plain/r0.mp4")).is_labelled
    assert rows("select count(*) from deliveries") == [(1,)]


def test_a_repeated_run_signs_what_an_earlier_one_left_unsigned_and_asks_the_api_nothing(signing: Place) -> None:
    name = signing.manifest("spring.csv", 2)
    assert work(name).exit_code == 0
    again = work(name, "--sign", "keys", "--json")
    said = json.loads(again.stdout)
    assert (said["exit_code"], said["signed"], sum(said["requests"].values())) == (0, 2, 0)
    assert "signed 2 results of earlier runs" in again.stderr
    assert verify(Path("results/spring/r1.mp4")).state is SignatureState.VALID
    third = work(name, "--sign", "keys")
    assert "of earlier runs" not in third.stderr


def test_keys_that_cannot_sign_stop_the_run_before_anything_is_paid(signing: Place) -> None:
    (Path("keys") / "key.pem").unlink()
    refused = work(signing.manifest("spring.csv", 1), "--sign", "keys")
    assert (refused.exit_code, Path("batchswap.db").exists()) == (2, False)
    assert "key.pem" in refused.stderr


def test_a_result_that_cannot_be_labelled_is_saved_as_it_came(signing: Place) -> None:
    Path("still.csv").write_text("id,image,face,output\na,face.png,face.png,a.gif\n")
    done = work("still.csv", "--json")
    assert json.loads(done.stdout)["counts"]["done"] == 1, done.stderr
