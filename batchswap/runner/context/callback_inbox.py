"""Callbacks: where the API is to call back, and what came before the answer to its submit."""

import asyncio
from collections.abc import Callable

import msgspec

from batchswap import wire
from batchswap.callbacks import Delivery


class Calls(msgspec.Struct, frozen=True):
    """The receiver's side: the URL for an attempt's ref, and what has come in."""

    url: Callable[[str], str]
    deliveries: "asyncio.Queue[Delivery]"


class CallbackInbox:
    """Remembers the remote id of a callback that came before the answer to its own submit."""

    def __init__(self, calls: Calls | None) -> None:
        self.calls = calls
        self._ids: dict[str, str] = {}

    def add_url(self, body: wire.CreateTask, ref: str) -> wire.CreateTask:
        """Return the body with the address that the API is to call for this attempt, if there is one."""
        return body if self.calls is None else msgspec.structs.replace(body, callback_url=self.calls.url(ref))

    def put(self, ref: str, remote_id: str) -> None:
        """Keep a callback for whoever records the attempt."""
        self._ids[ref] = remote_id

    def get(self, ref: str) -> str | None:
        """Return the remote id that a callback named. It stays until `pop`."""
        return self._ids.get(ref)

    def pop(self, ref: str) -> bool:
        """Remove it. Return whether there was one."""
        return self._ids.pop(ref, None) is not None

    async def handled(self) -> None:
        """Return when every callback that has come in is handled."""
        if self.calls is not None:
            await self.calls.deliveries.join()
