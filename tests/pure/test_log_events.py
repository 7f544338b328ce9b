"""A log event is a record with a name and fields; tests/docs compares the table of all events."""

import logging

import pytest

from batchswap.events import RUN, LogEvent, report


def test_a_report_is_a_log_record_with_fields(caplog: pytest.LogCaptureFixture) -> None:
    """The event and its fields are attributes of the record."""
    with caplog.at_level(logging.INFO, logger=RUN):
        report(LogEvent.ID_NOT_RECORDED, "100 % bad", logging.WARNING, task="spring/intro", attempt=1)
    (record,) = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == (RUN, "WARNING", "100 % bad")
    assert {"event": "id-not-recorded", "task": "spring/intro", "attempt": 1}.items() <= record.__dict__.items()
