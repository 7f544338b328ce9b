"""What can be set about the local server."""

import ipaddress
import os
from pathlib import Path

import msgspec

from batchswap.errors import UsageError
from batchswap.local.faults import FaultRate


class ServerSettings(msgspec.Struct, frozen=True):
    """How the local server runs. Money is credits, times are seconds, sizes are bytes.

    `folder` holds everything that must outlive the process: the tasks, the uploads, the results. One server at a time.
    `keys` all open the same account; without any, a server on a loopback address makes a random one.
    """

    folder: Path
    keys: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 0
    """0: any free port."""
    allow_private: bool = False
    """Whether inputs and callbacks may lead to private and link-local addresses, for whoever has a key."""
    rate: tuple[int, float] | None = None
    """(requests, period) of the sliding window that each key has; None: no limit."""
    balance: float = 100_000.0
    """What a new account starts with. An account that exists keeps what it has."""
    price_per_second: float = 1.0
    """For each started second of a video."""
    price_per_still: float = 1.0
    max_running: int = 100
    """Tasks that are worked on at once. What is accepted beyond that stays `pending`."""
    workers: int = 0
    """Processes that swap. 0: as many as this process may use cores."""
    max_input_bytes: int = 512 * 1024 * 1024
    fetch_timeout: float = 60.0
    """For fetching one http(s) input, from the first byte sent to the last one read."""
    receive_timeout: float = 30.0
    """For a request's whole body to arrive, and for each piece of an upload."""
    task_timeout: float = 3600.0
    """A swap that takes longer is ended as failed."""
    detection_ttl: float = 3600.0
    """How long a detect_id is good for (api.md: one hour)."""
    url_ttl: float = 24 * 3600.0
    """How long the URL of a result or an upload's presigned URL can be used. TaskInfo always gives a fresh one."""
    keep: float = 14 * 24 * 3600.0
    """How long uploads and results stay on the disk."""
    callbacks: bool = True
    """Off: a task with a callback_url is refused as 505."""
    callback_waits: tuple[float, ...] = (1.0, 5.0, 30.0, 300.0)
    """Pauses between the tries of one callback; when they are used up it is given up."""
    faults: tuple[FaultRate, ...] = ()
    """What goes wrong on purpose, for rehearsals."""
    seed: int = 0
    """Of the dice that the faults are drawn with."""

    def __repr__(self) -> str:
        return f"ServerSettings({str(self.folder)!r})"  # without the keys, wherever it may be printed

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
        """Whether it listens on all addresses, so that `host` is none that a client could use."""
        return self.host in ("0.0.0.0", "::", "")  # noqa: S104 - compared, not bound

    def count_workers(self) -> int:
        return self.workers or len(os.sched_getaffinity(0))

    def check(self) -> None:
        """Raises UsageError for what cannot work, or would open the server to everyone."""
        if not self.keys and not self.is_loopback:
            raise UsageError(f"listening on {self.host} lets others in: set a key for the local server first")
        if any(not key or not key.isascii() or not key.isprintable() for key in self.keys):
            raise UsageError("a key of the local server must be printable ASCII")
        if self.rate is not None and (self.rate[0] < 1 or self.rate[1] <= 0):
            raise UsageError("the rate limit needs at least 1 request and a period above 0")
        if self.max_running < 1 or self.workers < 0:
            raise UsageError("the local server needs at least one worker and one running task")
