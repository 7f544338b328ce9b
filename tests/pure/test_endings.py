"""Endings of results that do not match the file's format."""

import pytest

from batchswap.downloads import false_ending


@pytest.mark.parametrize(
    ("output", "media_type", "words"),
    [
        ("b/still.png", "image/jpeg", "still.png holds JPEG"),
        ("b/clip.MP4", "video/webm", "clip.MP4 holds WebM"),
        ("b/clip.mp4", "video/mp4", ""),
        ("b/clip.mp4", "video/quicktime", ""),
        ("b/clip.mkv", "video/webm", ""),
        ("b/clip.mov", "video/mp4", "clip.mov holds MP4"),
        ("b/clip", "video/webm", ""),
        ("b/clip.v2", "video/webm", ""),
        ("b/clip.mp4", "", ""),
    ],
)
def test_wrong_endings(output: str, media_type: str, words: str) -> None:
    assert false_ending(output, media_type) == words
