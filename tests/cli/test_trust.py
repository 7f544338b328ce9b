"""Invariant 12: the key goes only to a host that the command line, the environment or the user's own file names."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batchswap.cli.user_files import OWN_ONLY
from batchswap.errors import AccountRefused
from batchswap.events import LogEvent
from batchswap.operations.api_key import find_key
from batchswap.operations.user_files import LARGEST
from tests.cli.conftest import Place, call, work
from tests.cli.processes import environment
from tests.cli.quick import KEY
from tests.processes import ROOT

OWN = Path(".config/batchswap/config.yaml")


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(text)
    path.chmod(mode)
    return path


@contextmanager
def in_time(seconds: int = 20) -> Iterator[None]:
    """Let the system's alarm end a test that waits for an endless pipe."""
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


@pytest.mark.parametrize("option", OWN_ONLY)
@pytest.mark.parametrize("spelled", [str, str.upper, lambda name: name.replace("-", "_"), lambda name: f"_{name}"])
def test_invariant_12_the_working_directory_cannot_choose_the_host_for_the_key(
    shop: Place, option: str, spelled: type[str]
) -> None:
    write(Path("batchswap.yaml"), f'{spelled(option)}: "https://elsewhere.example"\n')
    for command in (("run", shop.manifest("m.csv", 1)), ("doctor",), ("balance",)):
        refused = call(*command)
        assert refused.exit_code == 2
        assert f'batchswap.yaml: "{spelled(option)}" is not taken from' in refused.stderr
        assert f"--{option}, BATCHSWAP_{option.upper().replace('-', '_')} or {Path.home() / OWN}" in refused.stderr
    assert not Path("batchswap.db").exists()


def test_nor_can_a_link_to_the_users_own_file_there(shop: Place) -> None:
    Path("batchswap.yaml").symlink_to(write(Path.home() / OWN, "provider: local\n"))
    assert call("status").exit_code == 2


