"""Results to stdout."""

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

import msgspec


def print_json(document: Any) -> None:
    """One JSON document, and nothing else. In ASCII: so it is one on any terminal, with any file name in it."""
    print_lines([json.dumps(msgspec.to_builtins(document), indent=2)])


def print_lines(lines: Iterable[str]) -> None:
    """Lines as they come. A reader that has gone (`| head`) has had enough: that is no error."""
    if sys.stdout is None:
        return
    try:
        for line in lines:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError as error:
        # What is buffered still would be written at exit, and fail there once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise


def columns() -> int | None:
    """The terminal's width; None when stdout is no terminal, and nothing needs to be cut."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return os.get_terminal_size(sys.stdout.fileno()).columns or 80
