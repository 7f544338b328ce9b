"""Settings of the local server."""

import ipaddress
import os
from pathlib import Path

import msgspec

from batchswap.errors import UsageError
from batchswap.local.faults import FaultRate
from batchswap.network import DIRECT, Routes


class ServerSettings(msgspec.Struct, frozen=True):
    """Settings of one server. Prices are in credits, times in seconds, sizes in bytes.

    `folder` keeps tasks, uploads and results across restarts. Only one server at a time can use it.
    All `keys` belong to the same account. Without a key, a server on a loopback address makes a random one.
    """

    folder: Path
    keys: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 0
    """0 selects a free port."""
    allow_private: bool = False
    """Whether inputs and callbacks may use private and link-local addresses. Every key holder can then reach them."""
    routes: Routes = DIRECT
    """The proxies for inputs and callbacks. Behind one, addresses cannot be checked: only with `allow_private`."""
    rate: tuple[int, float] | None = None
    """(requests, period) of the sliding window of each key; None: no limit."""
    balance: float = 100_000.0
    """Credits of a new account. An existing account keeps its balance."""
    price_per_second: float = 1.0
    """Credits for each started second of a video."""
    price_per_still: float = 1.0
    max_running: int = 100
    """Tasks that run at once. Further accepted tasks stay `pending`."""
    workers: int = 0
    """Worker processes. 0: one for each core that this process may use."""
    max_input_bytes: int = 512 * 1024 * 1024
    fetch_timeout: float = 60.0
    """Limit for fetching one http(s) input, from the first byte sent to the last byte read."""
    receive_timeout: float = 30.0
    """Limit for the arrival of a whole request body, and of each chunk of an upload."""
    task_timeout: float = 3600.0
    """A swap that takes longer fails."""
    detection_ttl: float = 3600.0
    """Lifetime of a detect_id (api.md: one hour)."""
    url_ttl: float = 24 * 3600.0
    """Lifetime of a result's URL. TaskInfo always returns a fresh URL."""
    keep: float = 14 * 24 * 3600.0
    """Time after which uploads and results are deleted."""
    callbacks: bool = True
    """False: refuse a task with a callback_url as 505."""
    callback_waits: tuple[float, ...] = (1.0, 5.0, 30.0, 300.0)
    """Pauses between the attempts to deliver one callback. There is no attempt after the last pause has been used."""
    faults: tuple[FaultRate, ...] = ()
    """Faults to simulate."""
    seed: int = 0
    """Seed of the random numbers that decide on the faults."""

    def __repr__(self) -> str:
        return f"ServerSettings({str(self.folder)!r})"  # without the keys, in case it is printed

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_wildcard(self) -> bool:
        """Whether the server listens on all addresses. `host` is then not an address for clients."""
        return self.host in ("0.0.0.0", "::", "")  # noqa: S104 - compared, not bound

    def count_workers(self) -> int:
        return self.workers or len(os.sched_getaffinity(0))

    def check(self) -> None:
        """Raise UsageError for settings that cannot work, or that would open the server to everyone."""
        if not self.keys and not self.is_loopback:
            raise UsageError(f"others can reach the local server on {self.host}: set an API key for it first")
        if any(not key or not key.isascii() or not key.isprintable() for key in self.keys):
            raise UsageError("a key of the local server must be printable ASCII")
        if self.rate is not None and (self.rate[0] < 1 or self.rate[1] <= 0):
            raise UsageError("the rate limit of the local server needs at least 1 request and a period above 0")
        if self.routes != DIRECT and not self.allow_private:
            raise UsageError("the local server can use a proxy only with private addresses allowed")
        if self.max_running < 1 or self.workers < 0:
            raise UsageError("the local server needs at least one worker and one running task")
