"""The step that labels and signs a verified part before it gets its final name.

A signed file takes the place of the part in one step, and then the ledger gets its SHA-256. After a crash in between,
the file itself shows what it is. Nothing that fails here leads to a submit or loses a file: the result is then
published as it came.
"""

import logging

from batchswap.downloads import Verified
from batchswap.errors import BatchswapError
from batchswap.events import LogEvent
from batchswap.ledger import signatures
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.task_context import Job, name_of
from batchswap.tasks import clean

NAMED = 3
"""Results whose signature failed, or has a remark, that are reported as warnings."""


class Signing:
    """The labels and signatures of a run. Without a signer, results are published as they came."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._reported = 0

    async def sign(self, job: Job, part: Verified) -> Verified:
        """Label and sign the part. Return the file to publish, which is committed to the ledger."""
        run, item = self._run, job.task
        if (signer := run.store.signer) is None or (path := run.store.part(item.output)) is None:
            return part
        known = signatures.find_record(run.ledger.db, item.id)
        if known is not None and known.sha256 == part.sha256:
            return part  # an earlier run recorded it
        run.state.note_delivery(+1)
        try:
            done = await signer.sign(item, path, part.sha256)
        except BatchswapError as error:
            self._tell(job, f"it was saved as it came: {error}")
            await run.store.discard_signed(item.output)
            return part
        finally:
            run.state.note_delivery(-1)
        if done.path != path:
            await run.store.take(item.output, done.path)
        if done.sha256 != part.sha256:
            await run.ledger.write(signatures.record, item.id, done.result)
        for remark in done.remarks:
            self._tell(job, remark)
        return Verified(done.sha256, done.size, part.media_type)

    def _tell(self, job: Job, words: str) -> None:
        self._reported += 1
        level = logging.WARNING if self._reported <= NAMED else logging.INFO
        name = name_of(job.task)
        self._run.report(LogEvent.RESULT_NOT_SIGNED, clean(f"{name}: {words}"), level, task=name)
