"""Whether a file's ending says what the file holds. Pure."""

from pathlib import PurePosixPath

_ENDINGS: dict[str, tuple[str, ...]] = {
    "video/mp4": (".mp4", ".m4v"),
    "video/quicktime": (".mov", ".qt", ".mp4", ".m4v"),
    "video/webm": (".webm", ".mkv"),
    "video/x-matroska": (".mkv",),
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/webp": (".webp",),
    "image/gif": (".gif",),
}
"""Players take one MP4-like container for the other, but not all of them all others."""

_NAMES = {
    "video/mp4": "MP4",
    "video/quicktime": "QuickTime",
    "video/webm": "WebM",
    "video/x-matroska": "Matroska",
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WebP",
    "image/gif": "GIF",
}


def false_ending(output: str, media_type: str) -> str:
    """Return in words what a file holds when its ending says another format; "" when it says this one, or none."""
    ending = PurePosixPath(output).suffix.lower()
    is_known = any(ending in endings for endings in _ENDINGS.values())
    if not is_known or media_type not in _ENDINGS or ending in _ENDINGS[media_type]:
        return ""
    return f"{PurePosixPath(output).name} holds {_NAMES[media_type]}"
