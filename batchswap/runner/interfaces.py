"""What the runner needs of the rooms below it, so that a test can run a night against a service in memory."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from batchswap import wire
from batchswap.client import Answer
from batchswap.downloads import Trial, Verified
from batchswap.tasks import MediaKind


class Api(Protocol):
    """One request in; one answer, or NeverSent or MaybeSent, out. `batchswap.client.Client` is the real one."""

    async def create_task(self, body: wire.CreateTask, ref: str) -> Answer: ...
    async def task_info(self, remote_id: str) -> Answer: ...
    async def estimate(self, body: wire.CreateTask) -> Answer: ...
    async def balance(self) -> Answer: ...
    async def detect(self, kind: MediaKind, url: str) -> Answer: ...
    async def detect_result(self, detect_task_id: str) -> Answer: ...
    async def upload_url(self, content_type: str, ext: str) -> Answer: ...
    async def put_file(self, presigned_url: str, path: Path, content_type: str) -> Answer: ...


class Pacer(Protocol):
    """When the next request may leave. `ratelimit.shared_window.SharedWindow` is the real one."""

    def claim(self) -> float:
        """0.0: a request may leave, and is counted. Otherwise seconds to wait before asking again."""

    def ticket(self) -> int:
        """What names the last claim that was granted to this process."""

    def left(self, ticket: int) -> None:
        """The request of that claim leaves only now."""

    def heard(self, sent_at: float, answered_at: float) -> None:
        """A request that left at `sent_at` was answered (both monotonic)."""

    def pushed_back(self, sent_at: float, pause: float) -> bool:
        """A 429 answered the request that left at `sent_at` (monotonic): nobody sends for `pause` seconds."""

    def pause(self, seconds: float) -> None:
        """Nobody sends anything for a while."""

    def limit(self) -> int | None:
        """Requests per period that are believed to be allowed now; None: no limit is known."""


class ResultStore(Protocol):
    """Where results go. `collect.result_store.Results` is the real one. Raises DownloadError."""

    async def try_out(self, outputs: Iterable[str]) -> Trial:
        """Find out what the folder can do, and which of these outputs it does not take."""

    async def fetch(self, url: str, output: str, *, kind: MediaKind, tries: int, remote_id: str) -> Verified:
        """Download and check; the result of `remote_id` then stands as a part beside its final place."""

    async def publish(self, output: str, part: Verified, *, replaces: str | None) -> None:
        """Give the part its final name. `replaces` is the SHA-256 of the task's own earlier file."""

    async def holds(self, output: str, sha256: str) -> bool:
        """Whether this very file stands under the final name."""

    def taken(self, output: str) -> bool:
        """Whether something stands under the final name."""

    def obstacle(self, output: str) -> str:
        """Return why nothing can be stored in the output's folder; "" when it can."""

    def is_writable(self) -> bool:
        """Whether something can be made where results go."""

    def free(self) -> int:
        """Bytes free where results go."""
