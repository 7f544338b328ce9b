"""`sign`: keys for C2PA, and results of an older ledger that are signed once, whatever is killed."""

import json
import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from batchswap.ledger.enrolment.input_files import hash_file
from batchswap.operations.sign import SignOrder, sign_results
from batchswap.provenance.delivered_file import SignedFile, SigningJob, deliver_signed
from batchswap.provenance.verification import SignatureState, verify
from tests.cli.conftest import Place, call, work
from tests.cli.test_duplicates import submits

FILE = Path("results/spring/r0.mp4")


@pytest.fixture
def done(shop: Place, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a manifest with three results without a label, next to a folder of keys."""
    made = call("sign", "init", "keys", "--name", "Example Ltd")
    assert made.exit_code == 0, made.stderr
    name = shop.manifest("spring.csv", 3)
    assert work(name).exit_code == 0
    monkeypatch.delenv("BATCHSWAP_NO_LABEL")
    return name


def sign(*arguments: str) -> dict[str, Any]:
    said = call("sign", "--sign", "keys", "--json", *arguments)
    found: dict[str, Any] = json.loads(said.stdout)
    assert found["exit_code"] == said.exit_code
    return found


def row(key: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(call("tasks", "--format", "json").stdout)
    return next(each for each in found if each["key"] == key)


def test_init_makes_keys_and_says_what_strangers_see(place: Place) -> None:
    made = call("sign", "init", "keys")
    assert made.exit_code == 0
    assert {path.name for path in Path("keys").iterdir()} == {"root.pem", "chain.pem", "key.pem"}
    text = " ".join(made.stdout.split())
    assert "Whoever does not have root.pem sees that a file is unchanged, and an unknown signer." in text
    assert "put a certificate of a C2PA authority into chain.pem" in text
    again = call("sign", "init", "keys")
    assert (again.exit_code, "no key is ever overwritten" in again.stderr) == (2, True)
    found = json.loads(call("sign", "init", "others", "--json").stdout)
    assert found == {"exit_code": 0, **{name: f"others/{name}.pem" for name in ("root", "chain", "key")}}
    assert call("sign", "init").exit_code == 2


def test_results_of_an_older_ledger_are_signed_once_without_the_api(done: str) -> None:
    received = {f"r{number}": row(f"r{number}")["sha256"] for number in range(3)}
    assert sign() == {"exit_code": 0, "signed": 3, "already_signed": 0, "failed": [], "remarks": []}
    for key, before in received.items():
        path = Path(f"results/spring/{key}.mp4")
        found = verify(path, Path("keys/root.pem"))
        assert (found.state, found.is_labelled) == (SignatureState.TRUSTED, True)
        assert found.task is not None
        assert (found.task.key, found.task.attempt, found.task.received_sha256) == (key, 1, before)
        assert found.task.task_id == row(key)["remote_id"]
        assert found.task.target_sha256 == hash_file(Path(f"spring{key[1:]}.mp4"))
        known = row(key)
        assert (known["sha256"], known["size"], known["signed"]) == (hash_file(path), path.stat().st_size, True)
    contents = {path: path.read_bytes() for path in Path("results/spring").iterdir()}
    assert sign()["signed"] == 0
    assert sign("r1") == {"exit_code": 0, "signed": 0, "already_signed": 1, "failed": [], "remarks": []}
    assert {path: path.read_bytes() for path in Path("results/spring").iterdir()} == contents
    assert "changed" not in call("status").stdout
    assert submits(done) == 0


def test_results_are_named_by_key_or_path(done: str) -> None:
    assert sign("spring/r1", str(FILE))["signed"] == 2
    assert [row(f"r{number}")["signed"] for number in range(3)] == [True, True, False]
    said = call("sign", "--sign", "keys", "nothing")
    assert (said.exit_code, 'there is no task "nothing"' in said.stderr) == (2, True)


def test_a_result_that_cannot_be_signed_is_named_and_left_as_it_was(done: str) -> None:
    FILE.write_bytes(FILE.read_bytes() + b"more")
    Path("results/spring/r1.mp4").unlink()
    content = FILE.read_bytes()
    found = sign()
    assert (found["exit_code"], found["signed"], len(found["failed"])) == (3, 1, 2)
    assert found["failed"][0].startswith("spring/r0: ")
    assert "is not the file that was downloaded" in found["failed"][0]
    assert found["failed"][1].endswith("r1.mp4 is missing")
    assert FILE.read_bytes() == content
    assert sorted(path.name for path in FILE.parent.iterdir()) == ["r0.mp4", "r2.mp4"]
    said = call("sign", "--sign", "keys").stderr
    assert "0 results signed; 2 not signed, and left as they were" in said


def test_keys_that_are_wrong_sign_nothing(done: str) -> None:
    content = FILE.read_bytes()
    shutil.rmtree("keys")
    said = call("sign", "--sign", "keys")
    assert said.exit_code == 2
    assert "keys/chain.pem does not exist: `batchswap sign init keys` makes keys" in said.stderr
    assert "--sign DIR names the keys" in call("sign").stderr
    wrong = call("sign", "--sign", "keys", "--timestamp-url", "example.com")
    assert (wrong.exit_code, "is not an http or https URL" in wrong.stderr) == (2, True)
    assert FILE.read_bytes() == content


def test_doctor_checks_the_keys(place: Place) -> None:
    call("sign", "init", "keys", "--name", "Example Ltd")

    def findings() -> list[tuple[bool, str, str]]:
        found = json.loads(call("doctor", "--provider", "local", "--sign", "keys", "--json").stdout)["findings"]
        return [(each["ok"], each["message"], each["remedy"]) for each in found if each["name"] == "keys"]

    [(is_well, message, _)] = findings()
    assert (is_well, message[:49]) == (True, "keys can sign as CN=Example Ltd,O=Example Ltd until 2"[:49])
    Path("keys/key.pem").chmod(0o644)
    assert findings()[1:] == [(False, "keys/key.pem can be read by others", "chmod 600 keys/key.pem")]
    call("sign", "init", "others")
    shutil.copy("others/chain.pem", "keys/chain.pem")
    wrong = findings()[0]
    words = "keys/key.pem does not fit the first certificate in keys/chain.pem: they are from different pairs"
    assert wrong == (False, words, "see `batchswap guide provenance`")
    assert call("doctor", "--provider", "local", "--sign", "keys").exit_code == 2
    assert "keys: " not in call("doctor", "--provider", "local").stdout


def test_the_keys_are_not_taken_from_the_working_directory(done: str) -> None:
    Path("batchswap.yaml").write_text("sign: keys\n")
    said = call("sign")
    assert said.exit_code == 2
    assert '"sign" is not taken from the working directory\'s file' in said.stderr


def test_a_lost_ledger_is_rebuilt_with_signed_results(done: str) -> None:
    sign()
    known = row("r0")
    Path("batchswap.db").unlink()
    for name in ("batchswap.db-wal", "batchswap.db-shm"):
        Path(name).unlink(missing_ok=True)
    assert call("rebuild", done).exit_code == 0
    assert (row("r0")["state"], row("r0")["sha256"]) == ("done", known["sha256"])
    assert submits(done) == 0
    content = FILE.read_bytes()
    assert sign()["signed"] == 3
    assert FILE.read_bytes() == content, "it is signed once"
    assert call("verify").exit_code == 0


def test_a_result_that_is_rejected_while_it_is_signed_is_left_where_it_moved(
    done: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = row("r0")["sha256"]

    def reject(job: SigningJob) -> SignedFile:
        found = deliver_signed(job)
        assert call("review", "--reject", "r0").exit_code == 0
        return found

    order = SignOrder(Path("batchswap.db"), Path("results"), Path("keys"), ("r0",))
    with monkeypatch.context() as patch:
        patch.setattr("batchswap.operations.sign.deliver_signed", reject)
        outcome = sign_results(order)
    assert outcome.failed == ["spring/r0: it has just been changed by another command: repeat this one"]
    assert sorted(path.name for path in FILE.parent.iterdir()) == ["r1.mp4", "r2.mp4"]
    rejected = Path("results/rejected/spring/r0.mp4")
    assert (row("r0")["sha256"], hash_file(rejected)) == (received, received)
    assert sign("r0")["signed"] == 1
    assert verify(rejected).state is SignatureState.VALID


VICTIM = """
import os, signal, sys
from batchswap.ledger import signatures
from batchswap.cli.main import root
steps = int(sys.argv.pop(1))

def step(*_):
    global steps
    steps -= 1
    if steps < 0:
        os.kill(os.getpid(), signal.SIGKILL)

def watch(event, arguments):
    if event in ("os.rename", "os.remove") or (event == "open" and str(arguments[0]).endswith((".new", ".sign"))):
        step()

record = signatures.record
def recorded(*arguments):
    step()
    found = record(*arguments)
    step()
    return found

signatures.record = recorded
sys.addaudithook(watch)
root.main()
"""


def test_a_killed_signature_is_finished_by_the_same_command(shop: Place) -> None:
    """It is killed before each step that changes a file or the ledger, until no step is left."""
    call("sign", "init", "keys")
    assert work(shop.manifest("spring.csv", 20)).exit_code == 0
    for steps in count():
        key, path = f"r{steps}", Path(f"results/spring/r{steps}.mp4")
        received = row(key)["sha256"]
        command = [sys.executable, "-c", VICTIM, str(steps), "sign", "--sign", "keys", key]
        code = subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode
        found = verify(path)
        assert hash_file(path) == received or found.state is SignatureState.VALID
        if code == 0:
            break
        assert code == -signal.SIGKILL
        content = path.read_bytes() if found.task else None
        assert sign(key)["failed"] == []
        known, found = row(key), verify(path)
        assert content in (None, path.read_bytes())  # what is signed is not signed again
        assert found.task is not None
        assert (found.state, found.task.received_sha256) == (SignatureState.VALID, received)
        assert (known["signed"], known["sha256"], known["size"]) == (True, hash_file(path), path.stat().st_size)
        assert sorted(each.name for each in path.parent.iterdir()) == sorted(f"r{each}.mp4" for each in range(20))
    assert steps > 6
