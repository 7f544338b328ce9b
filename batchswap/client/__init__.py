"""The API over HTTP: one request in, one answer or one error out, never a retry."""

from batchswap.client.answers import Answer, parse_retry_after
from batchswap.client.calls import Client, Timeouts
from batchswap.client.journeys import CancelledUnsent

__all__ = ["Answer", "CancelledUnsent", "Client", "Timeouts", "parse_retry_after"]
