"""A whole swap, from the input files to the result."""

import av
import cv2

from batchswap.errors import EngineError
from batchswap.local.engine.media import probe, stills
from batchswap.local.engine.media.writer import replacing
from batchswap.local.engine.native_stderr import kept_stderr
from batchswap.local.engine.rendering import new_face
from batchswap.local.engine.swap_still import swap_still
from batchswap.local.engine.swap_video import swap_clip
from batchswap.local.engine.values import SwapJob, SwapReport, kind_noun


def swap(job: SwapJob) -> SwapReport:
    """See batchswap.local.engine.swap."""
    culprit = "image" if job.output.suffix.lower() in stills.ENDINGS else "video"
    cv2.setNumThreads(job.threads if job.threads is not None else -1)
    with kept_stderr():
        info = probe.probe(job.target, culprit, job.max_bytes)
        if info.kind != culprit:
            raise EngineError(culprit, f"the file is a {kind_noun(info.kind)}, not a {kind_noun(culprit)}")
        for _, face in job.faces:
            probe.probe(face, "face", job.max_bytes)
        faces = new_face.read_faces(job.faces)
        work = swap_clip if info.kind == "video" else swap_still
        try:
            with replacing(job.output) as part:
                return work(job, info, faces, part)
        except av.error.FFmpegError as error:
            raise EngineError(culprit, f"the {culprit} cannot be processed: {error.strerror}") from error
