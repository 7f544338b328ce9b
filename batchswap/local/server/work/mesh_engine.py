"""The engine of this package behind the server's interface."""

import tempfile
from pathlib import Path

import msgspec

from batchswap.errors import EngineError
from batchswap.local import engine
from batchswap.local.server.work.engine_interface import FACE, IMAGE, InputInfo


class MeshEngine(msgspec.Struct, frozen=True):
    """Finds faces with MediaPipe and bends the new face onto the old one's mesh."""

    def look(self, path: Path, culprit: str) -> InputInfo:
        info = engine.probe(path, culprit)
        if culprit == FACE and info.kind == IMAGE:
            with tempfile.TemporaryDirectory() as folder:
                if not engine.detect(path, Path(folder), threads=1).faces:
                    raise EngineError(FACE, "no face found in the picture")
        return InputInfo(info.kind, info.duration_s)

    def swap(self, job: engine.SwapJob) -> str:
        return engine.swap(job).remark

    def detect(self, path: Path, folder: Path, threads: int) -> tuple[tuple[int, Path], ...]:
        faces = engine.detect(path, folder, threads).faces
        if not faces:
            raise EngineError("", "no face found")
        return tuple((face.id, face.picture) for face in faces)
