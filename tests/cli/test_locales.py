"""Locales other than UTF-8: file names stay UTF-8, and an impossible name is refused before anything is paid."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.chaos.shop import Shop
from tests.chaos.vendor import selling
from tests.cli.conftest import Place
from tests.processes import ROOT

ROWS = ["plain,https://c.example/1.mp4,https://c.example/f.jpg", "мир,https://c.example/2.mp4,https://c.example/f.jpg",
        "last,https://c.example/3.mp4,https://c.example/f.jpg"]  # fmt: skip
C = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture(scope="session")
def german(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return a locale whose encoding is Latin-1."""
    folder = tmp_path_factory.mktemp("locales")
    try:
        command = ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(folder / "de_DE.ISO-8859-1")]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine cannot make a locale")
    return {"LOCPATH": str(folder), "LC_ALL": "de_DE.ISO-8859-1", "LANG": "de_DE.ISO-8859-1"}


@pytest.fixture(params=["posix", "latin-1"])
def odd(request: pytest.FixtureRequest) -> dict[str, str]:
    found: dict[str, str] = C if request.param == "posix" else request.getfixturevalue("german")
    return found


@pytest.fixture
def stall(place: Place) -> Iterator[Shop]:
    with selling() as vendor:
        yield Shop(place.folder, vendor)


def start(stall: Shop, locale: dict[str, str], *arguments: str | bytes) -> "subprocess.CompletedProcess[bytes]":
    env = stall.environment()
    for name in ("PYTHONUTF8", "PYTHONIOENCODING", "LANG", "LC_ALL", "LC_CTYPE"):
        env.pop(name, None)
    env |= {"PYTHONPATH": str(ROOT), **locale}
    command = [sys.executable, "-m", "batchswap", *arguments]
    return subprocess.run(command, cwd=stall.folder, env=env, capture_output=True, check=False, timeout=60)


def test_every_row_gets_its_file_and_the_next_run_has_nothing_to_do(stall: Shop, odd: dict[str, str]) -> None:
    stall.write(*ROWS)
    done = start(stall, odd, *stall.arguments("--rate", "none"))
    assert done.returncode == 0, done.stderr
    assert set(os.listdir(os.fsencode(stall.folder / "out" / "spring"))) == {  # noqa: PTH208 - names as bytes
        b"plain.mp4", "мир.mp4".encode(), b"last.mp4"
    }  # fmt: skip
    again = start(stall, odd, *stall.arguments("--rate", "none"))
    assert (again.returncode, b"nothing to do" in again.stderr) == (0, True)
    elsewhere = start(stall, {"LC_ALL": "C.UTF-8"}, *stall.arguments("--rate", "none"))
    assert b"nothing to do" in elsewhere.stderr, "at a terminal with another locale it is the same work"


def test_inputs_are_found_by_their_utf8_names(stall: Shop, odd: dict[str, str]) -> None:
    for name in ("v.mp4", "мир.jpg"):
        (stall.folder / name).write_bytes(b"x")
    (stall.folder / "paths.csv").write_text("id,video,face\na,v.mp4,мир.jpg\n", encoding="utf-8")
    done = start(stall, odd, "check", "paths.csv")
    assert (done.returncode, done.stdout) == (0, b"paths: 1 row, no mistakes found\n"), done.stderr


def test_a_terminal_gets_its_own_encoding(stall: Shop, german: dict[str, str]) -> None:
    (stall.folder / "Gruß → мир.csv").write_text("id\n", encoding="utf-8")
    done = start(stall, german, "check", "Gruß → мир.csv")
    assert done.returncode == 2
    assert "Gruß > \\u043c\\u0438\\u0440.csv:1: ".encode("latin-1") in done.stderr


def test_names_in_the_locales_own_encoding_still_reach_their_files(stall: Shop, german: dict[str, str]) -> None:
    """In this mode, row names follow the locale's encoding. Names that it cannot encode are refused."""
    latin = "frühling.csv".encode("latin-1")
    manifest = os.fsencode(stall.folder) + b"/" + latin
    with open(manifest, "w", encoding="utf-8") as file:  # noqa: PTH123 - a name in bytes
        file.write("\n".join(["id,video,face", *ROWS, ""]))
    (stall.folder / "v.mp4").write_bytes(b"x")
    rest = [word for word in stall.arguments() if not word.endswith(".csv")]
    refused = start(stall, german, *rest, latin)
    assert (refused.returncode, b"Error" in refused.stderr) == (2, False), refused.stderr
    assert b":3: output: has letters that latin-1 file names do not" in refused.stderr
    assert stall.vendor.requests() == 0
    (stall.folder / "paths.csv").write_text("id,video,face\na,v.mp4,мир.jpg\n", encoding="utf-8")
    checked = start(stall, german, "check", "paths.csv", "--out", "Übung".encode("latin-1"))
    assert (checked.returncode, b"Error" in checked.stderr) == (2, False), checked.stderr
    assert b"has letters that latin-1 file names do not" in checked.stderr
