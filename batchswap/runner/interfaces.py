"""The interfaces that the runner depends on. Tests implement them in memory."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from batchswap import wire
from batchswap.client import Answer
from batchswap.downloads import Trial, Verified
from batchswap.ledger.deliveries import Delivered
from batchswap.provenance.delivered_file import SignedFile
from batchswap.tasks import MediaKind, Task


class Api(Protocol):
    """Send one request; return its answer or raise NeverSent or MaybeSent. See `batchswap.client.Client`."""

    async def create_task(self, body: wire.CreateTask, ref: str) -> Answer: ...
    async def task_info(self, remote_id: str) -> Answer: ...
    async def estimate(self, body: wire.CreateTask) -> Answer: ...
    async def balance(self) -> Answer: ...
    async def detect(self, kind: MediaKind, url: str) -> Answer: ...
    async def detect_result(self, detect_task_id: str) -> Answer: ...
    async def upload_url(self, content_type: str, ext: str) -> Answer: ...
    async def put_file(self, presigned_url: str, path: Path, content_type: str) -> Answer: ...


class Pacer(Protocol):
    """The rate limit of the key. See `ratelimit.shared_window.SharedWindow`."""

    def claim(self) -> float:
        """Claim a place for a request. Return 0.0, or the seconds to wait before the next try."""

    def ticket(self) -> int:
        """Return the number of the last claim that was granted to this process."""

    def left(self, ticket: int) -> None:
        """Record that the request of this claim leaves only now."""

    def on_answer(self, sent_at: float, answered_at: float) -> None:
        """Record the answer to the request that left at `sent_at` (both times are monotonic)."""

    def pushed_back(self, sent_at: float, pause: float) -> bool:
        """Record a 429 to the request that left at `sent_at` (monotonic), and send nothing for `pause` seconds.

        Return whether the pace was lowered.
        """

    def pause(self, seconds: float) -> None:
        """Send nothing for `seconds`, in all processes."""

    def limit(self) -> int | None:
        """Return the estimated number of requests allowed per period; None without a known limit."""


class ResultExaminer(Protocol):
    """Finds out whether a result is a swap. See `batchswap.delivery.examiner.Examiner`."""

    async def examine(self, db: sqlite3.Connection, item: Task, result: Path, sha256: str) -> Delivered:
        """Return the finding about the file `result` with this SHA-256."""


class ResultSigner(Protocol):
    """Labels and signs results. See `batchswap.delivery.signer.Signer`."""

    async def sign(self, item: Task, part: Path, received: str) -> SignedFile:
        """Label and sign the part that was received with this SHA-256. Raise ProvenanceError, which changes nothing."""


class ResultStore(Protocol):
    """The folder for results. Methods raise DownloadError. See `collect.result_store.Results`."""

    @property
    def examiner(self) -> ResultExaminer | None:
        """The examiner of the results; None if they are not examined."""

    @property
    def signer(self) -> ResultSigner | None:
        """The signer of the results; None if they are neither labelled nor signed."""

    def part(self, output: str) -> Path | None:
        """Return the part file; None if there is none."""

    async def take(self, output: str, made: Path) -> None:
        """Let a file take the place of the part, in one step."""

    async def discard_signed(self, output: str) -> None:
        """Delete files of killed processes that were to take the place of the part. Raise nothing."""

    def file(self, output: str, part: Verified) -> Path | None:
        """Return the file with the size of this verified part: the part itself, or the final file."""

    async def try_out(self, outputs: Iterable[str]) -> Trial:
        """Test what the folder supports, and which of these names it cannot hold."""

    async def fetch(self, url: str, output: str, *, kind: MediaKind, tries: int, remote_id: str) -> Verified:
        """Download and check the result of `remote_id`. Leave it as a part file next to its final place."""

    async def publish(self, output: str, part: Verified, *, replaces: str | None) -> None:
        """Rename the part to its final name. `replaces` is the SHA-256 of the task's own earlier file."""

    async def holds(self, output: str, sha256: str) -> bool:
        """Return whether the file under the final name has this SHA-256."""

    def taken(self, output: str) -> bool:
        """Return whether a file exists under the final name."""

    def obstacle(self, output: str) -> str:
        """Return why nothing can be stored in the output's folder; "" when it can."""

    def answers(self) -> bool:
        """Return whether the folder's file system answers. Otherwise, the next calls would hang."""

    def is_writable(self) -> bool:
        """Return whether files can be created in the folder."""

    def free(self) -> int:
        """Return the free bytes on the folder's disk."""
