"""Completion in real shells: typed text, a press of Tab, and the arguments that the command then gets."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.completion.shells import INSTALL, PRESENT, ROOT, Terminal, ledger, terminal

KEYS = ["intro", "a b", "c:d:e", "it's", 'say "hi"', "$HOME-x", "straße", "p,q", "x!y", "`tick`", "fin'", "-dash"]
HOSTILE = {
    "a": "a b", "c": "c:d:e", "sa": 'say "hi"', "\\$": "$HOME-x", "st": "straße", "p": "p,q",
    "x": "x!y", "\\`": "`tick`",
}  # fmt: skip
"""Keys, by the text that is typed for them. test_answers.py has all other characters."""


@pytest.fixture(scope="module", params=[*INSTALL])
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    if request.param not in PRESENT:
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    ledger(folder / "batchswap.db", **{"spring night": KEYS, "summer": ["zz"]})
    (folder / "rows of june.csv").write_text("id,video,face\n", encoding="utf-8")
    with terminal(request.param, folder) as found:
        yield found


def test_bash_is_always_tested() -> None:
    assert "bash" in PRESENT
    assert shutil.which("bash")


def test_keys_are_completed_whatever_is_in_them(shell: Terminal) -> None:
    typed = "".join(f"{start}\t" for start in HOSTILE)
    assert shell.typed(f"batchswap cancel {typed}") == ["cancel", *HOSTILE.values()]


@pytest.mark.parametrize("shell", ["bash"], indirect=True)
@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("show 'a\t", ["show", "a b"]),
        ('show "a\t', ["show", "a b"]),
        ("show a\\ \t", ["show", "a b"]),
        ("show c:\t", ["show", "c:d:e"]),
        ("show 'c:d\t", ["show", "c:d:e"]),
        ('show "x\t', ["show", "x!y"]),
        ("show it\\'\t", ["show", "it's"]),
        ('show "it\t', ["show", "it's"]),
        ('show "fin\t', ["show", "fin'"]),
        ('show "say\t', ["show", 'say "hi"']),
    ],
)
def test_a_word_with_quotes_is_completed(shell: Terminal, typed: str, wanted: list[str]) -> None:
    """bash inserts what it gets as it is; the other shells quote it themselves."""
    assert shell.typed(f"batchswap {typed}") == wanted


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("show 'a\t", ["show", "a b"]),
        ("show c:\t", ["show", "c:d:e"]),
        ("show -- -\t", ["show", "--", "-dash"]),
        ("show spring\\ night/in\t", ["show", "spring night/intro"]),
        ("tasks --batch sp\t", ["tasks", "--batch", "spring night"]),
        ("tasks --batch=sp\t", ["tasks", "--batch=spring night"]),
        ("tasks --sta\tfai\t", ["tasks", "--state", "failed"]),
        ("show --db=batchs\tintr\t", ["show", "--db=batchswap.db", "intro"]),
        ("run rows\t--budget-\t5", ["run", "rows of june.csv", "--budget-per-day", "5"]),
        ("guide ref\t", ["guide", "reference"]),
    ],
)
def test_a_line_is_completed(shell: Terminal, typed: str, wanted: list[str]) -> None:
    assert shell.typed(f"batchswap {typed}") == wanted


@pytest.mark.parametrize("program", ["~/bin/batchswap", "cd . ; bin/batchswap"])
def test_the_program_is_called_in_another_way(shell: Terminal, program: str) -> None:
    assert shell.typed(f"{program} show intr\t") == ["show", "intro"]


def test_several_candidates_are_completed_as_far_as_they_agree(shell: Terminal) -> None:
    ledger(shell.folder / "two.db", night=["clip one", "clip two"])
    assert shell.typed("batchswap show --db two.db c\ttw\t") == ["show", "--db", "two.db", "clip two"]


def test_nothing_disturbs_the_line_without_a_usable_ledger(shell: Terminal) -> None:
    (shell.folder / "broken.db").write_bytes(b"SQLite format 3\0" + bytes(200))
    assert shell.typed("batchswap show --db broken.db x\t") == ["show", "--db", "broken.db", "x"]
    assert shell.typed("batchswap show --db missing.db x\t") == ["show", "--db", "missing.db", "x"]
    assert not (shell.folder / "missing.db").exists()


def test_a_folder_is_completed_for_a_folder(shell: Terminal) -> None:
    (shell.folder / "outbox").mkdir(exist_ok=True)
    (shell.folder / "outline.txt").touch()
    assert shell.typed("batchswap status --out outb\t")[2].rstrip("/") == "outbox"
    assert shell.typed("batchswap status --out=outb\t")[1].rstrip("/") == "--out=outbox"


def test_zsh_loads_the_script_from_its_path_of_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "zsh" not in PRESENT:
        pytest.skip("zsh is not installed")
    (tmp_path / "functions").mkdir()
    shutil.copy(ROOT / "batchswap/cli/completion/batchswap.zsh", tmp_path / "functions" / "_batchswap")
    install = f"fpath=({tmp_path}/functions $fpath); autoload -Uz compinit; compinit -D -u"
    monkeypatch.setitem(INSTALL, "zsh", (INSTALL["zsh"][0], install))
    ledger(tmp_path / "batchswap.db", night=["intro"])
    with terminal("zsh", tmp_path) as found:
        for _ in range(3):
            assert found.typed("batchswap sho\tin\t") == ["show", "intro"]
