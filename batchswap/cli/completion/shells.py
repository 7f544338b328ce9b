"""The completion scripts of bash, zsh and fish, and the answers to them.

The scripts are next to this module. Those of click lose keys with blanks, colons, commas and wildcards, and values
after `=`. A script calls this program at each press of Tab. A line of the answer is `+` and a value, then a tab and its
description, if it has one; or `file` or `dir`, for names that the shell completes itself.
"""

import os
import re
import select
import sys
import time
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from typing import Any

import click
from click.shell_completion import CompletionItem, ShellComplete

from batchswap.cli import config
from batchswap.cli.completion.shell_words import parse, quoted

LONGEST = 2.0
"""Seconds after which the shell gets no answer: a ledger on a network share may never be read."""
_NAME = re.compile(r"--[a-z-]+=")


class Shell(ShellComplete):
    """A shell that passes the words before the cursor as arguments, and the word at the cursor as the last one."""

    def source(self) -> str:
        return files(__package__).joinpath(f"batchswap.{self.name}").read_text(encoding="utf-8")

    def get_completion_args(self) -> tuple[list[str], str]:
        return sys.argv[1:-1], sys.argv[-1]

    def complete(self) -> str:
        args, word = self.get_completion_args()
        name = found[0] if (found := _NAME.match(word)) else ""
        lines = []
        for item in self.get_completions(args, word):
            if item.type != "plain":
                lines.append(item.type)
            elif not any(unicodedata.category(each) == "Cc" for each in item.value):
                lines += self.lines_of(name, item)
        return "\n".join(lines)

    def lines_of(self, name: str, item: "CompletionItem[Any]") -> list[str]:
        """Return the line of a value. `name` is the option that is before it in the same word, such as `--batch=`."""
        return [f"+{item.value}" + (f"\t{' '.join(item.help.split())}" if item.help else "")]


class Zsh(Shell):
    name = "zsh"


class Fish(Shell):
    """fish passes the word at the cursor as it is typed, with its quotes."""

    name = "fish"

    def get_completion_args(self) -> tuple[list[str], str]:
        return sys.argv[1:-1], parse(sys.argv[-1]).word


class Bash(Shell):
    """bash passes the line up to the cursor, and the characters that divide words."""

    name = "bash"

    def get_completion_args(self) -> tuple[list[str], str]:
        self._typed = parse(*sys.argv[1:3])
        return self._typed.words[1:], self._typed.word

    def lines_of(self, name: str, item: "CompletionItem[Any]") -> list[str]:
        whole, typed = f"{name}{item.value}", self._typed
        if not whole.startswith(typed.kept):
            return []
        return [f"+{quoted(whole[len(typed.kept) :], typed.quote)}"]


SHELLS: dict[str, type[Shell]] = {each.name: each for each in (Bash, Zsh, Fish)}


def answer(root: click.Group, settings: dict[str, Any], variable: str, instruction: str) -> int:
    """Print the script of a shell, or what completes a command line. Print no errors into a command line."""
    shell, _, what = instruction.partition("_")
    if shell not in SHELLS or what not in ("source", "complete"):
        return 1
    if what == "source":
        sys.stdout.write(SHELLS[shell](root, {}, "batchswap", variable).source())
        return 0

    def find() -> str:
        with suppress(Exception):
            return SHELLS[shell](root, {"default_map": _values(root), **settings}, "batchswap", variable).complete()
        return ""

    text = _within(LONGEST, find)
    with suppress(OSError):
        sys.stdout.buffer.write(text)
        sys.stdout.flush()
    return 0


def _within(seconds: float, find: Callable[[], str]) -> bytes:
    """Return the lines that are found in time, else nothing.

    They are looked for in another process. It may hang in the kernel, where nothing can end it, while the file system
    of the ledger does not answer. It holds no stream of the shell, which would wait for it.
    """
    ours, theirs = os.pipe()
    if os.fork() == 0:
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(null, number)
            text = find()
            with os.fdopen(theirs, "wb") as pipe:
                pipe.write(f"{text}\n".encode(errors="replace") if text else b"")
        finally:
            os._exit(0)
    os.close(theirs)
    found, end = b"", time.monotonic() + seconds
    while select.select([ours], [], [], max(0.0, end - time.monotonic()))[0]:
        if not (part := os.read(ours, 65_536)):
            return found
        found += part
    return b""


def _values(root: click.Group) -> dict[str, Any]:
    """Return the values of the files, such as `db`; none if there is a mistake, which the command itself will show."""
    with suppress(Exception):
        return config.default_map(root)[0]
    return {}
