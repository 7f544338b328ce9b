"""Everything that the endpoints work with, in one place."""

from dataclasses import dataclass, field
from typing import Any

from batchswap.clock import Clock
from batchswap.local.server.pricing import Quotes
from batchswap.local.server.settings import ServerSettings
from batchswap.local.server.signed_urls import SignedUrls
from batchswap.local.server.store.input_store import Contents
from batchswap.local.server.store.task_store import TaskStore
from batchswap.local.server.work.detections import Detections
from batchswap.local.server.work.task_inputs import TaskInputs
from batchswap.local.server.work.task_queue import Production


@dataclass(repr=False)
class ServerContext:
    """One server's parts. `maintenance` answers every call with 455 while it is set."""

    settings: ServerSettings
    clock: Clock
    urls: SignedUrls
    records: TaskStore
    contents: Contents
    detections: Detections
    inputs: TaskInputs
    quotes: Quotes
    production: Production
    maintenance: bool = field(default=False, init=False)


@dataclass(frozen=True)
class ApiRequest:
    """One request to an endpoint, as far as endpoints care. `base_url` is how the caller reached the server."""

    query: dict[str, str]
    body: dict[str, Any]
    base_url: str
    raw_body: bytes = b""
    idempotency_key: str | None = None
