"""The man pages, by click-man, which writes options and paragraphs for a reader but not yet for `man`.

click-man leaves backslashes, `\\b` and lines that begin with a period as they are, cuts the first sentence of the root
command, and lists options without the headings of `--help`. This module corrects that.
"""

import re
import textwrap
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import click
from click_man.man import ManPage

from batchswap import __version__
from batchswap.cli.command import HEADINGS, SHORT
from batchswap.cli.main import SETTINGS, root

DOCS = Path(__file__).parents[2] / "batchswap" / "docs"
NAME = "batchswap"


def pages(date: str) -> dict[str, str]:
    """Return the text of each page by its file name. `date`: of the version, as YYYY-MM-DD."""
    above = click.Context(root, info_name=NAME, **SETTINGS)
    contexts = [above]
    contexts += [
        click.Context(command, info_name=name, parent=above)
        for name, command in root.commands.items()
        if not command.hidden
    ]
    return {f"{_dashed(ctx)}.1": _page(ctx, date) for ctx in contexts}


def _page(ctx: click.Context, date: str) -> str:
    page = ManPage(ctx.command_path)
    page.version, page.date = f"{NAME} {__version__}", date
    page.short_help = _escaped(ctx.command.short_help or "batch face swaps against a slow, rate-limited, paid API")
    page.synopsis = " ".join(ctx.command.collect_usage_pieces(ctx))
    head = str(page).replace(f'"{ctx.command_path.upper()}"', f'"{_dashed(ctx).upper()}"', 1)
    head = head.replace("\n", "\n.nh\n.ad l\n", 1)  # words that can be typed are not divided
    parts = [head.rstrip(), ".SH DESCRIPTION", *_text(ctx.command.help or ""), ".SH OPTIONS", *_options(ctx)]
    if isinstance(ctx.command, click.Group):
        parts += [".SH COMMANDS", *_commands(ctx.command), ".SH EXIT STATUS", *_exit_codes()]
        parts += [".SH ENVIRONMENT AND FILES", *_text(ctx.command.epilog or ""), ".SH SEE ALSO"]
        parts += [", ".join(f"\\fB{NAME}\\-{name}\\fP(1)" for name in ctx.command.commands)]
    else:
        parts += [".SH SEE ALSO", f"\\fB{NAME}\\fP(1), \\fB{NAME} guide\\fP"]
    return "\n".join([*parts, ""])


def _dashed(ctx: click.Context) -> str:
    return ctx.command_path.replace(" ", "-")


def _options(ctx: click.Context) -> Iterator[str]:
    """Yield the options under the headings that `--help` has."""
    listed = [each for each in ctx.command.get_params(ctx) if isinstance(each, click.Option)]
    rows = [(getattr(each, "heading", HEADINGS[-1]), *row) for each in listed if (row := each.get_help_record(ctx))]
    rows.sort(key=_place_of)
    for heading, some in groupby(rows, _heading_of):
        if len(rows) > SHORT:
            yield f".SS {heading}"
        for _, spelled, words in some:
            yield from (".TP", re.sub(r"(?<![\w-])(-[-\w]+)", _bold, spelled), *_text(words))


def _place_of(row: tuple[str, str, str]) -> int:
    return HEADINGS.index(row[0])


def _heading_of(row: tuple[str, str, str]) -> str:
    return row[0]


def _bold(found: re.Match[str]) -> str:
    return f"\\fB{_escaped(found[0])}\\fP"


def _commands(group: click.Group) -> Iterator[str]:
    for name, command in group.commands.items():
        if not command.hidden:
            yield from (".TP", f"\\fB{NAME}\\-{name}\\fP(1)", *_text(command.short_help or ""))


def _exit_codes() -> Iterator[str]:
    """Yield the table of the reference, which a test holds to the code."""
    text = (DOCS / "reference.md").read_text(encoding="utf-8").partition("\n## Exit codes\n")[2].partition("\n## ")[0]
    for code, meaning in re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE):
        yield from (".TP", f"\\fB{code}\\fP", *_text(meaning.replace("`", "")))


def _text(words: str) -> Iterator[str]:
    """Yield paragraphs as man has them. One that begins with `\\b` keeps its lines."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", textwrap.dedent(_undented(words)).strip("\n"))):
        if number:
            yield ".PP"
        if paragraph.lstrip(" ").startswith("\b\n"):
            lines = textwrap.dedent(paragraph.partition("\n")[2]).splitlines()
            yield from (".RS 4", ".nf", *map(_escaped, lines), ".fi", ".RE")
        else:
            yield from map(_escaped, textwrap.wrap(" ".join(paragraph.split()), 68, break_on_hyphens=False))


def _undented(words: str) -> str:
    """Return a docstring with its first line indented as the others are."""
    first, newline, rest = words.partition("\n")
    return first.lstrip() + newline + textwrap.dedent(rest)


def _escaped(line: str) -> str:
    """Return a line such that `man` shows it as it is: hyphens can be copied, and no word is a request."""
    found = line.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{found}" if found.startswith((".", "'")) else found
