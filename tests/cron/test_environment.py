"""The environment of cron: few variables, perhaps no home directory, and any umask."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from tests.cron.conftest import QUICK, Desk

RUN = ("run", "spring.csv", *QUICK)
ABSOLUTE = "set XDG_STATE_HOME to an absolute path"


@pytest.fixture
def stranger(tmp_path: Path) -> tuple[str, ...]:
    """Return the program that starts another one as a user without an entry in the list of users."""
    if os.getuid():
        pytest.skip("only root can become another user")
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and folder.is_relative_to(tempfile.gettempdir()):
            folder.chmod(folder.stat().st_mode | 0o055)
    (tmp_path / "work").chmod(0o777)
    # The package may be in a private folder, which this user may read.
    reads = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    return ("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", *reads)


def test_a_run_needs_nothing_but_a_home_and_a_key(desk: Desk) -> None:
    done = desk.finish(*RUN, SHELL=None, LOGNAME=None)
    assert (done.returncode, "done: 2 done" in done.stderr) == (0, True), done.stderr
    assert (desk.home / ".local/state/batchswap").is_dir()


def test_without_a_home_the_state_folder_may_be_named(desk: Desk, stranger: tuple[str, ...]) -> None:
    state = desk.folder.parent / "state"
    state.mkdir()
    state.chmod(0o777)
    done = desk.finish(*RUN, before=stranger, HOME=None, XDG_STATE_HOME=str(state))
    assert (done.returncode, "done: 2 done" in done.stderr) == (0, True), done.stderr
    assert "home" not in done.stderr
    assert list(state.glob("batchswap/window-*.db"))
    status = desk.finish("status", before=stranger, HOME=None)
    assert (status.returncode, status.stderr) == (0, "")


@pytest.mark.parametrize("home", [None, "", "rel"])
def test_without_a_home_a_run_says_what_to_set_before_it_writes(
    desk: Desk, stranger: tuple[str, ...], home: str | None
) -> None:
    refused = desk.finish(*RUN, before=stranger, HOME=home)
    assert refused.returncode == 2
    assert ABSOLUTE in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not list(desk.folder.glob("batchswap.db*")), "nothing was enrolled"
    found = desk.finish("doctor", before=stranger, HOME=home)
    assert "BAD  state: " in found.stdout
    assert ABSOLUTE in found.stdout
    keyless = desk.finish("balance", before=stranger, HOME=home, CRUN_API_KEY=None)
    assert keyless.stderr == (
        "batchswap: there is no API key: set CRUN_API_KEY (there is no home directory, and so no ~/.crun/.env)\n"
    )


@pytest.mark.parametrize("home", ["/nonexistent", "/proc/nothing", "/dev/null"])
def test_a_home_that_cannot_be_written_is_named_before_anything_is_written(desk: Desk, home: str) -> None:
    if home == "/nonexistent":
        home = str(desk.folder / "spring.csv" / "home")  # root could create /nonexistent
    refused = desk.finish(*RUN, HOME=home)
    assert refused.returncode == 2
    assert f"{home}/.local/state/batchswap: cannot write there" in refused.stderr
    assert "set XDG_STATE_HOME to a folder that you can write to" in refused.stderr
    assert not list(desk.folder.glob("batchswap.db*"))


def test_an_empty_home_is_the_one_of_the_list_of_users(desk: Desk) -> None:
    state = desk.folder.parent / "state"
    done = desk.finish("doctor", "--json", HOME="", XDG_STATE_HOME=str(state), CRUN_API_KEY="ak_x")
    assert "/.crun" not in done.stderr
    found = desk.shell(
        [*desk.command()[:1], "-c", "from batchswap.state_folder import *; print(state_folder())"], HOME=""
    )
    assert not found.stdout.startswith("/.local"), "an empty HOME is not the root folder"


def test_a_run_with_another_home_says_that_the_runs_share_nothing(desk: Desk) -> None:
    assert desk.finish(*RUN).returncode == 0
    desk.manifest(3)
    done = desk.finish(*RUN, XDG_STATE_HOME=str(desk.folder.parent / "elsewhere"))
    assert done.returncode == 0
    assert "a run with another HOME or XDG_STATE_HOME has its own; such runs do not share the rate limit" in done.stderr


def test_files_for_a_moment_need_no_tmpdir(desk: Desk) -> None:
    done = desk.finish(*RUN, TMPDIR="/nonexistent")
    assert done.returncode == 0, done.stderr


def test_the_report_needs_no_home(desk: Desk) -> None:
    assert desk.finish(*RUN).returncode == 0
    done = desk.finish("report", HOME="/nonexistent", XDG_CACHE_HOME="/dev/null/x", XDG_CONFIG_HOME="/dev/null")
    assert (done.returncode, done.stderr) == (0, "report.html: Everything is done\n"), (
        "matplotlib reports nothing about its cache"
    )


def modes(folder: Path) -> dict[str, int]:
    return {str(each.relative_to(folder)): stat.S_IMODE(each.lstat().st_mode) for each in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_results_follow_the_umask_and_secrets_are_their_owners_alone(desk: Desk, umask: int) -> None:
    for video in desk.folder.glob("*.mp4"):
        video.unlink()
    desk.manifest(2, f"{umask:o}")
    before = {path.name for path in desk.folder.iterdir()}
    script = f'umask {umask:o}; b="{" ".join(desk.command())}"; $b {" ".join(RUN)} --report rep/ && $b backup copy.db'
    done = desk.shell(["sh", "-c", script + " && $b sign init keys"])
    assert done.returncode == 0, done.stderr
    masked = umask & 0o077
    found = {name: mode for name, mode in modes(desk.folder).items() if name.split("/")[0] not in before}
    for name, mode in found.items():
        if name.startswith("results"):
            expected = (0o777 if (desk.folder / name).is_dir() else 0o666) & ~masked
        elif name in ("keys/chain.pem", "keys/root.pem"):
            expected = 0o644 & ~masked
        else:
            expected = 0o700 if (desk.folder / name).is_dir() else 0o600
        assert oct(mode) == oct(expected), name
    assert {"results/spring/r0.mp4", "copy.db", "batchswap.db", "keys/key.pem", "rep/index.html"} <= set(found)
    for name, mode in modes(desk.home).items():
        if name.startswith(".local"):
            assert oct(mode) == oct(0o700 if (desk.home / name).is_dir() else 0o600), name


@pytest.mark.parametrize("words", ["--help", "--version", "run --help", "status", "guide"])
def test_a_full_disk_behind_stdout_is_one_line_and_exit_code_1(desk: Desk, words: str) -> None:
    if words == "status":
        assert desk.finish(*RUN).returncode == 0
    done = desk.shell(["sh", "-c", f"{' '.join(desk.command())} {words} > /dev/full"])
    assert (done.returncode, done.stderr) == (1, "batchswap: No space left on device\n")
