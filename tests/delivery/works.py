"""Examinations that go wrong, for worker processes. A separate module, because they import it by its name."""

import os
import signal
import time
from typing import Any

from batchswap.delivery.examination import Examination, SwapProof
from batchswap.states import Quality


def pid() -> int:
    return os.getpid()


def work(job: Examination) -> SwapProof:
    """Do what the result says: crash, crash once, hang, fail, draw a strip, or just find a swap.

    Inputs that are not given are missing in the evidence, and so is the target for the word "damaged".
    """
    is_drawn = False
    inputs = [("target", job.target), *(("face", face.path) for face in job.faces)]
    missing = {name: "it cannot be had" for name, path in inputs if path is None}
    match job.result.read_text():
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "crash once":
            job.result.write_text("fine")
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(60)
        case "fail":
            raise ValueError("a bug")
        case "drawn" if job.strip is not None:
            job.strip.parent.mkdir(parents=True, exist_ok=True)
            job.strip.write_bytes(b"strip")
            is_drawn = True
        case "damaged":
            missing["target"] = "the target is damaged"
    evidence: dict[str, Any] = {
        "pid": os.getpid(),
        "nice": os.nice(0),
        "target": job.target and job.target.read_text(),
        "faces": [face.path and face.path.read_text() for face in job.faces],
    }
    evidence |= {"missing": missing} if missing else {}
    return SwapProof(Quality.SWAPPED, 1.0, 0.9, evidence, is_drawn)
