"""`run` labels the results of a vendor, and signs them with --sign."""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from batchswap.provenance import keys
from batchswap.provenance.verification import SignatureState, verify
from tests.cli.conftest import Place, call, work
from tests.cli.test_labelled_runs import film


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
    said = call("verify")
    assert (said.exit_code, said.stdout) == (0, "")


def test_a_result_with_a_visible_label_is_signed_later_as_the_file_that_was_received(signing: Place) -> None:
    film("clip.mp4")
    Path("spring.csv").write_text("id,video,face\na,clip.mp4,face.png\n")
    assert work("spring.csv", "--visible-label", "AI-generated").exit_code == 0
    [(received, delivered)] = rows("select received_sha256, t.sha256 from deliveries join tasks t on t.id = task_id")
    assert received != delivered
    assert call("sign", "--sign", "keys").exit_code == 0
    found = verify(Path("results/spring/a.mp4"))
    assert found.task is not None
    assert (found.state, found.task.received_sha256) == (SignatureState.VALID, received)
    assert call("verify").exit_code == 0


def test_a_reused_result_is_signed_for_its_own_row(signing: Place) -> None:
    """Its manifest names its own batch and release, and not those of the task that was paid for."""
    signing.manifest("spring.csv", 1)
    Path("spring.csv").write_text(f"id,video,face,consent\na,{signing.video('v.mp4')},face.png,release-1\n")
    Path("again.csv").write_text("id,video,face,consent\nb,v.mp4,face.png,release-2\n")
    assert work("spring.csv", "--sign", "keys").exit_code == 0
    done = work("again.csv", "--sign", "keys", "--duplicates", "reuse", "--json")
    assert (json.loads(done.stdout)["requests"]["submit"], json.loads(done.stdout)["signed"]) == (0, 1)
    found = verify(Path("results/again/b.mp4"))
    assert found.task is not None
    assert (found.state, found.task.batch, found.consent) == (SignatureState.VALID, "again", "release-2")
    assert call("verify").exit_code == 0


def test_keys_that_cannot_sign_stop_the_run_before_anything_is_paid(signing: Place) -> None:
    (Path("keys") / "key.pem").unlink()
    refused = work(signing.manifest("spring.csv", 1), "--sign", "keys")
    assert (refused.exit_code, Path("batchswap.db").exists()) == (2, False)
    assert "key.pem" in refused.stderr


def test_a_result_that_cannot_be_labelled_is_saved_as_it_came(signing: Place) -> None:
    Path("still.csv").write_text("id,image,face,output\na,face.png,face.png,a.gif\n")
    done = work("still.csv", "--json")
    assert json.loads(done.stdout)["counts"]["done"] == 1, done.stderr


def test_verify_reads_the_signatures_of_results(signing: Place) -> None:
    assert work(signing.manifest("spring.csv", 2), "--sign", "keys").exit_code == 0
    said = json.loads(call("verify", "--json").stdout)
    assert (said["exit_code"], said["signatures"]["valid"], said["labelled"]) == (0, 2, 2)
    said = json.loads(call("verify", "--json", "--root", "keys/root.pem").stdout)
    assert said["signatures"]["trusted"] == 2
    Path("text.pem").write_bytes(b"\xff no certificate")
    for root, words in {"text.pem": "has no certificate in PEM", "nothing.pem": "cannot be read"}.items():
        refused = call("verify", "--root", root)
        assert (refused.exit_code, f"--root: {root} {words}" in refused.stderr) == (2, True)
    with closing(sqlite3.connect("batchswap.db")) as db, db:
        db.execute("update tasks set consent = 'release-9' where key = 'r1'")
    wrong = call("verify")
    assert wrong.exit_code == 3
    assert wrong.stdout == (
        "spring/r1: results/spring/r1.mp4 is signed for the release none, and its row names release-9\n"
    )


def test_the_evidence_of_the_release_is_in_the_signed_file(signing: Place) -> None:
    Path("proof.pdf").write_bytes(b"signed by Anna")
    Path("releases.csv").write_text("reference,evidence\nrelease-1,proof.pdf\nrelease-2,\n")
    rows = [f"r{i},{signing.video(f'v{i}.mp4')},face.png,release-{i}" for i in (1, 2)]
    Path("spring.csv").write_text("\n".join(["id,video,face,consent", *rows, ""]))
    done = work("spring.csv", "--consent-register", "releases.csv", "--sign", "keys")
    assert done.exit_code == 0, done.stderr
    found = [verify(Path(f"results/spring/r{number}.mp4")).task for number in (1, 2)]
    assert [(each.consent, each.evidence_sha256) for each in found if each is not None] == [
        ("release-1", hashlib.sha256(b"signed by Anna").hexdigest()),
        ("release-2", ""),
    ]


def test_files_are_verified_without_a_ledger(signing: Place) -> None:
    assert work(signing.manifest("spring.csv", 1), "--sign", "keys").exit_code == 0
    elsewhere = Path("elsewhere")
    elsewhere.mkdir()
    good, bad = (shutil.copy("results/spring/r0.mp4", elsewhere / name) for name in ("good.mp4", "bad.mp4"))
    content = bytearray(Path(bad).read_bytes())
    content[content.index(b"mdat") + 5] ^= 1
    Path(bad).write_bytes(content)
    shutil.copy("r0.mp4" if Path("r0.mp4").exists() else "spring0.mp4", elsewhere / "plain.mp4")
    assert call("verify", "--db", "none.db", str(good)).exit_code == 0
    found = call("verify", "--db", "none.db", "elsewhere")
    assert found.exit_code == 3
    assert sorted(line.partition(":")[0] for line in found.stdout.splitlines()) == [
        "elsewhere/bad.mp4 is changed after it was signed",
        "elsewhere/plain.mp4 is not signed",
    ]
    assert (
        "3 files verified without a ledger: 2 problems found; 1 intact signature; 2 labelled as synthetic"
        in found.stderr
    )
