"""A worker process: reads calls from standard input, runs them one by one and writes outcomes to standard output.

Standard input ends when the parent dies for whatever reason. The worker process then exits at once.
"""

import logging
import os
import pickle
import queue
import signal
import struct
import sys
import threading
from typing import Any, BinaryIO

from batchswap.errors import BatchswapError, EngineError

log = logging.getLogger(__name__)

LENGTH = struct.Struct(">I")
DONE, UNFIT, BROKEN = "done", "unfit", "broken"


def pack(value: Any) -> bytes:
    """Return a frame: the length, then the pickle."""
    body = pickle.dumps(value)
    return LENGTH.pack(len(body)) + body


def perform(call: bytes) -> tuple[Any, ...]:
    """Return (DONE, value), (UNFIT, culprit, message) for a bad input, or (BROKEN, reason)."""
    try:
        function, arguments = pickle.loads(call)  # noqa: S301 - from the process that started this one
        return DONE, function(*arguments)
    except EngineError as error:
        return UNFIT, error.culprit, error.message
    except BatchswapError as error:
        return BROKEN, str(error)
    except Exception as error:  # only this task fails, not the process
        log.exception("a call failed")
        return BROKEN, type(error).__name__


def _receive(source: BinaryIO, calls: "queue.SimpleQueue[bytes]") -> None:
    while head := source.read(LENGTH.size):
        calls.put(source.read(LENGTH.unpack(head)[0]))
    os._exit(0)  # even in the middle of a call: there is no parent for the result


def main() -> None:
    os.umask(0o077)  # only this user can read the files that it makes
    os.nice(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    source = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # the output of a library must not mix with the answers
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(source, calls), daemon=True).start()
    while True:
        answers.write(pack(perform(calls.get())))


if __name__ == "__main__":
    main()
