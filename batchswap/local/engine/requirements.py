"""Whether everything that the engine needs is on this machine, said in words when it is not."""

import functools
import importlib
import importlib.util
import os
import re
from collections.abc import Callable

from batchswap.errors import BatchswapError, EngineError, MissingExtra
from batchswap.local.engine import model
from batchswap.local.engine.native_stderr import kept_stderr

MODULES = ("numpy", "av", "cv2", "mediapipe", "PIL")
EXTRA = "local"
SETTINGS = {"OPENBLAS_NUM_THREADS": "1", "OPENCV_IO_MAX_IMAGE_PIXELS": "100000000", "OPENCV_LOG_LEVEL": "SILENT"}

DEBIAN = {
    "libGL.so": "libgl1",
    "libEGL.so": "libegl1",
    "libGLESv2.so": "libgles2",
    "libglib-2.0.so": "libglib2.0-0",
    "libgthread-2.0.so": "libglib2.0-0",
}
"""Shared library -> the Debian package that has it."""

LIBRARY = re.compile(r"(lib[\w.+-]+\.so)[\w.]*: cannot open shared object file")


def load() -> None:
    """Import what the engine needs. Raises MissingExtra, or EngineError("engine", …) naming Debian packages."""
    # All these count only before the libraries are there. Threads for products of small matrices would spin on cores
    # that the encoder wants; a small file can hold a picture that takes all memory; warnings are told by our errors.
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    for name in MODULES:
        load_one(name)


def load_one(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        raise MissingExtra(EXTRA, name)
    try:
        importlib.import_module(name)
        if name == "mediapipe":
            importlib.import_module("mediapipe.tasks.python.vision")
    except (ImportError, OSError) as error:
        raise EngineError("engine", explain(name, str(error))) from error


def explain(name: str, said: str) -> str:
    """A sentence for an import that failed with the words `said`."""
    found = LIBRARY.search(said)
    if found is None:
        return f"{name} cannot be loaded: {said}"
    package = DEBIAN.get(found[1])
    packages = " ".join(dict.fromkeys(DEBIAN.values()))
    remedy = f"apt-get install {packages}" if package else f"install the system package that has {found[1]}"
    return f"{name} needs the system library {found[1]}, which is not on this machine: {remedy}"


def find_problems() -> list[str]:
    """All that is missing, one sentence each."""
    problems = []
    for name in MODULES:
        problems += said_by(functools.partial(load_one, name))
    problems += said_by(model.checked_path)
    return problems or said_by(try_finder)


def said_by(check: Callable[[], object]) -> list[str]:
    try:
        check()
    except BatchswapError as error:
        return [str(error)]
    return []


def try_finder() -> None:
    """Open the face finder once: its own library (libEGL, libGLES) is loaded only then."""
    from batchswap.local.engine.tracking.finder import Finder  # noqa: PLC0415

    with kept_stderr() as said:
        try:
            Finder.for_stills().close()
        except (OSError, RuntimeError, ValueError) as error:
            raise EngineError("engine", explain("mediapipe", f"{error} {said.text()}".strip())) from error
