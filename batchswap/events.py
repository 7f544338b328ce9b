"""The events that runs and commands log: stable names, for programs that read `--log-format json`."""

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol, Self

RUN = "batchswap.run"
"""The name of the logger for reports of runs and commands."""
_USUAL = {*vars(logging.makeLogRecord({})), "event", "message"}


class LogEvent(StrEnum):
    """An event's name and its meaning. The table in docs/reference.md is made from them."""

    meaning: str

    def __new__(cls, name: str, meaning: str) -> Self:
        """Keep the meaning next to the name."""
        event = str.__new__(cls, name)
        event._value_, event.meaning = name, meaning
        return event

    # The run as a whole
    ENROLLED = "enrolled", "the manifests were read into the ledger, or had not changed"
    OUTPUTS_KEPT = "outputs-kept", "the order of the rows changed; results keep the names that they have"
    PROGRESS = "progress", "how far the run is, once a minute"
    RUN_STOPPING = "run-stopping", "the run submits nothing more, and why"
    INTERRUPTED = "interrupted", "Ctrl-C or SIGTERM: open calls are finished"
    FINISHED = "finished", "the last line of a command"
    ERROR = "error", "the command failed, and why"
    DETAIL = "detail", "a diagnostic message without a name of its own"

    # The API
    API_UNAVAILABLE = "api-unavailable", "the API does not answer; the run waits"
    API_AVAILABLE = "api-available", "the API answers again"
    API_MAINTENANCE = "api-maintenance", "the API is under maintenance; the run waits"
    API_PAUSE = "api-pause", "the API asked for a long pause"
    RATE_LOWERED = "rate-lowered", "the API allows fewer requests than configured"
    IN_FLIGHT_LOWERED = "in-flight-lowered", "the API allows fewer tasks at once than configured"
    CALLBACKS_MISSING = "callbacks-missing", "expected callbacks do not arrive; tasks are polled instead"

    # Before a submit
    INPUT_CHANGED = "input-changed", "an input file changed after its row was enrolled"
    UPLOADS_UNAVAILABLE = "uploads-unavailable", "no file can be uploaded; the run waits"
    COST_UNKNOWN = "cost-unknown", "the API does not report what a task cost; the budget counts the estimate"
    RESULTS_REUSED = "results-reused", "rows took the results of other tasks with the same inputs"
    OTHER_ACCOUNT = "other-account", "unfinished tasks belong to another key or another API"

    # Submitted tasks
    TASK_UNCERTAIN = "task-uncertain", "a submit may have been accepted; the task needs your decision"
    TASKS_ORPHANED = "tasks-orphaned", "tasks are no longer in the manifest"
    ID_NOT_RECORDED = "id-not-recorded", "a task was accepted, and its id could not be recorded in the ledger"
    ANSWERS_RECORDED = "answers-recorded", "answers that could not be recorded at first are in the ledger now"
    STRAY_CALLBACK = "stray-callback", "a callback shows that an attempt was accepted after all"
    REMARK = "remark", "the API added a remark to a success"

    # Results
    DOWNLOADS_BEHIND = "downloads-behind", "too many results wait for their download; nothing is submitted"
    RESULT_NOT_SAVED = "result-not-saved", "a result is paid for and could not be saved"
    RESULT_DOUBTFUL = "result-doubtful", "a result does not show the swap, or not in all frames"
    RESULT_NOT_SIGNED = "result-not-signed", "a result could not be labelled or signed, or has no time stamp"
    VISIBLE_LABEL = "visible-label", "a run with --visible-label encodes the results again"
    SIGNED = "signed", "a run with --sign has signed results of earlier runs"
    RESULT_TYPE = "result-type", "a result is of another type than its ending says"
    MEDIA_HOST_UNAVAILABLE = "media-host-unavailable", "a host of results does not answer"
    MEDIA_HOST_AVAILABLE = "media-host-available", "a host of results answers again"
    URLS_EXPIRED = "urls-expired", "results have waited too long for their download; the API is asked for new URLs"
    RESULTS_MISSING = "results-missing", "result files are missing or changed, or their inputs have changed"
    STORAGE_LIMITED = "storage-limited", "the file system of --out lacks a feature"
    STORAGE_FAILED = "storage-failed", "results cannot be stored on this disk"

    # The ledger and the submission log
    LEDGER_HELD = "ledger-held", "another run holds the ledger; this one waits"
    LEDGER_FAILED = "ledger-failed", "the ledger cannot be written or was replaced"
    LEDGER_BEHIND = "ledger-behind", "the submission log has attempts that the ledger does not know"
    TASK_IN_FLIGHT = "task-in-flight", "a task's id, for when the ledger cannot keep it"
    LOG_UNAVAILABLE = "log-unavailable", "the submission log cannot be read or written"
    KNOWN_ELSEWHERE = "known-elsewhere", "rows were submitted before with another ledger"
    LOG_RECOVERED = "log-recovered", "answers or rows were recovered from the submission log"
    BACKUP_SKIPPED = "backup-skipped", "the run made no copy of the ledger"

    # The machine
    TIME_ZONE_UNKNOWN = "time-zone-unknown", "the machine does not know the time zone in TZ, and uses UTC"

    WOKEN = "woken", "the machine slept, or the process was stopped, for more than a few seconds"
    FILE_SYSTEM_AWAY = "file-system-away", "a file system, such as a network share, does not answer; the command waits"
    FILE_SYSTEM_BACK = "file-system-back", "a file system answers again"

    # Commands
    KEYS = "keys", "what to know about the keys of --sign, such as a certificate that expires soon"
    REPORT_WRITTEN = "report-written", "where run --report has written the report, and how it begins"
    REPORT_SKIPPED = "report-skipped", "run --report could not write the report; the run itself is complete"
    METRICS_SKIPPED = "metrics-skipped", "run --metrics-file could not write the file, or nothing will read it"
    MESSAGE_FAILED = "message-failed", "a message, ping or webhook call about a run could not be delivered"
    MESSAGES_SENDING = "messages-sending", "the run is complete, and its messages take longer than a moment"
    KEY_HOST = "key-host", "the host that gets the API key (-v)"
    PROXY_USED = "proxy-used", "requests go through a proxy, so addresses are checked by name only (-v)"
    KEY_EXPOSED = "key-exposed", "other users can read or change a file that decides about the API key"
    LEDGER_MISSING = "ledger-missing", "there is no ledger yet"
    INPUT_SUSPECT = "input-suspect", "check --media found an input that may fail"
    CHECKED = "checked", "how many inputs check --media looked at, or could not look at"
    SHEET_SKIPPED = "sheet-skipped", "the contact sheet of faces could not be drawn as PNG"
    RESULT_UNREADABLE = "result-unreadable", "rebuild cannot read a file; it is left out or fetched again"
    CONFIRMED = "confirmed", "how many task ids adopt has compared with their rows"
    SERVING = "serving", "the local provider accepts requests"
    WATCHING = "watching", "the live page is served"


class Report(Protocol):
    """The type of `report`, for tests that replace it."""

    def __call__(self, event: LogEvent, text: str, level: int = logging.INFO, **fields: object) -> None:
        """Report. With --quiet, only warnings are shown: about money, and about data that may be lost."""


def report(event: LogEvent, text: str, level: int = logging.INFO, **fields: object) -> None:
    """Log a sentence with its event, and with fields for programs: `task`, `attempt`, `code`, `seconds`."""
    logging.getLogger(RUN).log(level, "%s", text, extra={"event": event.value, **fields})


class RecordHandler(logging.Handler):
    """Passes each log record to `show` as level, event, sentence and fields."""

    def __init__(self, show: Callable[[str, str, str, dict[str, object]], None]) -> None:
        super().__init__()
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        """Show the record, with its exception at the end. A record without an event is a detail."""
        text, values = record.getMessage(), vars(record)
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        fields = {name: value for name, value in values.items() if name not in _USUAL}
        self._show(record.levelname.lower(), values.get("event", LogEvent.DETAIL.value), text, fields)
