"""`batchswap guide` shows the documentation: through a pager in a terminal, as plain text elsewhere."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from batchswap.cli.topics import topics
from tests.cli.conftest import call
from tests.docs.pages import DOCS, ROOT


def test_without_a_topic_it_lists_the_topics_and_shows_the_guide() -> None:
    shown = call("guide")
    assert shown.exit_code == 0
    head, _, text = shown.stdout.partition("\n# ")
    listed = [line.split(":")[0] for line in head.splitlines() if line.startswith("- ")]
    assert listed == [f"- {path.stem}" for path in sorted(DOCS.glob("*.md"))]
    assert all(len(line) <= 80 for line in head.splitlines())
    assert text.startswith("Guide: ")


def test_a_topic_is_printed_as_it_is_written_but_without_comments() -> None:
    for path in sorted(DOCS.glob("*.md")):
        shown = call("guide", path.stem)
        wanted = re.sub(r"^<!--.*-->\n+", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert (shown.exit_code, shown.stdout, shown.stderr) == (0, wanted, "")


def test_an_unknown_topic_is_refused_with_the_topics() -> None:
    shown = call("guide", "nosuch")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert all(f"- {name}: " in shown.stderr for name in topics())


def test_a_terminal_gets_a_page() -> None:
    """A pager gets the rendered text: tables with frames, no Markdown."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PAGER": "cat", "TERM": "xterm", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "batchswap", "guide", "design"], stdin=theirs, stdout=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break  # Linux: the other side was closed
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait(30) == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
    assert "Invariants" in text
    assert "────" in text
    assert "…" not in text
    assert not re.search(r"^#+ |^\| ---|<!--", text, re.MULTILINE)


COMPLETIONS = """
eval "$(_BATCHSWAP_COMPLETE=bash_source batchswap)"
complete -p batchswap | grep -o '_batchswap_completion'
for line in "batchswap sta" "batchswap guide ref" "batchswap run --budget-" "batchswap tasks --format js"; do
    COMP_LINE=$line; COMP_POINT=${#line}
    _batchswap_completion batchswap
    echo "${COMPREPLY[@]}"
done
"""


def test_bash_completes_commands_topics_options_and_their_values(tmp_path: Path) -> None:
    program = tmp_path / "batchswap"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m batchswap "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", COMPLETIONS], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [
        "_batchswap_completion", "status", "reference", "--budget-per-day", "json", "jsonl",
    ], done.stderr  # fmt: skip
