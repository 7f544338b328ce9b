"""The URLs for callbacks, and callbacks that arrive before the answer to their submit."""

import asyncio
from collections.abc import Callable

import msgspec

from batchswap import wire
from batchswap.callbacks import Delivery


class Calls(msgspec.Struct, frozen=True):
    """The receiver: the URL for an attempt's ref, and the callbacks that arrived."""

    url: Callable[[str], str]
    deliveries: "asyncio.Queue[Delivery]"


class CallbackInbox:
    """Keeps the remote ids of callbacks that arrive before the answer to their submit."""

    def __init__(self, calls: Calls | None) -> None:
        self.calls = calls
        self._ids: dict[str, str] = {}

    def add_url(self, body: wire.CreateTask, ref: str) -> wire.CreateTask:
        """Return the body with the attempt's callback URL, if callbacks are used."""
        return body if self.calls is None else msgspec.structs.replace(body, callback_url=self.calls.url(ref))

    def put(self, ref: str, remote_id: str) -> None:
        """Keep the remote id until the attempt is recorded."""
        self._ids[ref] = remote_id

    def get(self, ref: str) -> str | None:
        """Return the remote id from a callback. It stays until `pop`."""
        return self._ids.get(ref)

    def pop(self, ref: str) -> bool:
        """Remove the remote id. Return whether there was one."""
        return self._ids.pop(ref, None) is not None

    async def handled(self) -> None:
        """Wait until all callbacks that arrived are handled."""
        if self.calls is not None:
            await self.calls.deliveries.join()
