"""The tables of the documentation that are made from the code: `<!-- table: NAME -->` to `<!-- end: -->` in a page."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import click

from batchswap.cli.command import HEADINGS, SHORT
from batchswap.cli.main import root
from batchswap.events import LogEvent
from batchswap.metrics.definitions import METRICS
from batchswap.states import ATTEMPT_MOVES, BY_PERSON, MOVES
from tests.docs.pages import COMMENT, Page
from tests.test_layers import LAYERS

EXAMPLES = {
    "--ahead": "32", "--balance": "500", "--base-url": "https://api.crunai.com", "--batch": "spring", "--budget": "500",
    "--budget-per-day": "2000", "--callback-listen": "127.0.0.1:8080",
    "--callback-url": "https://hooks.example.com/batchswap", "--code": "501",
    "--consent": "release-114", "--consent-register": "releases.csv", "--db": "spring.db", "--downloads": "8",
    "--duplicates": "reuse", "--faces-folder": "casting", "--fault": "429:0.1", "--fetch": "200MB", "--filter": "hero",
    "--folder": "rehearsal", "--format": "csv", "faces --format": "yaml", "--from": "tasks.csv", "--host": "::1",
    "--if-running": "skip", "--in-flight": "40", "--kind": "image", "--limit": "10", "--log-format": "json",
    "--max-duration": "6h", "--max-upload": "2GB", "--metrics-file": "batchswap.prom",
    "--min-free": "20GB", "--name-template": "{key}{ext}",
    "--note": "wrong-person", "--notify": "ntfy://example-topic", "--notify-on": "always",
    "--ping-url": "https://hc-ping.com/5f0c6b0e-9a5d-4c0f-8a3e-2b1d7c6f5e4d",
    "--webhook-url": "https://hooks.example.com/batchswap",
    "--out": "/srv/spring/results", "--output": "night.html", "--paid-attempts": "2",
    "--patience": "30m", "--pictures": "all", "--plot": "last-night.svg", "--port": "8080", "--provider": "local",
    "--proxy": "env",
    "--report": "night.html",
    "--quality": "partly", "--rate": "60/1m", "--name": "Example", "--sign": "keys",
    "--timestamp-url": "https://stamps.example.com", "--retries": "5", "--review": "rejected",
    "--root": "keys/root.pem", "--visible-label": "AI-generated",
    "--run": "all",
    "--same-refusals": "5", "--seed": "7", "--state": "failed", "--tag": "hero",
    "--task-id": "5f0c6b0e9a5d4c0f8a3e2b1d7c6f5e4d",
    "--task-timeout": "90m", "--until": "07:00", "--upload-ttl": "12h", "--workers": "32",
}  # fmt: skip
"""An example for each option that takes a value, by its longest name, or by a command and that."""


def longest(option: click.Option) -> str:
    """Return the longest name of an option."""
    return max(option.opts, key=len)


def example_of(option: click.Option, command: str) -> list[str]:
    """Return an example of a command's option as it is typed."""
    name = longest(option)
    return [name] if option.is_flag else [name, EXAMPLES.get(f"{command} {name}") or EXAMPLES[name]]


def options_of(command: click.Command) -> list[click.Option]:
    """Return the options of a command."""
    return [each for each in command.params if isinstance(each, click.Option)]


