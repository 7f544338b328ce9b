"""Check that this machine has everything that the engine needs, and name a remedy if not."""

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
"""Debian packages by shared library."""

LIBRARY = re.compile(r"(lib[\w.+-]+\.so)[\w.]*: cannot open shared object file")


def load() -> None:
    """Import the engine's libraries. Raises MissingExtra, or EngineError("engine", …) that names Debian packages."""
    # These settings work only before the libraries are loaded. Threads for small matrix products would take cores from
    # the encoder, a small file can expand to a picture that fills the memory, and errors already replace the warnings.
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    for name in MODULES:
        load_one(name)


def check_installed() -> None:
    """Raise MissingExtra if a library of the engine is not installed. Import none."""
    if missing := [name for name in MODULES if importlib.util.find_spec(name) is None]:
        raise MissingExtra(EXTRA, *missing)


def load_one(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        raise MissingExtra(EXTRA, name)
    try:
        importlib.import_module(name)
        if name == "mediapipe":
            importlib.import_module("mediapipe.tasks.python.vision")
    except (ImportError, OSError) as error:
        raise EngineError("engine", explain(name, str(error))) from error


def explain(name: str, error: str) -> str:
    """Return a message for an import that failed with `error`."""
    found = LIBRARY.search(error)
    if found is None:
        return f"{name} cannot be loaded: {error}"
    package = DEBIAN.get(found[1])
    packages = " ".join(dict.fromkeys(DEBIAN.values()))
    remedy = f"apt-get install {packages}" if package else f"install the system package that has {found[1]}"
    return f"{name} needs the system library {found[1]}, which is not installed: {remedy}"


def check_usable() -> list[str]:
    """Return the problems of the engine on this machine with their remedies; empty if it works."""
    problems = []
    for name in MODULES:
        problems += message_of(functools.partial(load_one, name))
    problems += message_of(model.checked_path)
    return problems or message_of(try_finder)


def message_of(check: Callable[[], object]) -> list[str]:
    """Return the message of the error that `check` raises, if any."""
    try:
        check()
    except BatchswapError as error:
        return [str(error)]
    return []


def try_finder() -> None:
    """Open the face finder once, because it loads its libraries (libEGL, libGLES) only then."""
    from batchswap.local.engine.tracking.finder import Finder  # noqa: PLC0415

    with kept_stderr() as captured:
        try:
            Finder.for_stills().close()
        except (OSError, RuntimeError, ValueError) as error:
            raise EngineError("engine", explain("mediapipe", f"{error} {captured.text()}".strip())) from error
