"""Proof of swap: whether the frames of a result show the new face in the place of the old one.

This import is cheap: the first call of `examine` loads the libraries.
"""

from batchswap.delivery import missing_packages
from batchswap.delivery.examination import Examination, SwapProof
from batchswap.errors import BatchswapError, MissingExtra
from batchswap.local.engine import requirements
from batchswap.states import Quality

__all__ = ["check_usable", "examine"]


def examine(job: Examination) -> SwapProof:
    """Look at a result, and write its strip if the job names one.

    Nothing is raised for bad media or missing packages: the quality is then `unknown`, and `evidence["reason"]` says
    why. This redirects the stderr of the process and limits OpenCV to one thread, so call it in a worker process.
    """
    try:
        requirements.load()
        from batchswap.delivery.proof.examine_frames import examine as work  # noqa: PLC0415

        return work(job)
    except BatchswapError as error:
        return SwapProof(Quality.UNKNOWN, None, None, {"reason": str(error)})


def check_usable() -> list[str]:
    """Return what is missing for examinations, with the remedy; empty if nothing is. Nothing is loaded.

    A library that is installed and cannot be loaded is found by the check of the local engine.
    """
    missing = missing_packages()
    return [str(MissingExtra("proof", *missing))] if missing else []
