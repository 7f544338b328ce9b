"""Names that are not UTF-8 are refused with a message, because the ledger and JSON cannot hold them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from batchswap.cli.console import print_json
from tests.cli.conftest import Place, call

NO_TEXT = os.fsdecode(b"b\xff")


@pytest.mark.parametrize(
    "words",
    [
        ("check", f"{NO_TEXT}.csv"),
        ("run", f"{NO_TEXT}.csv", "--json"),
        ("run", "ok.csv", "--batch", NO_TEXT),
        ("run", "ok.csv", "--filter", NO_TEXT, "--limit", "0"),
        ("status", "--db", f"{NO_TEXT}.db", "--json"),
        ("show", NO_TEXT),
        ("tasks", "--batch", NO_TEXT),
        ("retry", "--code", NO_TEXT),
        ("faces", f"{NO_TEXT}.mp4"),
        (NO_TEXT,),
    ],
)
def test_an_argument_that_is_not_text_is_refused_with_a_message(shop: Place, words: tuple[str, ...]) -> None:
    Path(shop.manifest("ok.csv", 1)).rename(f"{NO_TEXT}.csv")
    shop.manifest("ok.csv", 1)
    refused = call(*words)
    assert (refused.exit_code, "bug" in refused.stderr) == (2, False)
    assert "b\\xff" in refused.stderr
    assert "is not UTF-8" in refused.stderr


def test_a_variable_that_is_not_text_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHSWAP_BATCH", NO_TEXT)
    refused = call("check", place.manifest("ok.csv", 1))
    assert refused.exit_code == 2
    assert '"b\\xff" is not UTF-8 (from BATCHSWAP_BATCH)' in " ".join(refused.stderr.split())


@pytest.mark.parametrize("command", ["check", "plan", "run"])
def test_a_folder_whose_name_is_not_text_is_named(shop: Place, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    Path(NO_TEXT).mkdir()
    monkeypatch.chdir(NO_TEXT)
    Path("urls.csv").write_text("id,video,face\na,https://cdn.example/a.mp4,https://cdn.example/f.png\n")
    refused = call(command, "urls.csv")
    assert (refused.exit_code, list(Path().iterdir())) == (2, [Path("urls.csv")])
    assert "the folder " in refused.stderr
    assert "b\\xff" in refused.stderr


@pytest.mark.parametrize("name", [NO_TEXT, "Fräulein 日本"])
def test_a_document_with_any_name_is_json(capsys: pytest.CaptureFixture[str], name: str) -> None:
    document: dict[str, Any] = {"reason": name}
    print_json(document)
    said = capsys.readouterr().out
    assert said.isascii()
    assert json.loads(said) == document
