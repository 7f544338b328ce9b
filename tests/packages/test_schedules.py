"""The crontab and the units of systemd, held to the command line: each command is read by a shell and by batchswap."""

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from batchswap.cli.main import root
from batchswap.errors import Exit
from batchswap.runner.scheduler import GRACE
from batchswap.state_folder import state_folder
from tests.cli.processes import serving
from tests.cli.quick import KEY, box
from tests.http.samples import movie, picture
from tests.packages.archives import ROOT

FOLDER = ROOT / "manifests" / "cron"
CRONTAB = (FOLDER / "crontab").read_text(encoding="utf-8")
JOB = re.compile(r"^(#?)((?:[\d*/,-]+ ){5})(\S.*)$", re.MULTILINE)
JOBS = [found[3] for found in JOB.finditer(CRONTAB)]
SETTINGS = dict(re.findall(r"^([A-Z]+)=(.*)$", CRONTAB, re.MULTILINE))


def unit(name: str) -> configparser.RawConfigParser:
    """Return the sections of a unit. None of its keys is repeated."""
    found = configparser.RawConfigParser(strict=True, interpolation=None)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string((FOLDER / name).read_text(encoding="utf-8"))
    return found


SERVICE, TIMER = unit("batchswap.service")["Service"], unit("batchswap.timer")["Timer"]


def as_cron_runs(job: str, folder: Path) -> list[list[str]]:
    """Run a job as cron does, with a program that writes down its arguments, and return them for each call."""
    program = folder / "bin" / "batchswap"
    program.parent.mkdir()
    calls = folder / "calls"
    program.write_text(f"#!/bin/sh\nexec >> '{calls}'\nprintf '%s\\0' \"$@\"\necho\n", encoding="utf-8")
    program.chmod(0o755)
    command, percent, _ = re.sub(r"\\%", "\0", job).partition("%")
    assert not percent, f"a percent sign ends the command: {job}"
    env = {"HOME": str(folder), "LOGNAME": "you", "SHELL": "/bin/sh", "PATH": f"{program.parent}:/usr/bin:/bin"}
    command = command.replace("\0", "%").replace("/srv/spring", str(folder))
    subprocess.run([SETTINGS["SHELL"], "-c", command], env=env, check=True, cwd=folder)
    return [line.rstrip("\0").split("\0") for line in calls.read_text().splitlines()]


@pytest.mark.parametrize("job", JOBS)
def test_each_job_is_a_command_line_of_batchswap(job: str, tmp_path: Path) -> None:
    assert job.startswith("cd /srv/spring && "), "cron starts in the home directory"
    calls = as_cron_runs(job, tmp_path)
    assert len(calls) == job.count("batchswap ")
    for name, *words in calls:
        root.commands[name].make_context(name, words)


def test_the_crontab_is_complete() -> None:
    assert len(JOBS) == 4
    assert any(job.endswith("batchswap run night.csv --tick -q --if-running skip") for job in JOBS)
    assert CRONTAB.endswith("\n"), "cron ignores a last line without an end"
    assert SETTINGS.keys() == {"SHELL", "PATH", "LANG", "MAILTO"}
    assert "batchswap" in SETTINGS["PATH"].split(":")[0]
    rest = [line for line in CRONTAB.splitlines() if line and not line.startswith("#") and not JOB.match(line)]
    assert rest == [f"{name}={value}" for name, value in SETTINGS.items()]


def test_only_one_of_two_ways_is_active() -> None:
    active = [found[3] for found in JOB.finditer(CRONTAB) if not found[1]]
    assert sum(" run " in job for job in active) == 1


def exec_start() -> list[str]:
    program, *words = SERVICE["ExecStart"].split()
    assert program.startswith("/"), "systemd takes an absolute path"
    assert Path(program).name == "batchswap"
    return words


def test_the_service_is_a_command_line_of_batchswap() -> None:
    name, *words = exec_start()
    ctx = root.commands[name].make_context(name, words)
    assert ctx.params["tick"]
    assert ctx.params["if_running"] == "skip"


def test_the_service_leaves_time_to_end_and_knows_the_exit_codes() -> None:
    assert float(SERVICE["TimeoutStopSec"]) > GRACE + 30
    assert {int(code) for code in SERVICE["SuccessExitStatus"].split()} == {Exit.DEADLINE, Exit.TERMINATED}


def test_the_service_keeps_state_where_it_may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = dict(each.split("=") for each in SERVICE["Environment"].split())
    monkeypatch.setenv("XDG_STATE_HOME", variables["XDG_STATE_HOME"].replace("%S", "/var/lib"))
    assert state_folder() == Path("/var/lib", SERVICE["StateDirectory"])
    assert SERVICE["ReadWritePaths"] == SERVICE["WorkingDirectory"]
    assert not Path(SERVICE["EnvironmentFile"]).is_relative_to(SERVICE["ReadWritePaths"])
    assert "KEY" not in SERVICE["Environment"]


def test_the_service_is_locked_down() -> None:
    assert SERVICE["ProtectSystem"] == "strict"
    assert all(SERVICE[name] == "yes" for name in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "RestrictSUIDSGID"))
    assert SERVICE["CapabilityBoundingSet"] == ""
    assert SERVICE["User"] not in ("root", "0", "nobody")


def test_systemd_reads_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for name in ("batchswap.service", "batchswap.timer"):
        text = (FOLDER / name).read_text(encoding="utf-8").replace("/opt/batchswap/bin/batchswap", sys.executable)
        (tmp_path / name).write_text(text.replace("User=batchswap", "User=daemon"), encoding="utf-8")
    env = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning"}
    command = ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    subprocess.run(["systemd-analyze", "calendar", TIMER["OnCalendar"]], check=True, capture_output=True)


def test_the_service_works_in_its_environment(tmp_path: Path) -> None:
    """No home directory, no other variables, private files: ticks until all is done."""
    work, state = tmp_path / "work", tmp_path / "state"
    work.mkdir()
    (work / "night.csv").write_text("id,video,face\na,a.mp4,face.png\n", encoding="utf-8")
    (work / "a.mp4").write_bytes(movie() + box(b"a"))
    (work / "face.png").write_bytes(picture(".png"))
    own = dict(each.split("=") for each in SERVICE["Environment"].split())
    places = {
        name: value.replace("%S", str(state)).replace("%C", str(tmp_path / "cache")) for name, value in own.items()
    }
    passed = {name: value for name, value in os.environ.items() if name.startswith(("COVERAGE", "PYTHONPATH"))}
    quick = {"BATCHSWAP_NO_SCORE": "1", "BATCHSWAP_NO_LABEL": "1", "PYTHONPATH": str(ROOT)}
    accepted = {0, *map(int, SERVICE["SuccessExitStatus"].split())}
    with serving(tmp_path / "server") as base_url:
        env = {**passed, **quick, **places, "CRUN_API_KEY": KEY, "CRUN_BASE_URL": base_url}
        for _ in range(20):
            command = [sys.executable, "-m", "batchswap", *exec_start()]
            done = subprocess.run(command, cwd=work, env=env, umask=0o077, capture_output=True, text=True, check=False)
            assert done.returncode in accepted, done.stderr
            if done.returncode == 0:
                break
    assert done.returncode == 0
    assert (work / "results" / "night" / "a.mp4").stat().st_mode & 0o077 == 0
    assert any((state / SERVICE["StateDirectory"]).iterdir())
