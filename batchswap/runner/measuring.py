"""How long a row's target is, where that can be known without asking anybody."""

from pathlib import Path

from batchswap.downloads import movie_seconds
from batchswap.tasks import Task, is_url


def seconds_of(task: Task) -> float | None:
    """Seconds of a video on this disk; None for a still, a URL, and what is no MP4 or MOV."""
    if is_url(task.target) or task.model.target_field != "video_url":
        return None
    return movie_seconds(Path(task.folder, task.target))
