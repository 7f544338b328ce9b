"""Two stages of work at once: `ahead` runs the one before in a thread, `behind` the one after.

The native libraries release Python's lock, so one thread a stage is enough. Queues are short: memory stays flat.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")

LENGTH = 6
"""Items between two stages."""
LOOK = 0.1
"""Seconds after which a thread that cannot hand on its work looks whether anyone still wants it."""


class _ItemQueue(Generic[Item]):
    """A short queue with an end, and with an error that ends it early. One thread puts, another takes."""

    def __init__(self) -> None:
        self._items: queue.Queue[Item | None] = queue.Queue(LENGTH)
        self.stopped = threading.Event()
        self.error: BaseException | None = None

    def put(self, item: Item | None) -> bool:
        """False: the other side has stopped."""
        while not self.stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(item, timeout=LOOK)
                return True
        return False

    def take(self) -> Iterator[Item]:
        """What was put, up to the end (None) or until it is stopped."""
        while True:
            try:
                item = self._items.get(timeout=LOOK)
            except queue.Empty:
                if self.stopped.is_set():
                    return
                continue
            if item is None:
                return
            yield item


@contextlib.contextmanager
def ahead(items: Iterable[Item]) -> Iterator[Iterator[Item]]:
    """Iterate over `items` in a thread that runs a few items ahead. Its error is raised where the items are taken."""
    line: _ItemQueue[Item] = _ItemQueue()

    def work() -> None:
        try:
            for item in items:
                if not line.put(item):
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised again below, in the thread that asked
            line.error = error
        finally:
            line.put(None)

    def taken() -> Iterator[Item]:
        yield from line.take()
        if line.error is not None:
            raise line.error

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        line.stopped.set()
        thread.join()


@contextlib.contextmanager
def behind(work: Callable[[Item], None]) -> Iterator[Callable[[Item], None]]:
    """Gives a function that hands an item to `work`, done in order in a thread. Leaving waits for the last one.

    An error of `work` is raised by the next call, or on leaving.
    """
    line: _ItemQueue[Item] = _ItemQueue()

    def run() -> None:
        try:
            for item in line.take():
                work(item)
        except BaseException as error:  # noqa: BLE001 - it is raised again by hand() or below
            line.error = error
            line.stopped.set()

    def hand(item: Item) -> None:
        if not line.put(item) and line.error is not None:
            raise line.error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield hand
        line.put(None)
    except BaseException:
        line.stopped.set()
        raise
    finally:
        thread.join()
    if line.error is not None:
        raise line.error
