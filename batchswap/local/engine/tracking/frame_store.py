"""The faces of all frames in a file without a name, so that memory does not grow with the clip."""

import os
import tempfile
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from batchswap.local.engine.facemesh import mesh
from batchswap.local.engine.facemesh.geometry import Floats

RECORD = np.dtype([("points", "<f4", (mesh.POINTS, 3)), ("colours", "u1", (mesh.SURFACE, 3))])


class FrameStore:
    """An array of records on disk. The file disappears with the process, even after a crash."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._count = 0

    def append(self, points: Floats, colours: NDArray[np.uint8]) -> int:
        """Append a record and return its number."""
        record = np.zeros((), RECORD)
        record["points"], record["colours"] = points, colours
        self._file.seek(0, os.SEEK_END)
        self._file.write(record.tobytes())
        self._count += 1
        return self._count - 1

    def read(self, number: int) -> tuple[Floats, Floats]:
        """Return the points (478, 3) and colours (468, 3; code values) of a record."""
        self._file.seek(number * RECORD.itemsize)
        record = np.frombuffer(self._file.read(RECORD.itemsize), RECORD)[0]
        return record["points"], record["colours"].astype(np.float32)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
