"""Invariant 1 on the disk: the system calls of a real run show a sync between an intent and its request."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.shop import Shop

TRACED = "trace=fdatasync,fsync,sendto,sendmsg,write,pwrite64"


@dataclass(frozen=True)
class Call:
    """One system call. `text` is the whole line of strace, with the written bytes."""

    name: str
    file: str
    text: str


def calls(trace: Path) -> Iterator[Call]:
    """Return the calls in the order of their starts, but a sync at the time of its return."""
    begun: dict[str, str] = {}
    for line in trace.read_text(encoding="utf-8", errors="replace").splitlines():
        pid, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            if text.startswith(("fdatasync", "fsync")):
                begun[pid] = text
                continue
        elif text.startswith("<... ") and pid in begun and "sync resumed>" in text:
            text = begun.pop(pid)
        found = re.match(r"(\w+)\(\d+<([^>]*)", text)
        if found:
            yield Call(found[1], found[2], text)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_invariant_1_every_submit_leaves_after_a_sync_of_its_intent(old_shop: Shop) -> None:
    trace = old_shop.folder / "trace"
    pairs = old_shop.rows(6)
    strace = ("strace", "-f", "-y", "-s", "4096", "-e", TRACED, "-o", str(trace))
    done = old_shop.process("--rate", "50/1s", before=strace)
    assert done.returncode == 0, done.stderr
    assert old_shop.vendor.accepted == dict.fromkeys(pairs, 1)

    refs = dict(old_shop.select("select ref, id from attempts where state = 'succeeded'"))
    written: set[str] = set()
    synced: set[str] = set()
    sent: list[str] = []
    for call in calls(trace):
        if call.file.endswith("b.db-wal"):
            if call.name == "pwrite64":
                written |= {ref for ref in refs if ref in call.text}
            else:
                assert call.name == "fdatasync"
                synced |= written
        elif "CreateTask HTTP/1.1" in call.text:
            ref = next(ref for ref in refs if ref in call.text)
            assert ref in synced, f"{ref} left before its intent was on the disk"
            sent.append(ref)
    assert len(sent) == len(set(sent)) == 6
