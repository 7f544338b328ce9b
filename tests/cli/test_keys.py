"""The sources of the API key, which no message repeats."""

from pathlib import Path

import pytest

from batchswap.errors import AccountRefused
from batchswap.operations.api_key import find_key, parse_env
from tests.cli.conftest import Place

GOOD = "ak_" + "0aZ_-" * 6 + "9z"


@pytest.mark.parametrize(
    "line",
    [
        f"CRUN_API_KEY={GOOD}",
        f"export CRUN_API_KEY={GOOD}",
        f"  CRUN_API_KEY = '{GOOD}'  # mine",
        f'CRUN_API_KEY="{GOOD}"',
        f"CRUN_API_KEY={GOOD}   # a comment",
        f"# CRUN_API_KEY=ak_old\nCRUN_API_KEY=ak_older\nOTHER=1\nCRUN_API_KEY={GOOD}\r\n",
    ],
)
def test_valid_lines_of_the_file(line: str) -> None:
    assert parse_env(line) == GOOD


@pytest.mark.parametrize("text", ["", "OTHER=1", "# CRUN_API_KEY=ak_x", "MY_CRUN_API_KEY=ak_x"])
def test_invalid_lines_of_the_file(text: str) -> None:
    assert parse_env(text) is None


def write(text: str | bytes) -> None:
    path = Path.home() / ".crun/.env"
    path.parent.mkdir(parents=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_the_environment_takes_precedence_over_the_file(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write(f"CRUN_API_KEY={GOOD}\n")
    assert (find_key().text, find_key().place.endswith(".crun/.env")) == (GOOD, True)
    other = GOOD[::-1][3:].rjust(35, "x").replace("xxx", "ak_", 1)
    monkeypatch.setenv("CRUN_API_KEY", other)
    assert find_key().text == other
    assert other not in repr(find_key())


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("ak_kurz", "4 characters after ak_"),
        (GOOD + "x", "33 characters after ak_"),
        ("sk_" + "x" * 32, "does not begin with ak_"),
        ("ak_" + "ü" * 32, "a blank or another invalid character"),
        ("ak_" + " " * 30 + "xx", "it has a blank"),
    ],
)
def test_a_malformed_key(place: Place, monkeypatch: pytest.MonkeyPatch, key: str, wrong: str) -> None:
    monkeypatch.setenv("CRUN_API_KEY", key)
    with pytest.raises(AccountRefused, match=wrong) as found:
        find_key()
    assert key[3:] not in str(found.value)


def test_another_provider_may_have_other_keys(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUN_API_KEY", "secret")
    assert find_key(strict=False).text == "secret"
    monkeypatch.setenv("CRUN_API_KEY", "two words")
    with pytest.raises(AccountRefused):
        find_key(strict=False)


def test_a_file_that_cannot_be_read(place: Place) -> None:
    write(b"CRUN_API_KEY=\xff\n")
    with pytest.raises(AccountRefused, match="not UTF-8"):
        find_key()


def test_no_key_at_all(place: Place) -> None:
    with pytest.raises(AccountRefused, match="there is no API key: set CRUN_API_KEY"):
        find_key()
