"""The API over HTTP: one request in, one answer or one error out, never a retry."""

from batchswap.client.answers import Answer, parse_retry_after
from batchswap.client.http import Client, Timeouts
from batchswap.client.request_trace import CancelledUnsent

__all__ = ["Answer", "CancelledUnsent", "Client", "Timeouts", "parse_retry_after"]
