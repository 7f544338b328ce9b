"""--json and --log-format json apply to every end of a command, even if its command line is wrong."""

import json
from pathlib import Path

import pytest

from batchswap.ledger.file.lock import hold
from tests.cli.conftest import Place, call

WRONG = [
    ("run", "m.csv", "--rate", "foo"),
    ("run", "m.csv", "--nosuch"),
    ("run", "m.csv", "--rate"),
    ("run",),
    ("show",),
    ("check", "m.csv", "--format", "xml"),
    ("nosuch",),
]
"""Command lines that click itself refuses, each in a different way."""


@pytest.mark.parametrize("words", WRONG)
def test_a_command_line_with_an_error_is_one_document(place: Place, words: tuple[str, ...]) -> None:
    said = call(words[0], "--json", *words[1:]) if len(words) > 1 else call(*words, "--json")
    document = json.loads(said.stdout)
    assert (said.exit_code, document["exit_code"]) == (2, 2)
    assert document["reason"]
    assert document["reason"] in said.stderr


@pytest.mark.parametrize("words", WRONG[:4])
@pytest.mark.parametrize("elsewhere", ["environment", "file"])
def test_a_variable_or_a_file_can_request_a_document(
    place: Place, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], elsewhere: str
) -> None:
    if elsewhere == "file":
        Path("batchswap.yaml").write_text("json: true\nlog-format: json\n")
    else:
        monkeypatch.setenv("BATCHSWAP_JSON", "1")
        monkeypatch.setenv("BATCHSWAP_LOG_FORMAT", "json")
    said = call(*words)
    assert json.loads(said.stdout)["exit_code"] == 2
    assert [json.loads(line)["level"] for line in said.stderr.splitlines()] == ["error"]


@pytest.mark.parametrize("form", [["--log-format", "json"], ["--log-format=json"]])
@pytest.mark.parametrize("words", WRONG[:4])
def test_an_error_of_the_command_line_has_the_format_of_the_log(
    place: Place, words: tuple[str, ...], form: list[str]
) -> None:
    said = call(words[0], *form, *words[1:])
    assert (said.exit_code, said.stdout) == (2, "")
    assert [json.loads(line)["level"] for line in said.stderr.splitlines()] == ["error"]


def test_an_error_in_a_file_is_a_document(place: Place) -> None:
    Path("batchswap.yaml").write_text("- a\n")
    assert json.loads(call("status", "--json").stdout)["exit_code"] == 2


def test_a_run_that_is_skipped_is_a_document(shop: Place) -> None:
    with hold(Path("batchswap.db"), wait=False):
        said = call("run", shop.manifest("spring.csv", 1), "--json", "--if-running", "skip")
    assert said.exit_code == 0
    assert json.loads(said.stdout) == {"exit_code": 0, "reason": "skipped: another run is using batchswap.db"}


def test_without_json_a_usage_error_is_text(place: Place) -> None:
    said = call("run", "m.csv", "--rate", "foo")
    assert said.stdout == ""
    assert said.stderr.startswith("Usage: batchswap run ")
    assert call("check", "--", "--json").stdout == ""
