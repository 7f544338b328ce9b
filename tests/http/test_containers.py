"""The check of complete files: real files, cut and damaged ones."""

import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchswap.downloads.media_check.containers import inspect
from batchswap.errors import DownloadError
from batchswap.tasks import MediaKind
from tests.http.samples import PICTURES, VIDEOS, movie, picture, video

WHOLE: dict[str, tuple[bytes, MediaKind, str]] = {
    **{name: (video(name)[0], "video", video(name)[1]) for name in VIDEOS},
    **{name: (picture(name), "image", media_type) for name, media_type in PICTURES.items()},
}


def look(data: bytes, kind: MediaKind) -> str:
    return inspect(io.BytesIO(data), len(data), kind)


@pytest.mark.parametrize("name", WHOLE)
def test_a_complete_file_is_recognised(name: str) -> None:
    data, kind, media_type = WHOLE[name]
    assert look(data, kind) == media_type


# What a cut leaves of these can be complete by its own account: they have no length and no end mark.
OPEN_ENDED = {"live webm": "the recording of a live stream", "fragmented mp4": "a stream of fragments"}


@pytest.mark.parametrize("name", [name for name in WHOLE if name not in OPEN_ENDED])
def test_a_file_that_was_cut_anywhere_is_refused(name: str) -> None:
    data, kind, _ = WHOLE[name]
    for keep in range(len(data)):
        with pytest.raises(DownloadError) as caught:
            look(data[:keep], kind)
        assert caught.value.reason in ("truncated", "not-media")
        assert not caught.value.final


@pytest.mark.parametrize("name", OPEN_ENDED)
def test_an_open_ended_file_that_was_cut_within_a_piece_is_refused(name: str) -> None:
    data, kind, _ = WHOLE[name]
    refused = 0
    for keep in range(len(data)):
        try:
            look(data[:keep], kind)
        except DownloadError:
            refused += 1
    assert refused > 0.9 * len(data)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_a_damaged_file_is_only_ever_refused(name: str, draw: st.DataObject) -> None:
    data, kind, _ = WHOLE[name]
    damaged = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        # Half of the flips damage the structure.
        damaged[draw.draw(st.integers(0, min(len(data), 120) - 1) | st.integers(0, len(data) - 1))] ^= draw.draw(
            st.integers(1, 255)
        )
    try:
        look(bytes(damaged), kind)
    except DownloadError as error:
        assert error.reason in ("truncated", "not-media")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([data[:n] for data, _, _ in WHOLE.values() for n in (4, 12, 40)]))
def test_any_bytes_are_refused_with_a_message(tail: bytes, start: bytes) -> None:
    for kind in ("video", "image"):
        try:
            look(start + tail, kind)
        except DownloadError as error:
            assert error.reason in ("truncated", "not-media")


def test_a_flipped_bit_in_a_png_is_noticed() -> None:
    data = bytearray(picture(".png"))
    data[len(data) // 2] ^= 1
    with pytest.raises(DownloadError, match="checksum"):
        look(bytes(data), "image")


def box(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(body), name) + body


FTYP, MOOV, MDAT = box(b"ftyp", b"isom\0\0\0\0"), box(b"moov", box(b"mvhd", b"0") + box(b"trak")), box(b"mdat", b"1234")
LONG_MDAT = struct.pack(">I4sQ", 1, b"mdat", 20) + b"1234"


@pytest.mark.parametrize("data", [FTYP + MOOV + MDAT, FTYP + LONG_MDAT + MOOV, FTYP + MOOV + b"\0\0\0\0mdat1234"])
def test_boxes_with_lengths_of_every_form(data: bytes) -> None:
    assert look(data, "video") == "video/mp4"


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("tail", [b"a trailer that is no box", bytes(5), bytes(4096), b"\r\n", b"\xff" * 100])
def test_bytes_after_the_end_are_ignored(name: str, tail: bytes) -> None:
    data, kind, media_type = WHOLE[name]
    assert look(data + tail, kind) == media_type


@pytest.mark.parametrize(
    "data",
    [
        box(b"wide") + MDAT + MOOV,
        MOOV + MDAT,
        MDAT + box(b"moov", box(b"mvhd", b"0") + box(b"trak") + bytes(4)),
    ],
)
def test_a_movie_without_a_type_box_is_accepted(data: bytes) -> None:
    assert look(data, "video") == "video/quicktime"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (FTYP + MDAT, "no moov box"),
        (FTYP + MOOV, "no mdat box"),
        (FTYP + MDAT + box(b"moov", box(b"trak")), "no mvhd box in moov"),
        (FTYP + MDAT + box(b"moov", box(b"mvhd") + b"\0\0\0\xfftrak"), "does not fit"),
        (FTYP + MOOV + MDAT + b"\0\0\0\x04free", "does not fit"),
        (FTYP + MOOV + MDAT + b"\0\0\0\x20mo", "ends too early"),
        (FTYP + MOOV + b"a trailer that is no box", "does not fit"),
        (b"a header that is no box" + FTYP + MOOV + MDAT, "unknown format"),
        (FTYP + MOOV + struct.pack(">I4sQ", 1, b"mdat", 2**64 - 1), "does not fit"),
        (b"", "empty"),
        (b"<!DOCTYPE html><p>Not found", "HTML"),
        (b"\xef\xbb\xbf  <?xml version='1.0'?><Error/>", "HTML or XML"),
        (b'{"code": 404}', "JSON"),
        (b"%PDF-1.7", "unknown format"),
        (picture(".png"), "is an image, not a video"),
    ],
)
def test_the_missing_part_is_named(data: bytes, words: str) -> None:
    with pytest.raises(DownloadError, match=words):
        look(data, "video")


def test_a_thumbnail_does_not_end_a_jpeg() -> None:
    whole = picture(".jpg")
    thumbnail = box(b"", whole)[8:]
    nested = whole[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail + whole[2:]
    assert look(nested, "image") == "image/jpeg"
    with pytest.raises(DownloadError, match="not a complete image"):
        look(nested[: 6 + len(thumbnail) + 200], "image")


def test_an_image_is_not_a_video_result_and_vice_versa() -> None:
    with pytest.raises(DownloadError, match="is a video, not an image"):
        look(movie(), "image")
