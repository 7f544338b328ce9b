"""Look for a face in the target of each task before anything is uploaded or paid, with --preflight."""

import logging
from pathlib import Path

from batchswap.events import LogEvent
from batchswap.local.engine import FaceSurvey
from batchswap.network import routes_of
from batchswap.preflight.faces.pool import EngineUnusable, LookPool, NotExamined
from batchswap.preflight.faces.remarks import no_face, remarks
from batchswap.preflight.faces.search import FaceSearch
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.prepare.steps import TaskInvalid
from batchswap.runner.prepare.uploads import Uploading
from batchswap.runner.stop_reasons import Stopped
from batchswap.runner.sync.waits import unless
from batchswap.runner.task_context import name_of
from batchswap.settings import Settings
from batchswap.tasks import Task, is_url, public

REMEMBERED = 10_000
"""Most reports to remember."""
ANYWAY = "`batchswap retry` queues it again, and a run without --preflight submits it"


class FaceCheck:
    """Refuses tasks whose target shows no face. A target that cannot be examined is submitted as usual."""

    def __init__(self, run: RunContext, uploading: Uploading, search: FaceSearch) -> None:
        self._run, self._uploading, self._search = run, uploading, search
        self._remarked: set[str] = set()
        """Remarks and reasons that were reported: many tasks may have the same target."""
        self._is_usable = True

    async def check(self, task: Task) -> None:
        """Raise TaskInvalid "no-face", or what the upload of the target would raise. Raise Stopped."""
        if not self._is_usable or not is_checked(self._run.settings, task.target):
            return
        try:
            survey = await unless(self._run.state.submits_over, self._look(task))
        except NotExamined as error:
            self._report_not_examined(task, error)
            return
        if survey is None:
            raise Stopped
        name = public(task.target)
        if not survey.at_once:
            is_free = self._run.settings.provider == "local"
            raise TaskInvalid("no-face", f"{no_face(name, survey, is_free=is_free)}; {ANYWAY}")
        for words in remarks(name, survey, is_primary=bool(task.face)):
            self._report_once(words, words, task)

    async def close(self) -> None:
        """End the processes and remove what was downloaded."""
        await self._search.close()

    async def _look(self, task: Task) -> FaceSurvey:
        kind = task.model.media_kind
        if is_url(task.target):
            return await self._search.look_at_url(task.target, kind)
        path = Path(task.folder, task.target)
        return await self._search.look_at_file(path, kind, await self._uploading.digest_of(path))

    def _report_not_examined(self, task: Task, error: NotExamined) -> None:
        """Report this once for each reason, and once if it concerns all targets."""
        if isinstance(error, EngineUnusable):
            self._is_usable = False
            words = f"--preflight: targets are not checked for faces, and are submitted as usual: {error}"
        else:
            words = f"{public(task.target)} was not checked for faces, and is submitted as usual: {error}"
        self._report_once(str(error), words, task, logging.WARNING)

    def _report_once(self, reason: str, words: str, task: Task, level: int = logging.INFO) -> None:
        if reason not in self._remarked:
            if len(self._remarked) >= REMEMBERED:
                self._remarked.clear()
            self._remarked.add(reason)
            self._run.report(LogEvent.INPUT_SUSPECT, words, level, task=name_of(task))


def is_checked(settings: Settings, target: str) -> bool:
    """Return whether a run with these settings looks for a face in the target."""
    return settings.preflight and (settings.fetch > 0 or not is_url(target))


def face_check(run: RunContext, uploading: Uploading) -> FaceCheck | None:
    """Return the check that the settings ask for."""
    settings = run.settings
    if not settings.preflight:
        return None
    routes = routes_of(settings.proxy)
    search = FaceSearch(LookPool(settings.ahead), fetch=settings.fetch, base_url=run.account.base_url, routes=routes)
    return FaceCheck(run, uploading, search)
