"""Look for faces in the inputs of manifests with the local engine, several at the same time."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from batchswap.errors import EngineError
from batchswap.local import engine
from batchswap.local.engine import FaceSurvey
from batchswap.preflight.faces.pool import EngineUnusable, LookPool, NotExamined
from batchswap.preflight.faces.remarks import no_face, remarks
from batchswap.preflight.faces.search import FaceSearch
from batchswap.preflight.media import Findings, Use

ShowCount = Callable[[int, int], None]
AT_ONCE = 64
"""Files that are read at the same time, at most: the processes then always have work."""


class InputLook:
    """Examines the inputs, and adds what it finds in their order. `progress` gets the number done, and of all."""

    def __init__(self, looks: LookPool, search: FaceSearch, progress: ShowCount, *, is_local: bool) -> None:
        """`is_local`: the local engine will also do the swaps, so a file that it cannot read is a problem."""
        self._looks, self._search, self._progress, self._is_local = looks, search, progress, is_local
        self._places = asyncio.Semaphore(AT_ONCE)
        self._done = 0

    async def __call__(self, named: list[Use], found: Findings) -> None:
        """See `media.CloseLook`."""
        wanted = [use for use in named if use.folder or (self._search.fetches and use.role != "face")]
        if not wanted:
            return
        self._progress(0, len(wanted))
        outcomes = await asyncio.gather(*(self._look(use, len(wanted)) for use in wanted))
        unusable = next((each for each in outcomes if isinstance(each, EngineUnusable)), None)
        for use, outcome in zip(wanted, outcomes, strict=True):
            if not isinstance(outcome, EngineUnusable):
                self._add(use, outcome, found)
        if unusable is not None:
            found.remarks.append(wanted[0].problem(f"not all inputs were checked for faces: {unusable}"))

    async def _look(self, use: Use, count: int) -> FaceSurvey | tuple[str, ...] | Exception:
        try:
            async with self._places:
                return await self._outcome(use)
        except (EngineError, NotExamined) as error:
            return error
        finally:
            self._done += 1
            self._progress(self._done, count)

    async def _outcome(self, use: Use) -> FaceSurvey | tuple[str, ...]:
        if use.role == "face":
            return await self._looks.run(look_at_face, use.path)
        if use.folder:
            return await self._search.look_at_file(use.path, use.role)
        return await self._search.look_at_url(use.given, use.role)

    def _add(self, use: Use, outcome: FaceSurvey | tuple[str, ...] | Exception, found: Findings) -> None:
        match outcome:
            case EngineError() if "no face found" in outcome.message:
                found.problems.append(use.problem(f"no face found in {use.given}"))
            case Exception() if use.role == "face" or (self._is_local and use.folder):
                found.problems.append(use.problem(f"{use.given}: {outcome}"))
            case Exception():
                found.remarks.append(use.problem(f"{use.shown} was not checked for faces: {outcome}"))
            case FaceSurvey(at_once=0):
                found.seconds += self._seconds(use, outcome)
                found.problems.append(use.problem(no_face(use.shown, outcome, is_free=self._is_local)))
            case FaceSurvey():
                found.seconds += self._seconds(use, outcome)
                found.targets += 1
                words = remarks(use.shown, outcome, is_primary=use.is_primary)
                found.remarks += [use.problem(each) for each in words]
            case notes:
                found.faces += 1
                found.remarks += [use.problem(f"{use.given}: {note}") for note in notes]

    def _seconds(self, use: Use, survey: FaceSurvey) -> float:
        """Return the length of a local video; 0 if `media` has counted it already."""
        return survey.seconds if self._is_local and use.folder else 0.0


def look_at_face(path: Path) -> tuple[str, ...]:
    """Return remarks on the picture of a new face. Raise EngineError if it is unusable."""
    engine.probe(path, "face")
    return engine.look_at_face(path)
