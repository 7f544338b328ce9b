"""A worker process: reads calls from standard input, carries them out one by one, writes outcomes to standard output.

When the server dies, however it dies, standard input ends, and the process ends at once with it.
"""

import logging
import os
import pickle
import queue
import signal
import struct
import threading
from typing import Any, BinaryIO

from batchswap.errors import BatchswapError, EngineError

log = logging.getLogger(__name__)

LENGTH = struct.Struct(">I")
DONE, UNFIT, BROKEN = "done", "unfit", "broken"


def pack(value: Any) -> bytes:
    """A frame: the length, then the pickle."""
    body = pickle.dumps(value)
    return LENGTH.pack(len(body)) + body


def perform(call: bytes) -> tuple[Any, ...]:
    """(DONE, value), (UNFIT, culprit, message) for an input that will not do, or (BROKEN, what)."""
    try:
        function, arguments = pickle.loads(call)  # noqa: S301 - it comes from the process that started this one
        return DONE, function(*arguments)
    except EngineError as error:
        return UNFIT, error.culprit, error.message
    except BatchswapError as error:
        return BROKEN, str(error)
    except Exception as error:  # the edge of the process: whatever went wrong is one task's trouble
        log.exception("a call failed")
        return BROKEN, type(error).__name__


def _receive(source: BinaryIO, calls: "queue.SimpleQueue[bytes]") -> None:
    while head := source.read(LENGTH.size):
        calls.put(source.read(LENGTH.unpack(head)[0]))
    os._exit(0)  # also in the middle of a swap: no process is left to take the result


def main() -> None:
    os.umask(0o077)  # what an engine writes is for this user alone, like everything in the server's folder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server to judge
    source = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(source, calls), daemon=True).start()
    while True:
        answers.write(pack(perform(calls.get())))


if __name__ == "__main__":
    main()
