"""The step between a verified part and its final name: examine the result and record the finding.

Nothing that fails here leads to a submit or loses a file. The result is then of unknown quality.
"""

import logging

from batchswap.downloads import Verified
from batchswap.events import LogEvent
from batchswap.ledger import deliveries, signatures
from batchswap.ledger.deliveries import Delivered, quality_words
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.task_context import Job, name_of
from batchswap.states import DOUBTFUL, Quality
from batchswap.tasks import clean

NAMED = 3
"""Doubtful results that are reported as warnings. Further ones are reported as usual messages."""


class Examining:
    """The examinations of a run. Without an examiner, results have no finding."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._doubtful = 0

    async def examine(self, job: Job, part: Verified) -> Delivered | None:
        """Examine the verified part, unless an earlier run did. Return a new finding, which is committed."""
        run, item = self._run, job.task
        if (examiner := run.store.examiner) is None:
            return None
        known = deliveries.find(run.ledger.db, item.id)
        file = run.store.file(item.output, part)
        if file is None or (known is not None and known.sha256 == part.sha256):
            return None
        delivered = signatures.find_record(run.ledger.db, item.id)
        if delivered is not None and delivered.sha256 == part.sha256:
            return None  # it was examined as it was received
        found = deliveries.find_same(run.ledger.db, item, part.sha256)
        if found is None:
            run.state.note_delivery(+1)
            try:
                found = await examiner.examine(run.ledger.db, item, file, part.sha256)
            finally:
                run.state.note_delivery(-1)
        await run.ledger.write(deliveries.record, item.id, found)
        return found

    def tell(self, job: Job, found: Delivered | None) -> None:
        """Report a doubtful result, once it has its final name."""
        if found is None or found.quality not in DOUBTFUL:
            return
        self._doubtful += 1
        name, words = name_of(job.task), doubt_words(found)
        level = logging.WARNING if self._doubtful <= NAMED else logging.INFO
        self._run.report(LogEvent.RESULT_DOUBTFUL, f"{name}: {words}", level, task=name, quality=found.quality)


def doubt_words(found: Delivered) -> str:
    """Return the doubt about a result, such as "partly (62 %): the face is swapped in a part of the frames only"."""
    words, reason = quality_words(found.quality, found.share), clean(str(found.facts.get("reason", "")))
    return f"{words}: {reason}" if reason and found.quality is Quality.PARTLY else reason or words
