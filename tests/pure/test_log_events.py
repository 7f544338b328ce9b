"""The names of log events are a promise: the reference lists every one of them, and no other."""

import logging
import re
from pathlib import Path

import pytest

import batchswap
from batchswap.events import RUN, LogEvent, report

REFERENCE = Path(batchswap.__file__).parent / "docs" / "events.md"


def test_the_reference_lists_every_event() -> None:
    """The table in docs/events.md has the names and the meanings of the code, in its order."""
    listed = re.findall(r"^\| `([a-z0-9-]+)` \| ([^|]+) \|$", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    table = [(name, meaning) for name, meaning in listed if name not in ("time", "level", "event", "message")]
    assert table == [(each.value, each.meaning) for each in LogEvent]


def test_a_report_is_a_log_record_with_fields(caplog: pytest.LogCaptureFixture) -> None:
    """A program finds the event and its fields as attributes of the record."""
    with caplog.at_level(logging.INFO, logger=RUN):
        report(LogEvent.ID_NOT_RECORDED, "100 % bad", logging.WARNING, task="spring/intro", attempt=1)
    (record,) = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == (RUN, "WARNING", "100 % bad")
    assert {"event": "id-not-recorded", "task": "spring/intro", "attempt": 1}.items() <= record.__dict__.items()
