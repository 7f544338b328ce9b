"""Run two stages of work at once: `ahead` runs the previous stage in a thread, `behind` the next one.

The native libraries release Python's lock, so one thread per stage is enough. Short queues limit the memory.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")

LENGTH = 6
"""Maximum of items between two stages."""
LOOK = 0.1
"""Seconds until a waiting thread checks whether the other side has stopped."""


class _ItemQueue(Generic[Item]):
    """A short queue between two threads. It has an end, or an error that ends it early."""

    def __init__(self) -> None:
        self._items: queue.Queue[Item | None] = queue.Queue(LENGTH)
        self.stopped = threading.Event()
        self.error: BaseException | None = None

    def put(self, item: Item | None) -> bool:
        """Put an item into the queue. Return False if the other side has stopped."""
        while not self.stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(item, timeout=LOOK)
                return True
        return False

    def take(self) -> Iterator[Item]:
        """Yield items until the end (None) or until stopped."""
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
    """Iterate over `items` in a thread, a few items ahead. The consumer gets the thread's error."""
    line: _ItemQueue[Item] = _ItemQueue()

    def work() -> None:
        try:
            for item in items:
                if not line.put(item):
                    return
        except BaseException as error:  # noqa: BLE001 - raised again below, in the consumer's thread
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
    """Yield a function that hands items to `work`, which runs in a thread. Leaving the context waits for the last item.

    The next call, or leaving the context, raises an error of `work`.
    """
    line: _ItemQueue[Item] = _ItemQueue()

    def run() -> None:
        try:
            for item in line.take():
                work(item)
        except BaseException as error:  # noqa: BLE001 - raised again in hand() or below
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
