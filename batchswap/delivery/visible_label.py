"""Deliver results with a visible label: encode them again, then label and sign them as usual.

The received file is the part until the finished one takes its place, so that a label is drawn once, whenever the run
is killed: an interrupted call left either the received file or the finished one.
"""

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from batchswap.errors import ProvenanceError
from batchswap.local import engine
from batchswap.provenance.delivered_file import SignedFile, SigningJob, deliver_signed, finished, received_type

_ENDINGS = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}
_DRAWN = "drawn"


def deliver_drawn(job: SigningJob) -> SignedFile:
    """Draw the visible label of the facts, then label and sign the result. Raise EngineError like `deliver_signed`."""
    if (done := finished(job)) is not None:
        return done
    try:
        ending = ".mp4" if job.facts.kind == "video" else _ENDINGS[received_type(job)]
        _remove_left(job.destination)
        # A name of this process: one that outlives its run must not write into the file of the next run.
        drawn = job.destination.with_name(f"{job.destination.name}.{os.getpid()}.{_DRAWN}{ending}")
        try:
            notes = engine.draw_label(job.source, drawn, job.facts.visible_label)
            done = deliver_signed(msgspec.structs.replace(job, content=drawn))
        finally:
            drawn.unlink(missing_ok=True)
    except OSError as error:
        path = error.filename or job.destination
        raise ProvenanceError("disk", f"{path} cannot be read or written: {error.strerror or error}") from error
    return msgspec.structs.replace(done, remarks=(*notes, *done.remarks))


def _remove_left(destination: Path) -> None:
    """Remove what killed calls for this destination have left."""
    for path in destination.parent.glob(f"{_escaped(destination.name)}.*.{_DRAWN}.*"):
        with suppress(OSError):
            path.unlink()


def _escaped(name: str) -> str:
    return "".join(f"[{each}]" if each in "*?[" else each for each in name)