def _rows(heads: str, rows: Iterable[Iterable[str]]) -> list[str]:
    cells = [[cell.strip() for cell in heads.split("|")], *([*row] for row in rows)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
    return [lines[0], "| " + " | ".join("---" for _ in cells[0]) + " |", *lines[1:]]


def _commands() -> list[str]:
    rows = ((f"`{name}`", command.get_short_help_str(200)) for name, command in root.commands.items())
    return _rows("command | meaning", rows)


def _options(name: str) -> list[str]:
    command = root.commands[name]
    usage = " ".join(["batchswap", name, *command.collect_usage_pieces(click.Context(command))])
    run = {longest(each): each.help for each in options_of(root.commands["run"])}
    own = {longest(each): each.help for each in options_of(command)}
    text = [f"`{usage}`", "", *_paragraphs(command.help or "")]
    if name != "run" and len(own) > len(run) / 2 and own.items() <= run.items():
        without = ", ".join(f"`{each}`" for each in run if each not in own)
        return [*text, f"The options are those of `run`, except {without}."]
    return [*text, *_grouped(name, options_of(command))]


def _grouped(name: str, options: list[click.Option]) -> Iterator[str]:
    """Yield a table for each heading that `--help` has; one for all options where they are few."""
    heads = "option | default | meaning | example"
    if len(options) <= SHORT:
        yield from _rows(heads, (_option(each, name) for each in options))
        return
    for heading in HEADINGS:
        rows = [_option(each, name) for each in options if getattr(each, "heading", HEADINGS[-1]) == heading]
        if rows:
            yield from (f"{heading}:", "", *_rows(heads, rows), "")


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text):
        yield " ".join(paragraph.split())
        yield ""


def _option(option: click.Option, command: str) -> tuple[str, str, str, str]:
    words, _, noted = (option.help or "").partition("  [default: ")
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    default = option.get_help_extra(click.Context(root)).get("default", "") or noted.rstrip("]")
    if isinstance(option.type, click.Choice) and not option.is_flag:
        words += f": {', '.join(f'`{choice}`' for choice in option.type.choices)}"
    elif not option.is_flag:
        names += f" `{option.make_metavar(click.Context(root))}`"
    example = "" if option.is_flag else f"`{' '.join(example_of(option, command))}`"
    if not default and option.is_flag:
        return names, "on" if option.default is True else "off", words, example
    return names, f"`{default}`" if default else "", words, example


def _events() -> list[str]:
    return _rows("event | meaning", ((f"`{each.value}`", each.meaning) for each in LogEvent))


def _states() -> list[str]:
    moves = [(table, who) for table, who in ((MOVES, "batchswap"), (BY_PERSON, "you"))]
    rows = (
        (f"`{state}`", f"`{event}`", f"`{after}`", who)
        for state in MOVES
        for table, who in moves
        for event, after in table.get(state, {}).items()
    )
    return _rows("state | event | next state | decided by", rows)


def _attempts() -> list[str]:
    rows = (
        (f"`{state}`", ", ".join(f"`{each}`" for each in after) or "none") for state, after in ATTEMPT_MOVES.items()
    )
    return _rows("state | next states", rows)


def _metrics() -> list[str]:
    rows = (
        (f"`{each.name}`", each.kind, ", ".join(f"`{label}`" for label in each.labels), each.meaning)
        for each in METRICS
    )
    return _rows("metric | type | labels | meaning", rows)


def _layers() -> list[str]:
    return ["```text", *(line.strip() for line in LAYERS.strip().splitlines()), "```"]


TABLES: dict[str, Callable[[], list[str]]] = {
    "commands": _commands,
    "events": _events,
    "states": _states,
    "attempts": _attempts,
    "layers": _layers,
    "metrics": _metrics,
    **{f"options {name}": partial(_options, name) for name in root.commands},
}


def outdated(page: Page) -> dict[int, tuple[int, list[str]]]:
    """Return the tables of a page that differ from the code: first line -> how many lines, and the new ones."""
    found: dict[int, tuple[int, list[str]]] = {}
    begun: tuple[int, str] | None = None
    for number, line in enumerate(page.lines):
        comment = COMMENT.fullmatch(line)
        if comment and comment[1] == "table":
            begun = number + 1, comment[2]
        elif comment and comment[1] == "end" and begun is not None:
            start, name = begun
            wanted = ["", *"\n".join(TABLES[name]()).rstrip().splitlines(), ""]
            if page.lines[start:number] != wanted:
                found[start] = number - start, wanted
            begun = None
    assert begun is None, f"{page.name}: no end of table {begun}"
    return found
