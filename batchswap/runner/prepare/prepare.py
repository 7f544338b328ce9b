"""Prepare queued tasks for their submit: check the output, then run the model's free steps."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import inf

import msgspec

from batchswap import wire
from batchswap.errors import DownloadError
from batchswap.ledger import queries, transitions
from batchswap.ledger.api_cache import Detected
from batchswap.ledger.enrolment.input_files import Input
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.context.run_state import Refusals
from batchswap.runner.prepare import detection
from batchswap.runner.prepare.detection import Detecting
from batchswap.runner.prepare.face_check import face_check
from batchswap.runner.prepare.pricing import CostEstimates
from batchswap.runner.prepare.steps import FreeCallFailed, Step, TaskInvalid, before_submit
from batchswap.runner.prepare.uploads import Uploading
from batchswap.runner.stop_reasons import RowRefused, Stopped
from batchswap.runner.task_context import Ready, seconds_of
from batchswap.tasks import Attempt, Faces, Task, is_url

LOOK_AGAIN = 1.0
"""Seconds after which to ask again whether the file system of --out answers."""


class Draft(msgspec.Struct):
    """A task in preparation. Each step fills in its part: URLs, the target's faces, the price."""

    task: Task
    again: Attempt | None
    target: str = ""
    face: str = ""
    faces: Faces = ()
    detected: Detected | None = None
    seconds: float | None = None
    price: float = 0.0
    used: tuple[Input, ...] = ()
    good_until: float = inf

    def ready(self) -> Ready:
        """Return the prepared task. Raise TaskInvalid as `body` does."""
        return Ready(
            self.task,
            self.body(),
            self.price,
            self.again,
            seconds=self.seconds,
            detected=self.detected,
            used=self.used,
            good_until=self.good_until,
        )

    def body(self) -> wire.CreateTask:
        """Return the request body. Raise TaskInvalid if the row names a face that was not detected."""
        model = self.task.model
        if self.detected is None:
            return wire.CreateTask(model, {model.target_field: self.target, "new_face": self.face})
        faces = detection.assign(self.faces, self.detected.faces)
        listed = [{"face_id": face_id, "target": url} for face_id, url in faces]
        inputs = {"detect_id": self.detected.detect_id, model.target_field: self.target, "faces": listed}
        return wire.CreateTask(model, inputs)


class Preparing:
    """Prepares queued tasks."""

    def __init__(self, run: RunContext, prices: CostEstimates) -> None:
        self._run, self._prices = run, prices
        self._uploading, self._detecting = Uploading(run), Detecting(run)
        self._faces = face_check(run, self._uploading)
        self._refusals = Refusals(run.state, run.settings.same_refusals, "rows")
        self._alone: set[int] = set()
        """Tasks whose output no other task shares."""
        self._steps: dict[Step, Callable[[Draft], Awaitable[None]]] = {
            Step.UPLOAD: self._upload,
            Step.DETECT: self._detect,
            Step.PRICE: self._price,
        }

    async def prepare(self, task: Task, again: Attempt | None = None) -> Ready | None:
        """Return the prepared task; None if it has failed (which is recorded) or the run ends."""
        draft = Draft(task, again)
        try:
            if again is None:
                await self._check_output(task)
                if self._faces is not None:
                    await self._faces.check(task)
            for step in before_submit(task.model):
                await self._steps[step](draft)
            self._refusals.clear()
            return draft.ready()
        except Stopped:
            return None
        except RowRefused as refusal:
            self._refusals.note("422")
            await self._fail(task, "422", str(refusal), again)
        except FreeCallFailed as failed:
            self._refusals.note(failed.code, "failed")
            await self._fail(task, failed.code, failed.reason, again)
        except TaskInvalid as invalid:
            await self._fail(task, invalid.code, invalid.reason, again)
        except DownloadError as error:
            await self._fail(task, error.reason, str(error), again)
        return None

    async def close(self) -> None:
        """End what the preparations started."""
        if self._faces is not None:
            await self._faces.close()

    async def _fail(self, task: Task, code: str, reason: str, again: Attempt | None) -> None:
        if again is not None:
            return  # an uncertain task stays uncertain, whatever happens to its inputs
        run = self._run
        await run.ledger.write(transitions.unfit, task.id, code=code, reason=reason)

    def expect(self, tasks: Sequence[Task]) -> None:
        """Look up the outputs of the next tasks in one query."""
        ids = [task.id for task in tasks]
        self._alone.update(ids)
        self._alone -= queries.sharing_output(self._run.ledger.db, ids)

    async def _check_output(self, task: Task) -> None:
        """Raise TaskInvalid if the output belongs to another task or file.

        Tasks are enrolled before the run, so an early lookup finds all owners.
        """
        owner = None if task.id in self._alone else queries.output_owner(self._run.ledger.db, task.output, task.id)
        self._alone.discard(task.id)
        if owner is not None:
            raise TaskInvalid("output-taken", f"{task.output} is also the output of {owner}")
        store = self._run.store
        while not store.answers():
            await self._run.clock.sleep(LOOK_AGAIN)
        if words := store.obstacle(task.output):
            raise TaskInvalid("output-taken", f"{task.output} cannot be stored: {words}")
        if not store.taken(task.output):
            return
        own = queries.previous_result(self._run.ledger.db, task.id).replaces
        if own is None or not await store.holds(task.output, own):
            raise TaskInvalid("output-taken", f"{task.output} exists already and was not made by this task")

    async def _upload(self, draft: Draft) -> None:
        task = draft.task
        if not is_url(task.target):
            draft.seconds = await asyncio.to_thread(seconds_of, task)
        draft.target = await self._place(draft, task.target)
        draft.face = await self._place(draft, task.face) if task.face else ""
        draft.faces = tuple([(face_id, await self._place(draft, given)) for face_id, given in task.faces])

    async def _place(self, draft: Draft, given: str) -> str:
        url, good_until, used = await self._uploading.url_of(draft.task, given)
        draft.good_until = min(draft.good_until, good_until)
        if used is not None:
            draft.used = (*draft.used, used)
        return url

    async def _detect(self, draft: Draft) -> None:
        draft.detected = await self._detecting.detect(draft.task.model, draft.target)
        draft.good_until = min(draft.good_until, draft.detected.good_until)
        draft.body()  # fail early if a named face was not detected

    async def _price(self, draft: Draft) -> None:
        if draft.again is not None:
            draft.price = draft.again.reserved
            return
        try:
            draft.price = await self._prices.of(draft.seconds, draft.body())
        except RowRefused:
            if draft.detected is None or not detection.is_doubtful(draft.detected, self._run.clock.now()):
                raise
            await self._detecting.forget(draft.detected)
            await self._detect(draft)
            draft.price = await self._prices.of(draft.seconds, draft.body())
