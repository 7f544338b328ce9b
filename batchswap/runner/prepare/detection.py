"""Detect the faces of a target. Detections are free, may be repeated, and count in the window.

A detection is valid for one hour and one URL (api.md, "Endpoints"). All rows with that target share it, including
those of later runs.
"""

from math import inf

from batchswap import wire
from batchswap.ledger import api_cache
from batchswap.ledger.api_cache import Detected
from batchswap.polling import Durations
from batchswap.runner.context.run_context import RunContext
from batchswap.runner.prepare.free_calls import ask
from batchswap.runner.prepare.steps import TaskInvalid
from batchswap.runner.stop_reasons import RowRefused, Stopped
from batchswap.runner.sync.waits import Locks, rest
from batchswap.tasks import Faces, MediaKind, Model, clean

DOUBTFUL = 60.0
"""Age in seconds from which a refusal may mean that the detection has expired, earlier than documented."""
PATIENCE = 1800.0
"""Longest time in seconds for one detection."""
FIRST, GROWTH, LONGEST = 0.5, 1.5, 10.0
"""The first wait, its growth, and the longest wait between polls while typical durations are unknown."""


def is_doubtful(found: Detected, now: float) -> bool:
    """Return whether a refused submit or estimate may be due to the detection's age. `now` is a Unix time."""
    return now - found.detected_at > DOUBTFUL


class Detecting:
    """One detection at a time per target. A failed one is not repeated for other rows of the run."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._locks = Locks()
        self._failed: dict[str, TaskInvalid] = {}
        self._durations = Durations()

    async def detect(self, model: Model, url: str) -> Detected:
        """Return the target's faces. Raise TaskInvalid or Stopped."""
        run, digest = self._run, api_cache.target_digest(model, url)
        async with self._locks.hold(digest):
            if (failed := self._failed.get(digest)) is not None:
                raise TaskInvalid(failed.code, failed.reason)
            known = api_cache.find_detection(run.ledger.db, run.account.owner, digest, run.clock.now())
            if known is not None:
                return known
            try:
                found = await self._repeat(model.media_kind, url, digest)
            except RowRefused as refusal:
                self._failed[digest] = TaskInvalid("422", str(refusal))
                raise
            except TaskInvalid as invalid:
                self._failed[digest] = invalid
                raise
            await run.ledger.do(api_cache.remember_detection, run.account.owner, url, found)
            return found

    async def forget(self, found: Detected) -> None:
        """Forget a detection that the API refuses, so that the next row detects again."""
        run = self._run
        await run.ledger.do(api_cache.forget_detection, run.account.owner, found)

    async def _repeat(self, kind: MediaKind, url: str, digest: str) -> Detected:
        """Detect until it succeeds or the retries are used up."""
        run, tries = self._run, 0
        while True:
            asked_at = run.clock.now()
            answer = await ask(run, "detect", lambda: run.api.detect(kind, url))
            detect_task_id = wire.DetectAccepted.from_json(answer.data if answer else None).detect_task_id
            if detect_task_id is None:
                raise TaskInvalid("detect-failed", "the API did not start the face detection")
            found = await self._wait(detect_task_id)
            if found.status == wire.SUCCEEDED and found.detect_id is not None:
                return Detected(digest, found.detect_id, tuple((face.id, face.link) for face in found.faces), asked_at)
            tries += 1
            if tries > run.settings.retries:
                why = clean(found.error) or "the API gives no reason"
                raise TaskInvalid("detect-failed", f"no faces were detected: {why}")
            await self._sleep(run.backoff(tries))

    async def _wait(self, detect_task_id: str) -> wire.Detection:
        """Return the finished detection. Raise TaskInvalid if it takes too long."""
        clock = self._run.clock
        started, seen = clock.monotonic(), 0.0
        while seen < PATIENCE:
            await self._sleep(started + self._ask_at(seen) - clock.monotonic())
            asked_at = clock.monotonic()
            age = asked_at - started
            answer = await ask(self._run, "detect", lambda: self._run.api.detect_result(detect_task_id))
            if (silence := clock.monotonic() - asked_at) > LONGEST:
                started += silence  # do not count an outage as time of the detection
            if answer is None:  # the API may have forgotten it during an outage
                return wire.Detection(detect_task_id, wire.FAILED, error="the API no longer knows the detection")
            found = wire.Detection.from_json(answer.data)
            if found.status in (wire.SUCCEEDED, wire.FAILED):
                self._durations.ended(clock.monotonic() - started, seen)
                return found
            self._durations.survived(seen, age)
            seen = age
        raise TaskInvalid("detect-failed", f"the face detection did not finish within {PATIENCE / 60:g} min")

    def _ask_at(self, seen: float) -> float:
        """Return the age at which to poll a detection that was still running at age `seen`."""
        grown = max(FIRST, min(seen * GROWTH, seen + LONGEST))
        if not self._durations.seen or self._run.settings.rate_limit is None:
            return grown
        # With a rate limit, each poll takes another request's place, so wait until the detection has likely ended.
        likely = self._durations.age_at(seen, 0.5)
        return min(max(likely, seen * 1.1, FIRST), seen + PATIENCE / 10) if likely < inf else grown

    async def _sleep(self, seconds: float) -> None:
        """Wait. Raise Stopped when submitting has stopped, because the faces are no longer needed."""
        if not await rest(seconds, self._run.state.submits_over):
            raise Stopped


def assign(wanted: Faces, found: Faces) -> Faces:
    """Return the new picture of every detected face. Faces that the row does not name keep their own.

    Raise TaskInvalid if the row names a face that was not detected.
    """
    named, detected = dict(wanted), dict(found)
    missing = [face_id for face_id in named if face_id not in detected]
    if missing:
        raise TaskInvalid("face-not-found", not_found(missing, list(detected)))
    shown = {face_id: named.get(face_id) or link for face_id, link in found}
    return tuple((face_id, shown[face_id]) for face_id in sorted(shown) if shown[face_id])


def not_found(missing: list[int], detected: list[int]) -> str:
    """Return the message for faces that a row names but the target does not have."""
    faces = f"face {missing[0]} was" if len(missing) == 1 else f"faces {', '.join(map(str, missing))} were"
    return f"{faces} not detected; detected: {', '.join(map(str, sorted(detected))) or 'none'}"