def test_the_users_own_file_can_choose_the_host(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    url = os.environ["CRUN_BASE_URL"]
    monkeypatch.delenv("CRUN_BASE_URL")
    own = write(Path.home() / OWN, f"base-url: {url}\n")
    done = work(shop.manifest("m.csv", 1), "-v")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines()[0].endswith(f"the API key is for {url} ({own})")


def test_the_first_line_names_ignored_options(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    url = os.environ["CRUN_BASE_URL"]
    own = write(Path.home() / OWN, "base-url: https://own.example/?secret=1\nprovider: local\n")
    monkeypatch.setenv("BATCHSWAP_BASE_URL", url)
    monkeypatch.setenv("CRUN_BASE_URL", "https://other.example")
    done = work(shop.manifest("m.csv", 1), "-v", "--provider", "crun")
    first = done.stderr.splitlines()[0]
    assert f"the API key is for {url} (BATCHSWAP_BASE_URL)" in first
    assert f"{own} has local, which does not count" in first
    assert "CRUN_BASE_URL has https://other.example, which does not count" in first
    assert f"{own} has https://own.example/?…, which does not count" in first


def test_doctor_names_the_host_and_its_source(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    url = os.environ["CRUN_BASE_URL"]
    assert f"the API key is for {url} (CRUN_BASE_URL)" in call("doctor").stdout
    assert f"the API key is for {url} (--base-url)" in call("doctor", "--base-url", url).stdout
    monkeypatch.delenv("CRUN_BASE_URL")
    monkeypatch.delenv("CRUN_API_KEY")
    assert "the API key is for https://api.crun.ai (the default)" in call("doctor").stdout


@pytest.mark.parametrize("name", ["XDG_CONFIG_HOME", "HOME"])
def test_a_home_in_the_working_directory_is_none(shop: Place, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write(Path("batchswap/config.yaml"), "base-url: https://elsewhere.example\n")
    write(Path(".config/batchswap/config.yaml"), "base-url: https://elsewhere.example\n")
    write(Path(".crun/.env"), f"CRUN_API_KEY={KEY}\n")
    monkeypatch.setenv(name, ".")
    said = call("doctor")
    assert "elsewhere.example" not in said.stdout
    if name == "XDG_CONFIG_HOME":
        assert (said.exit_code, "XDG_CONFIG_HOME is ., which is not an absolute path" in said.stderr) == (2, True)
    monkeypatch.delenv("CRUN_API_KEY")
    monkeypatch.setenv("HOME", "")
    with pytest.raises(AccountRefused, match="there is no API key"):
        find_key()


def test_a_warning_about_a_file_is_an_event(shop: Place) -> None:
    write(Path.home() / OWN, "log-format: json\n", 0o666)
    said = call("run", shop.manifest("spring.csv", 1), "--limit", "0", "--log-format", "json")
    first = json.loads(said.stderr.splitlines()[0])
    assert (first["level"], first["event"]) == ("warning", "key-exposed")
    assert first["event"] in set(LogEvent)
    assert "other users can write" in first["message"]


def test_a_file_that_others_can_change_is_named(shop: Place) -> None:
    own = write(Path.home() / OWN, "workers: 3\n", 0o666)
    said = call("doctor")
    assert f"other users can write {own}" in said.stderr
    own.chmod(0o644)
    assert call("doctor").stderr == ""


@pytest.mark.parametrize("which", ["batchswap.yaml", "own", "key"])
def test_no_command_waits_for_a_pipe(place: Place, which: str) -> None:
    path = {"batchswap.yaml": Path(which), "own": Path.home() / OWN, "key": Path.home() / ".crun/.env"}[which]
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    with in_time():
        said = call("doctor")
    assert f"{path.name}: is not a file" in said.stderr or f"{path} is not a file" in said.stdout


@pytest.mark.parametrize("target", ["/dev/zero", "loop", "folder", "huge", "latin"])
def test_a_bad_key_file_is_refused_with_a_message(place: Place, target: str) -> None:
    path = Path.home() / ".crun/.env"
    path.parent.mkdir(parents=True)
    match target:
        case "loop":
            path.symlink_to(path)
        case "folder":
            path.mkdir()
        case "huge":
            with path.open("wb") as file:
                file.truncate(2**40)
        case "latin":
            path.write_bytes(b"CRUN_API_KEY=\xfc")
        case _:
            path.symlink_to(target)
    with in_time(), pytest.raises(AccountRefused) as refused:
        find_key()
    wrong = {"loop": "Too many levels", "huge": "larger than 64 KiB", "latin": "not UTF-8"}.get(target, "not a file")
    assert wrong in str(refused.value)


@pytest.mark.parametrize(("mode", "words"), [(0o666, "other users can write"), (0o644, "other users can read"),
                                             (0o600, "")])  # fmt: skip
def test_a_key_file_of_others_is_used_with_a_warning(tmp_path: Path, mode: int, words: str) -> None:
    (tmp_path / ".crun").mkdir(mode=0o755)
    write(tmp_path / ".crun/.env", f"CRUN_API_KEY={KEY}\n", mode)
    env = environment("http://127.0.0.1:9", tmp_path) | {"PYTHONPATH": str(ROOT)}
    del env["CRUN_API_KEY"]
    command = [sys.executable, "-m", "batchswap", "balance"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 8, done.stderr
    assert words in done.stderr
    assert ("chmod" in done.stderr) == bool(words)
    assert KEY not in done.stderr


def test_options_of_a_large_file_are_not_read(place: Place) -> None:
    Path("batchswap.yaml").write_text("workers: 3\n" + "#" * LARGEST)
    refused = call("status")
    assert (refused.exit_code, "batchswap.yaml: is larger than 64 KiB" in refused.stderr) == (2, True)


def test_deep_options_are_refused_with_a_message(place: Place) -> None:
    Path("batchswap.yaml").write_text("workers: " + "[" * 30_000)
    refused = call("status")
    assert (refused.exit_code, "bug" in refused.stderr) == (2, False)
    assert "is not valid YAML" in refused.stderr
