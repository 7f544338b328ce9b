"""The objects that the endpoints share, and the request that each of them gets."""

from dataclasses import dataclass, field
from typing import Any

from batchswap.clock import Clock
from batchswap.local.server.pricing import Quotes
from batchswap.local.server.settings import ServerSettings
from batchswap.local.server.signed_urls import SignedUrls
from batchswap.local.server.store.input_store import InputStore
from batchswap.local.server.store.task_store import TaskStore
from batchswap.local.server.work.detections import Detections
from batchswap.local.server.work.task_inputs import TaskInputs
from batchswap.local.server.work.task_queue import TaskQueue


@dataclass(repr=False)
class ServerContext:
    """The parts of one server. While `maintenance` is set, every API request gets 455."""

    settings: ServerSettings
    clock: Clock
    urls: SignedUrls
    records: TaskStore
    contents: InputStore
    detections: Detections
    inputs: TaskInputs
    quotes: Quotes
    tasks: TaskQueue
    maintenance: bool = field(default=False, init=False)


@dataclass(frozen=True)
class ApiRequest:
    """A request to an endpoint. `base_url` is the server's URL as this caller reaches it."""

    query: dict[str, str]
    body: dict[str, Any]
    base_url: str
    raw_body: bytes = b""
    idempotency_key: str | None = None
