"""Run the examples of a page again, in a shell and against a local server, and compare what they print.

The examples of a page run in its order and in one folder, until a comment `<!-- session: -->` begins another one. It,
and `<!-- server: -->` in a session, name the faults of the server from then on. A block whose fence has a file name
becomes that file. An output that begins with `^C` is interrupted when everything is submitted; a line `…` stands for
any lines.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack

from tests.docs.pages import Block, Page
from tests.docs.shell import Session, session

TASK_ID = re.compile(r"\b[0-9a-f]{32}\b")
VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?(\.\d+)?Z?"), "TIME"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "SHA"),
    (TASK_ID, "ID"),
    (re.compile(r"\b\d+(\.\d+)? (s|min|h|d)\b( \d+ (s|min|h)\b)?"), "SPAN"),
    (re.compile(r", took SPAN$"), ""),  # unknown where the run that submitted has ended
    (re.compile(r"\b\d+(\.\d+)? (B|KB|MB|GB)(?!\w)"), "SIZE"),
    (re.compile(r'("(id|poll|seconds|took|size|started_at|ended_at)": ?)[\d.]+'), r"\1N"),
    (re.compile(r"http://127\.0\.0\.1:\d+"), "SERVER"),
    (re.compile(r"^balance: [\d,.]+|\"balance(_before)?\": ([\d.]+|null)"), "BALANCE"),
    (re.compile(r" {2,}"), " "),
)
"""What differs from one time to the next."""


def normal(line: str) -> str:
    """Return a line of output without what differs from one time to the next."""
    for pattern, word in VARYING:
        line = pattern.sub(word, line)
    return line.rstrip()


def matches(shown: list[str], printed: list[str]) -> bool:
    """Return whether the documentation shows what was printed."""
    parts = [[]]  # type: list[list[str]]
    for line in map(normal, shown):
        if line == "…":
            parts.append([])
        else:
            parts[-1].append(line)
    lines = [*map(normal, printed)]
    if lines[: len(parts[0])] != parts[0] or (len(parts) == 1 and len(lines) != len(parts[0])):
        return False
    rest = lines[len(parts[0]) :]
    for part in parts[1:]:
        places = [n for n in range(len(rest) - len(part) + 1) if rest[n : n + len(part)] == part]
        if part is parts[-1] and part:
            return bool(places) and places[-1] == len(rest) - len(part)
        if not places:
            return False
        rest = rest[places[0] + len(part) :]
    return True


def examples(lines: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a console block with the output that is shown below it."""
    command: list[str] = []
    output: list[str] = []
    for line in lines:
        if line.startswith("$ "):
            if command:
                yield "\n".join(command), output
            command, output = [line[2:]], []
        elif line.startswith("> ") and not output:
            command.append(line[2:])
        else:
            output.append(line)
    yield "\n".join(command), output


def replayed(block: Block, place: Session) -> tuple[list[str], list[str]]:
    """Return the block with the outputs of now where they differ, and the differences in words."""
    lines, wrong = [], []
    for command, shown in examples(block.lines):
        typed = TASK_ID.sub(lambda _: place.last_id(), command)
        is_interrupted = shown[:1] == ["^C"]
        printed = place.shell.run(typed, interrupt=is_interrupted)
        printed = ["^C", *printed] if is_interrupted else printed
        first, *more = command.splitlines()
        lines += [f"$ {first}", *(f"> {line}" for line in more)]
        if matches(shown, printed):
            lines += shown
        else:
            lines += printed
            wrong.append("\n".join([f"$ {command}", "the page shows:", *shown, "it printed:", *printed]))
    return lines, wrong


def scheduled(block: Block) -> list[str]:
    """Return the commands of a crontab or of a systemd unit."""
    if block.kind == "cron":
        return [" ".join(line.split()[5:]) for line in block.lines if line and line[0] in "0123456789*"]
    return [line.removeprefix("ExecStart=") for line in block.lines if line.startswith("ExecStart=")]


def replay(page: Page) -> tuple[dict[int, tuple[int, list[str]]], list[str], set[str]]:
    """Run all examples of a page. Return its changes, the differences in words, and the files that were made."""
    changes: dict[int, tuple[int, list[str]]] = {}
    wrong: list[str] = []
    files: set[str] = set()
    with ExitStack() as stack:
        place: Session | None = None
        for block in page.blocks:
            for order, words in block.orders:
                if order == "session":
                    if place is not None:
                        files.update(place.files())
                    stack.close()
                    place = stack.enter_context(session())
                if order in ("session", "server"):
                    assert place is not None, f"{page.name}:{block.start}: no session"
                    place.serve(words)
            if place is None or (block.kind not in ("console", "cron", "ini") and len(block.info) < 2):
                continue
            if len(block.info) > 1:
                place.shell.folder.joinpath(block.info[1]).write_text("\n".join([*block.lines, ""]))
            elif block.kind == "console":
                lines, differences = replayed(block, place)
                changes[block.start] = len(block.lines), lines
                wrong += [f"{page.name}:{block.start}: {each}" for each in differences]
            else:
                for command in scheduled(block):
                    printed = place.shell.run(f"{command}; echo $?")
                    if printed[-1] != "0":
                        wrong.append(f"{page.name}:{block.start}: {command}: {printed}")
        if place is not None:
            files.update(place.files())
    return changes, wrong, files
