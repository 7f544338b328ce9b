"""The metrics: their names, types, labels and meanings. The documentation has the same table."""

from typing import Literal

import msgspec

LEDGER = "ledger"
"""The label that all metrics have: the first digits of the ledger's id, because one host may have several ledgers.

While there is no ledger, they are those of a hash of its path.
"""


class Metric(msgspec.Struct, frozen=True):
    """A metric, with its labels besides LEDGER."""

    name: str
    kind: Literal["gauge", "counter"]
    labels: tuple[str, ...]
    meaning: str


EXIT_CODE = Metric("batchswap_last_exit_code", "gauge", (), "Exit code of the last run that has ended.")
SUCCESS = Metric(
    "batchswap_last_success_timestamp_seconds",
    "gauge",
    (),
    "Time when a run last ended with exit code 0, which means that all is done. 0 if there was no such run.",
)
STARTED = Metric(
    "batchswap_last_run_start_timestamp_seconds", "gauge", (), "Time when the last run began, also if it has not ended."
)
ENDED = Metric("batchswap_last_run_end_timestamp_seconds", "gauge", (), "Time when a run last ended.")
IN_PROGRESS = Metric("batchswap_run_in_progress", "gauge", (), "1 while a run is in progress, else 0.")
TASKS = Metric(
    "batchswap_tasks",
    "gauge",
    ("batch", "state"),
    "Tasks by state, for the 200 newest batches. Older batches are counted together, with an empty batch.",
)
NEEDS_YOU = Metric(
    "batchswap_needs_you",
    "gauge",
    (),
    "Tasks that need your decision: uncertain, paid for and not saved, or of doubtful quality.",
)
UNCERTAIN = Metric(
    "batchswap_oldest_uncertain_timestamp_seconds",
    "gauge",
    (),
    "Time since when the oldest uncertain task is uncertain. Missing if there is none.",
)
SIGNED = Metric("batchswap_signed_results", "gauge", (), "Results with a signature.")
CREDITS = Metric(
    "batchswap_credits",
    "gauge",
    ("kind",),
    "Credits: spent and reserved by all tasks, exceeded beyond budgets, and the balance that was last read at the end"
    " of a run, if any.",
)
REQUESTS = Metric(
    "batchswap_requests_total", "counter", ("kind", "outcome"), "Requests of runs to the API that have ended."
)
REQUEST_SECONDS = Metric(
    "batchswap_request_seconds_total",
    "counter",
    ("kind", "outcome"),
    "Seconds from sending these requests to the end of their answers.",
)
WAITED = Metric(
    "batchswap_api_wait_seconds_total",
    "counter",
    (),
    "Seconds that runs waited for the API: from a request without a good answer until the next good answer.",
)
READ_AT = Metric(
    "batchswap_metrics_timestamp_seconds", "gauge", (), "Time when these metrics were made. A file may be older."
)
BUILD = Metric("batchswap_build_info", "gauge", ("version",), "1, with the version of batchswap.")

METRICS = (
    EXIT_CODE,
    SUCCESS,
    STARTED,
    ENDED,
    IN_PROGRESS,
    TASKS,
    NEEDS_YOU,
    UNCERTAIN,
    SIGNED,
    CREDITS,
    REQUESTS,
    REQUEST_SECONDS,
    WAITED,
    READ_AT,
    BUILD,
)
