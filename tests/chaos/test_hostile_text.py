"""Manifest fields and the API's messages are untrusted: terminals, spreadsheets and scripts get them harmless."""

import csv
import io
import json
import os
import pty
import re
import select
import sys
import unicodedata
from pathlib import Path

import pytest

from tests.chaos.shop import Shop
from tests.chaos.vendor import Vendor
from tests.http.scripted import Act, Request
from tests.http.scripted_replies import ok, reply
from tests.ports import callback_options
from tests.processes import started

ANSI, TITLE, BIDI, MARKUP = "\x1b[31mred", "\x1b]0;owned\x07", "\u202egnp.exe", "[bold red]x[/] :boom:"
FORMULAS = ("=cmd|'/c calc'!A1", "+1+1", "-2+3", "@SUM(A1)")
WORDS = f"{ANSI} {TITLE} {BIDI} {MARKUP} \r\n\x00\x08\x9b2J \u2066isolate\u2069 \u200bwide\ufeff <b>&amp;</b>"
HARMLESS_BREAKS = "\n"
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def quoted(*cells: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(cells)
    return buffer.getvalue()


def write(shop: Shop, fields: dict[str, str], name: str = "spring.csv") -> None:
    """Write a manifest with one row for each formula, and these fields in each row."""
    lines = [quoted("id", "video", "face", *fields)]
    for i, formula in enumerate(FORMULAS):
        lines.append(quoted(formula, f"https://cdn.example/{i}.mp4", "https://cdn.example/a.jpg", *fields.values()))
    (shop.folder / name).write_text("\n".join([*lines, ""]), encoding="utf-8", newline="")


def unsafe(text: str) -> set[str]:
    """Return characters that control a terminal or change the reading direction."""
    return {c for c in text if c not in HARMLESS_BREAKS and unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs")}


def bad_words(vendor: Vendor, kind: str, request: Request) -> Act | None:
    """End every task in another way with the same message."""
    if kind == "submit" and "/0.mp4" in request.body.decode():
        return reply(json=ok(None, 422, WORDS))
    if kind == "submit" and "/1.mp4" in request.body.decode():
        return reply(500, json=ok(None, 500, WORDS))
    if kind == "poll" and "/2.mp4" in str(vendor.tasks[request.query["task_id"]]):
        info = {**(vendor.info(request.query["task_id"]) or {}), "status": "failed"}
        return reply(json=ok({**info, "result": {"code": 501, "message": WORDS}}))
    return None


@pytest.fixture
def filled(old_shop: Shop) -> Shop:
    write(old_shop, {"consent": MARKUP, "tags": f"{FORMULAS[0]};{MARKUP}", "x_note": f"<script>{MARKUP}"})
    old_shop.vendor.spoil = bad_words
    return old_shop


def commands(shop: Shop) -> list[list[str]]:
    db = ["--db", str(shop.folder / "b.db")]
    shown = [["show", *more, *db, "--", f"spring/{key}"] for key in FORMULAS for more in ([], ["--json"])]
    forms = ("table", "csv", "json", "jsonl")
    return [*shown, *(["tasks", *db, "--format", form] for form in forms), ["status", *db], ["status", *db, "--json"]]


def test_printed_text_cannot_control_a_terminal(filled: Shop) -> None:
    done = filled.run("--rate", "none", *callback_options())
    assert done.exit_code == 4, done.output
    assert not unsafe(done.output)
    reasons = [reason for (reason,) in filled.select("select reason from tasks where reason <> ''")]
    assert len(reasons) >= 3
    assert not any(unsafe(reason) for reason in reasons)
    for command in commands(filled):
        said = filled.call(*command)
        assert said.exit_code == 0, (command, said.output)
        assert not unsafe(said.output), command
    table = filled.call("tasks", "--db", str(filled.folder / "b.db")).output
    assert MARKUP in table  # unchanged, not interpreted as markup


def test_no_cell_of_an_export_is_a_formula(filled: Shop) -> None:
    filled.run("--rate", "none", *callback_options())
    text = filled.call("tasks", "--db", str(filled.folder / "b.db"), "--batch", "spring", "--format", "csv").stdout
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == len(FORMULAS) + 1
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert {row[1] for row in rows[1:]} == {f"'{key}" for key in FORMULAS}


def test_a_script_gets_the_original_fields(filled: Shop) -> None:
    filled.run("--rate", "none", *callback_options())
    text = filled.call("tasks", "--db", str(filled.folder / "b.db"), "--batch", "spring", "--format", "json").stdout
    found = json.loads(text)
    assert [row["key"] for row in found] == list(FORMULAS)
    assert {row["consent"] for row in found} == {MARKUP}


@pytest.mark.parametrize("hostile", [ANSI, TITLE, BIDI, "a\x00b", "\x9b2J", "\u2066x\u2069", "../../etc/x", "x" * 5000])
@pytest.mark.parametrize("field", ["id", "consent", "tags", "output", "x_note"])
def test_hostile_fields_are_refused_or_shown_harmless(shop: Shop, field: str, hostile: str) -> None:
    """Nothing is sent for a refused manifest, and an accepted one writes only below --out."""
    given = {"id": "r0", "video": "https://cdn.example/0.mp4", "face": "https://cdn.example/a.jpg", field: hostile}
    text = f"{quoted(*given)}\n{quoted(*given.values())}\n"
    (shop.folder / "spring.csv").write_text(text, encoding="utf-8", newline="")
    done = shop.run("--rate", "none", "--limit", "0")
    assert done.exit_code in (0, 2), done.output
    assert not unsafe(done.output)
    assert shop.vendor.requests() == 0
    if done.exit_code == 0:
        db = ["--db", str(shop.folder / "b.db")]
        listed = [shop.call("tasks", *db, "--format", form) for form in ("table", "csv", "json", "jsonl")]
        assert not [said.output for said in listed if said.exit_code or unsafe(said.output)]
        [(output,)] = shop.select("select output from tasks")
        assert (shop.folder / "out" / output).resolve().is_relative_to((shop.folder / "out").resolve())


def test_the_live_display_interprets_no_markup_and_no_escapes(filled: Shop) -> None:
    """On a real terminal, with a batch whose name looks like markup."""
    seen = on_terminal(filled, "--rate", "none", "--batch", "[red]b[/]", *callback_options())
    assert re.search(r"\[red\]b\[/\]\s+[━╸╺]", COLOURS.sub("", seen))  # next to the bar, unchanged
    for words in (ANSI, TITLE, BIDI, "\x9b", "\u2066", "\x00", "\x08"):
        assert words not in seen


def on_terminal(shop: Shop, *options: str) -> str:
    """Return the output of a run on a terminal."""
    ours, theirs = pty.openpty()
    environment = {**shop.environment(), "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"}
    command = [sys.executable, "-m", "batchswap", *shop.arguments(*options)]
    seen = b""
    with started(command, cwd=shop.folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as run:
        os.close(theirs)
        while select.select([ours], [], [], 30)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        run.wait(30)
    os.close(ours)
    assert run.returncode in (0, 3, 4), seen
    return seen.decode("utf-8", "replace")


def test_a_manifest_with_a_hostile_name(shop: Shop) -> None:
    name = f"{ANSI}{BIDI}.csv"
    write(shop, {}, name)
    done = shop.call(*shop.arguments("--limit", "0", manifest=name))
    assert not unsafe(done.output)
    assert not [path for path in Path(shop.folder / "out").rglob("*") if unsafe(path.name)]
