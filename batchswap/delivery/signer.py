"""Label and sign results, with a visible label if one is wanted, in processes of their own."""

import asyncio
from contextlib import closing
from pathlib import Path

import msgspec

from batchswap.delivery.examiner import NICENESS, count_workers
from batchswap.delivery.visible_label import deliver_drawn
from batchswap.errors import EngineError, ProvenanceError
from batchswap.ledger.file import connection
from batchswap.network import routes_of
from batchswap.provenance.delivered_file import SignedFile, SigningJob, deliver_signed
from batchswap.provenance.manifest import SwapFacts
from batchswap.provenance.task_facts import facts_of
from batchswap.settings import Settings
from batchswap.tasks import Task
from batchswap.workers.worker_pool import CallFailed, Workers

LIMIT = 900.0
"""Seconds for one file: large ones are hashed several times."""
ENCODING_LIMIT = 4 * 3600.0
"""Seconds for one file that is encoded again."""


class Signer:
    """Labels results and, with keys, signs them. Close it after use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._work, self._limit, niceness = deliver_signed, LIMIT, 0
        if settings.visible_label:
            self._work, self._limit, niceness = deliver_drawn, ENCODING_LIMIT, NICENESS
        self._workers = Workers(count_workers(), niceness=niceness)

    async def sign(self, item: Task, part: Path, received: str) -> SignedFile:
        """Return the file to publish, next to the part. Raise ProvenanceError; the part is then as it was.

        `received` is the SHA-256 of the part as it was downloaded.
        """
        settings = self._settings
        facts = await asyncio.to_thread(self._facts, item)
        made = part.with_name(part.name.removesuffix(".part") + ".sign")
        job = SigningJob(
            part,
            made,
            facts,
            settings.sign,
            settings.timestamp_url,
            settings.label,
            received,
            routes=routes_of(settings.proxy),
        )
        try:
            return await self._workers.run(self._work, job, limit=self._limit)
        except CallFailed as error:
            raise ProvenanceError("result", f"it could not be signed ({error})") from None
        except EngineError as error:
            raise ProvenanceError("result", str(error)) from None

    def _facts(self, item: Task) -> SwapFacts:
        """Return the facts about a task, by a connection of this thread."""
        with closing(connection.connect(self._settings.db, write=False)) as db:
            return msgspec.structs.replace(facts_of(db, item), visible_label=self._settings.visible_label)

    async def close(self) -> None:
        """End the processes."""
        await self._workers.close()


def open_signer(settings: Settings) -> Signer | None:
    """Return the signer of a run; None if its results are published as they come.

    The local provider labels its results itself.
    """
    is_labelling = settings.label and settings.provider != "local"
    is_needed = settings.sign is not None or settings.visible_label or is_labelling
    return Signer(settings) if is_needed else None
