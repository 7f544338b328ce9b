"""Do all waiting file work in one call of one thread, with one sync for each file and folder.

For a small file, the call takes longer than its work; threads that work in one folder block each other; and one sync of
a folder is enough for all names that were added before.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from batchswap.downloads.output_paths import Place, opened

Found = TypeVar("Found")

Steps = Generator[int, None, Found]
"""File work in two halves. It yields the open file or folder that must be synced before the second half."""


class Folders(ExitStack):
    """A context manager that opens each folder of one batch only once."""

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[tuple[Path, str], int] = {}

    def open(self, place: Place) -> int:
        """Return the place's open folder, created if needed. It is closed with the batch. Raise DownloadError."""
        key = place.out, place.folder
        if key not in self._open:
            self._open[key] = self.enter_context(opened(place))
        return self._open[key]


FileWork = Callable[[Folders], Steps[Any]]
Waiter = tuple[FileWork, asyncio.Future[Any]]
TripResult = tuple[Any, BaseException | None]
"""The result or the error of one piece of work."""


class Filing:
    """Do the file work of all waiting callers. Each gets its own result or error."""

    def __init__(self) -> None:
        self._waiting: list[Waiter] = []
        self._is_going = False

    async def do(self, work: Callable[[Folders], Steps[Found]]) -> Found:
        """Return the result of the work, or raise its error."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Found] = loop.create_future()
        self._waiting.append((work, future))
        if not self._is_going:
            self._is_going = True
            loop.call_soon(self._go)  # together with calls that are made until then
        return await to_its_end(future)

    def _go(self) -> None:
        group, self._waiting = self._waiting, []
        try:
            going = asyncio.get_running_loop().run_in_executor(None, trip, [work for work, _ in group])
        except RuntimeError as error:  # no thread can be started
            self._is_going = False
            for _, future in group:
                future.set_exception(error)
            return
        going.add_done_callback(lambda gone: self._come_back(group, gone))

    def _come_back(self, group: list[Waiter], gone: asyncio.Future[list[TripResult]]) -> None:
        if self._waiting:
            self._go()
        else:
            self._is_going = False
        error = gone.exception()
        outcomes = gone.result() if error is None else [(None, error)] * len(group)
        for (_, future), (value, failure) in zip(group, outcomes, strict=True):
            if failure is None:
                future.set_result(value)
            else:
                future.set_exception(failure)


async def to_its_end(running: asyncio.Future[Found]) -> Found:
    """Wait for work in a thread even if the caller is cancelled, so that no file is closed while it is written."""
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # so that asyncio does not report it as never retrieved
        raise


def trip(works: Sequence[FileWork]) -> list[TripResult]:
    """Do all first halves, sync each yielded file and folder once, and do the second halves. Blocks."""
    outcomes: list[TripResult] = [(None, None)] * len(works)
    waiting = defaultdict[int, list[tuple[int, Steps[Any]]]](list)
    with Folders() as folders:
        for number, work in enumerate(works):
            steps = work(folders)
            try:
                waiting[next(steps)].append((number, steps))
            except Exception as error:  # noqa: BLE001 - raised by the caller of this work
                outcomes[number] = None, error
        for handle, those in waiting.items():
            failure = _sync(handle)
            for number, steps in those:
                outcomes[number] = _end(steps, failure)
    return outcomes


def _sync(handle: int) -> OSError | None:
    try:
        os.fsync(handle)
    except OSError as error:
        return error
    return None


def _end(steps: Steps[Any], failure: OSError | None) -> TripResult:
    try:
        if failure is None:
            next(steps)
        else:
            steps.throw(failure)
    except StopIteration as end:
        return end.value, None
    except Exception as error:  # noqa: BLE001 - as above
        return None, error
    raise RuntimeError("file work has two halves")
