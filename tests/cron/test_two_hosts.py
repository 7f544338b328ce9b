"""Two hosts with one ledger on a share whose locks hold on one host only."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cron.conftest import QUICK, Desk
from tests.cron.share import Share, mounted
from tests.cron.test_crontab import state
from tests.processes import Process, started
from tests.waits import wait_until


@pytest.fixture
def shares(tmp_path: Path) -> Iterator[tuple[Share, Share]]:
    """Mount one folder twice as by sshfs: locks in one mount are not seen in the other."""
    if os.getuid():
        pytest.skip("only root can play another host")
    (tmp_path / "a").mkdir()
    with (
        mounted(tmp_path / "a", "subtype=sshfs") as first,
        mounted(tmp_path / "b", "subtype=sshfs", back=first.back) as second,
    ):
        yield first, second


@pytest.fixture
def elsewhere(tmp_path: Path) -> tuple[str, ...]:
    """Return the program that starts another one on another host: with another name and another kernel."""
    (tmp_path / "boot").write_text("00000000-0000-4000-8000-000000000000\n")
    script = f'hostname elsewhere && mount --bind {tmp_path}/boot /proc/sys/kernel/random/boot_id && exec "$@"'
    found = ("unshare", "--mount", "--uts", "sh", "-c", script, "sh")
    if subprocess.run([*found, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine has no namespaces")
    return found


def begin(desk: Desk, share: Share) -> Process:
    command = desk.command("run", "spring.csv", "--rate", "3/1s", "--db", f"{share.place}/b.db")
    return subprocess.Popen(command, cwd=desk.folder, env=desk.environment(), stderr=subprocess.PIPE, text=True)


def holder(share: Share) -> dict[str, object]:
    found: dict[str, object] = json.loads((share.back / "b.db.host").read_text())
    return found


def test_a_run_on_another_host_is_refused_until_the_first_one_has_ended_or_is_long_dead(
    desk: Desk, shares: tuple[Share, Share], elsewhere: tuple[str, ...]
) -> None:
    desk.manifest(20, "slow hosts")
    other = replace(desk, given={"HOME": str(desk.folder.parent)})
    second = ("run", "spring.csv", *QUICK, "--db", f"{shares[1].place}/b.db")
    first = begin(desk, shares[0])
    wait_until(lambda: list(desk.folder.glob("results/spring/*.mp4")), "a first result")
    refused = other.finish(*second, before=elsewhere)
    assert refused.returncode == 75
    assert "locks of this share hold on one host only" in refused.stderr
    skipped = other.finish(*second, "--if-running", "skip", before=elsewhere)
    assert (skipped.returncode, "skipped: another run is using" in skipped.stderr) == (0, True)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert other.finish(*second, before=elsewhere).returncode == 75, "it may be alive, for all that this host knows"
    long_ago = time.time() - 1000.0
    os.utime(shares[0].back / "b.db.host", (long_ago, long_ago))
    taken = other.finish(*second, before=elsewhere)
    assert "has given no sign of life for" in taken.stderr
    assert "taking over its ledger" in taken.stderr
    states, (attempts, tasks) = state(shares[0].back / "b.db")
    assert attempts == tasks == 20
    assert states["done"] >= 19, taken.stderr
    assert not (shares[0].back / "b.db.host").exists()


def test_the_next_container_on_the_same_kernel_takes_over_at_once(desk: Desk, shares: tuple[Share, Share]) -> None:
    desk.manifest(12, "slow container")
    first = begin(desk, shares[0])
    wait_until(lambda: list(desk.folder.glob("results/spring/*.mp4")), "a first result")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = holder(shares[0])
    container = ("unshare", "--uts", "sh", "-c", 'hostname container-2 && exec "$@"', "sh")
    done = desk.finish("run", "spring.csv", *QUICK, "--db", f"{shares[0].place}/b.db", before=container)
    assert done.returncode in (0, 4), done.stderr
    assert str(before["host"]) not in done.stderr
    assert state(shares[0].back / "b.db")[1] == (12, 12)


def test_a_run_that_was_away_ends_when_another_host_has_taken_over(desk: Desk, shares: tuple[Share, Share]) -> None:
    desk.manifest(40, "slow away")
    command = desk.command("run", "spring.csv", "--rate", "1/1s", "--db", f"{shares[0].place}/b.db")
    with started(command, cwd=desk.folder, env=desk.environment(), stderr=subprocess.PIPE) as first:
        wait_until((shares[0].back / "b.db").exists, "the run has begun")
        wait_until((shares[0].back / "b.db.host").exists, "its sign of life")
        other = {**holder(shares[0]), "host": "elsewhere", "boot": "x"}
        (shares[0].back / "b.db.host").write_text(json.dumps(other))
        said = first.communicate(timeout=60)[1]
    assert first.returncode == 143
    assert "a run on the host elsewhere has taken over" in said
    assert holder(shares[0]) == other


def test_doctor_names_the_share(desk: Desk, shares: tuple[Share, Share]) -> None:
    done = desk.finish("run", "spring.csv", *QUICK, "--db", f"{shares[0].place}/b.db")
    assert done.returncode == 0, done.stderr
    assert not (shares[0].back / "b.db.host").exists()
    words = "it is on fuse.sshfs, where locks hold on one host only: use it on one host at a time"
    assert words in desk.finish("doctor", "--db", f"{shares[0].place}/b.db").stdout


def test_a_local_disk_has_no_such_file(desk: Desk) -> None:
    assert desk.finish("run", "spring.csv", *QUICK).returncode == 0
    assert not list(desk.folder.glob("*.host*"))
