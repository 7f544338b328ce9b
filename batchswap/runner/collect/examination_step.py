"""The step between a verified part and its final name: examine the result and record the finding.

Nothing that fails here leads to a submit or loses a file. The result is then of unknown quality.
"""

import logging

from batchswap.downloads import Verified
from batchswap.events import LogEvent
from batchswap.ledger import deliveries, signatures
from batchswap.ledger.deliveries import Delivered
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.task_context import Job, name_of
from batchswap.states import DOUBTFUL, Quality

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
            run.state.note_examining(+1)
            try:
                found = await examiner.examine(run.ledger.db, item, file, part.sha256)
            finally:
                run.state.note_examining(-1)
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
    """Return what is wrong with a result, as a sentence without its name."""
    match found.quality:
        case Quality.PARTLY if found.share is not None:
            return f"the face is swapped in only {found.share:.0%} of the frames".replace("%", " %")
        case Quality.PARTLY:
            return "not all faces are swapped"
        case Quality.UNCHANGED:
            return "the result is paid for, and the face is unchanged"
        case Quality.NO_FACE:
            return "the result is paid for, and no face was found in it"
    return "it is unknown whether the face is swapped"
