"""The Containerfile, held to the code: its packages, extras, commands, places and signals are those that exist."""

import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from fnmatch import fnmatch
from pathlib import Path

import pytest

from batchswap.cli.main import root
from batchswap.local.engine.requirements import DEBIAN
from batchswap.runner.signals import _ENDS
from batchswap.state_folder import state_folder
from tests.completion.shells import ledger, put
from tests.packages.archives import ROOT

TEXT = (ROOT / "manifests" / "container" / "Containerfile").read_text(encoding="utf-8")
LINES = re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
INSTRUCTIONS = [(name, words) for line in LINES if line for name, words in [line.split(maxsplit=1)]]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def all_of(name: str) -> list[str]:
    return [words for each, words in INSTRUCTIONS if each == name]


def last(name: str) -> str:
    """Return the words of the last instruction of this name, which is that of the image."""
    return all_of(name)[-1]


def environment() -> dict[str, str]:
    return dict(each.split("=", 1) for each in shlex.split(last("ENV")))


def test_the_base_has_a_version_and_a_registry() -> None:
    versions = dict(each.split("=", 1) for each in all_of("ARG"))
    bases = {words.split()[0].replace("${PYTHON}", versions["PYTHON"]) for words in all_of("FROM")}
    assert len(all_of("FROM")) == 2
    python = re.fullmatch(r"docker\.io/library/python:(3\.\d+)-slim", " ".join(bases))
    assert python is not None, bases
    assert f"Programming Language :: Python :: {python[1]}" in PROJECT["classifiers"]


def test_the_packages_are_those_that_the_engine_names() -> None:
    installed = re.search(r"--no-install-recommends ([^&]+)&&", " ".join(all_of("RUN")))
    assert installed is not None
    assert installed[1].split() == [*dict.fromkeys(DEBIAN.values())]


def test_the_extras_exist() -> None:
    extras = dict(each.split("=", 1) for each in all_of("ARG"))["EXTRAS"].split(",")
    assert (
        {"local", "report", "provenance", "notify", "metrics"} <= set(extras) <= set(PROJECT["optional-dependencies"])
    )


@pytest.mark.parametrize(("extras", "wanted"), [("", "."), ("report,notify", ".[report,notify]")])
def test_the_extras_can_be_chosen_or_left_out(extras: str, wanted: str) -> None:
    install = next(words for words in all_of("RUN") if "pip install" in words)
    word = install.rpartition(" ")[2]
    done = subprocess.run(
        ["sh", "-c", f"echo {word}"], env={"EXTRAS": extras}, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{wanted}\n"


def test_the_user_is_a_number_and_owns_the_data_only() -> None:
    user, _, group = last("USER").partition(":")
    assert int(user) > 999
    assert int(group) > 999
    assert INSTRUCTIONS.index(("USER", last("USER"))) < INSTRUCTIONS.index(("ENTRYPOINT", last("ENTRYPOINT")))
    assert f"chown {last('USER')} /data" in " ".join(all_of("RUN"))
    assert "--chown" not in TEXT


def test_everything_that_lasts_is_on_the_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    assert last("VOLUME") == last("WORKDIR") == environment()["HOME"]
    monkeypatch.setenv("XDG_STATE_HOME", environment()["XDG_STATE_HOME"])
    assert state_folder().is_relative_to(last("VOLUME"))
    assert not Path(environment()["XDG_CACHE_HOME"]).is_relative_to(last("VOLUME"))


def test_the_program_is_the_one_of_the_package_and_gets_a_signal_that_it_handles() -> None:
    assert last("ENTRYPOINT") == '["batchswap"]'
    assert "batchswap" in PROJECT["scripts"]
    assert environment()["PATH"].startswith("/opt/batchswap/bin:")
    assert signal.Signals[last("STOPSIGNAL")] in _ENDS


def test_no_secret_is_in_the_image() -> None:
    assert not [
        words for name in ("ENV", "ARG", "LABEL", "RUN") for words in all_of(name) if re.search("KEY|ak_", words)
    ]


@pytest.mark.parametrize("command", re.findall(r"^#.* batchswap \\\n# +(.*)$", TEXT, re.MULTILINE))
def test_the_examples_are_command_lines_of_batchswap(command: str) -> None:
    name, *words = command.split()
    root.commands[name].make_context(name, words)


def test_what_is_copied_is_sent_and_nothing_else() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in rules if line and not line.startswith("#")]
    copied = {word for words in all_of("COPY") if "--from" not in words for word in words.split()[:-1]}
    assert rules[0] == "*"
    assert {line.removeprefix("!") for line in rules if line.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)
    assert any(fnmatch("__pycache__", line.removeprefix("**/")) for line in rules[1:])


def health(folder: Path) -> int:
    """Run the HEALTHCHECK for real and return its exit code."""
    command = re.search(r'CMD \["sh", "-c", ("(?:[^"\\]|\\.)*")\]', last("HEALTHCHECK"))
    assert command is not None
    script = command[1][1:-1].replace('\\"', '"')
    program = folder / "bin" / "batchswap"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m batchswap "$@"\n')
    program.chmod(0o755)
    passed = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE")}
    env = {**passed, "PATH": f"{program.parent}:/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", script], cwd=folder, env=env, capture_output=True, check=False)
    assert done.stdout == b""
    return done.returncode


def test_a_container_is_unhealthy_when_its_ledger_cannot_be_read(tmp_path: Path) -> None:
    assert health(tmp_path) == 0, "there is no ledger yet"
    path = tmp_path / "batchswap.db"
    path.touch()
    assert health(tmp_path) == 0, "the ledger is being created"
    path.unlink()
    ledger(path, night=["a", "b"])
    put(path, "a", "failed")
    with closing(sqlite3.connect(path)) as db:
        db.execute("begin immediate")
        assert health(tmp_path) == 0, "a run is writing, and a task has failed"
    path.write_bytes(b"x" * 5000)
    assert health(tmp_path) == 1
