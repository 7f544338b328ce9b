"""Visible labels on real media: drawn once, on every frame, legible, and nothing else is lost."""

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from batchswap.delivery.visible_label import deliver_drawn
from batchswap.errors import EngineError, ProvenanceError
from batchswap.local.engine import check_text, draw_label
from batchswap.local.engine.metadata import label
from batchswap.provenance import keys
from batchswap.provenance.delivered_file import SignedFile, SigningJob, deliver_signed
from batchswap.provenance.verification import SignatureState, verify
from tests.engine.test_extras import COUNT, rich
from tests.engine.variants import STEP, Variant, write
from tests.provenance.conftest import facts

TEXT = "KI-erzeugt: verändert"
STAMPS = (0, 24, 48, 120, 144, 168, 192, 300)
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="session")
def keys_(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    keys.create(folder, "test")
    return folder


def backdrop(shade: int, height: int = 240, width: int = 480) -> list[Pixels]:
    return [np.full((height, width, 3), shade + number, np.uint8) for number in range(len(STAMPS))]


def clip(path: Path, shade: int = 20, **more: Any) -> Path:
    variant = Variant(**{"stamps": STAMPS, "sound": "aac", "title": "Spring", "language": "deu"} | more)
    return write(path, backdrop(shade), variant)


def decoded(path: Path) -> tuple[list[Pixels], list[Fraction], list[bytes]]:
    """Return the frames, their times and the packets of the sound."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        times = [(frame.pts or 0) * (frame.time_base or STEP) for frame in frames]
        pictures = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in frames]
    with av.open(str(path)) as container:
        return pictures, times, [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def delivered(path: Path, folder: Path | None = None, **more: Any) -> SignedFile:
    shown = facts(path, visible_label=TEXT)
    job = SigningJob(path, path.with_name(f"{path.name}.sign"), shown, folder, **more)
    return deliver_drawn(job)


def has_label(picture: Pixels) -> bool:
    """Return whether white letters are on a dark ground in the lower left corner."""
    height = picture.shape[0]
    part = picture[height - 22 : height - 6, 6:122].astype(int)
    letters, dark = (part.min(2) > 225).sum(), (part.max(2) < 130).sum()
    return bool(60 < letters < 400 and dark > part[..., 0].size / 2)


@pytest.mark.parametrize("shade", [10, 128, 245])
def test_each_frame_has_a_legible_label_and_keeps_its_time_and_the_sound(tmp_path: Path, shade: int) -> None:
    path = clip(tmp_path / "clip", shade)
    before, done = decoded(path), delivered(path)
    after = decoded(done.path)
    assert all(has_label(picture) for picture in after[0])
    assert not any(has_label(picture) for picture in before[0])
    assert after[1:] == before[1:]
    away = [np.abs(a[:180].astype(int) - b[:180]).max() for a, b in zip(after[0], before[0], strict=True)]
    assert max(away) < 12  # the rest is as it was
    with av.open(str(done.path)) as container:
        assert container.metadata["title"] == "Spring"
        assert container.streams.audio[0].metadata["language"] == "deu"
    assert done.received_sha256 != done.sha256
    assert verify(done.path).is_labelled
    assert label.TRAINED_SOURCE_TYPE.encode() in done.path.read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clip.mp4", "clip.mp4.sign"]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_the_label_is_in_the_corner_of_the_upright_picture(tmp_path: Path, rotation: int) -> None:
    path = clip(tmp_path / "clip", rotation=rotation, sound="aac")
    done = delivered(path)
    with av.open(str(path)) as before, av.open(str(done.path)) as after:
        turns = [round(next(each.decode(video=0)).rotation / 90) for each in (before, after)]
    assert turns[0] == turns[1]
    assert has_label(np.rot90(decoded(done.path)[0][3], turns[1]))


@pytest.mark.parametrize(("pixels", "codec"), [("yuv444p", "libx264"), ("yuv420p", "mpeg4")])
def test_other_codings_are_labelled_as_well(tmp_path: Path, pixels: str, codec: str) -> None:
    done = delivered(clip(tmp_path / "clip", 128, pixels=pixels, codec=codec))
    assert all(has_label(picture) for picture in decoded(done.path)[0])


def test_subtitles_and_chapters_stay_and_what_is_left_out_is_reported(tmp_path: Path) -> None:
    path = rich(tmp_path / "clip.mkv", backdrop(90)[:1] * COUNT, "subrip", [b"Hello", b"World"])
    done = delivered(path)
    with av.open(str(done.path)) as container:
        assert [each["metadata"]["title"] for each in container.chapters()] == ["Part 0", "Part 1"]
        subtitles = container.streams.subtitles[0]
        assert subtitles.metadata["language"] == "ger"
        words = b"".join(bytes(packet) for packet in container.demux(subtitles))
    assert b"Hello" in words
    assert b"World" in words
    assert done.remarks == ("left out: 1 other video track, 1 attachment",)
    assert done.media_type == "video/mp4"


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_a_still_keeps_its_format_profile_and_transparency(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"still.{ending}"
    image = Image.fromarray(backdrop(200)[0])
    if ending != "jpg":
        image.putalpha(90)
    image.save(path, icc_profile=b"\0" * 16 + b"RGB " + b"\0" * 108)
    part = path.rename(tmp_path / "still.part")
    done = delivered(part)
    with Image.open(path := done.path) as shown:
        assert shown.format == {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[ending]
        assert shown.info["icc_profile"][16:20] == b"RGB "
        assert has_label(np.asarray(shown.convert("RGB")))
        if ending != "jpg":
            alpha = np.asarray(shown.getchannel("A"))
            assert alpha[0, 0] == 90
            assert alpha.max() == 255
    assert verify(path).is_labelled


def test_a_signed_result_says_that_a_label_was_drawn(tmp_path: Path, keys_: Path) -> None:
    path = clip(tmp_path / "clip")
    done = delivered(path, keys_, received="")
    found = verify(done.path)
    assert (found.state, found.is_labelled) == (SignatureState.VALID, True)
    assert found.task is not None
    assert (found.task.visible_label, found.task.received_sha256) == (TEXT, done.received_sha256)


def test_a_manifest_of_the_vendor_stays_as_an_ingredient(tmp_path: Path, keys_: Path) -> None:
    path = clip(tmp_path / "clip")
    vendor = deliver_signed(SigningJob(path, tmp_path / "vendor-clip.mp4", facts(path, task_id="another"), keys_))
    done = delivered(vendor.path, keys_)
    assert verify(done.path).state is SignatureState.VALID
    with done.path.open("rb") as file:
        assert b"another" in file.read()


def test_a_label_is_drawn_once_after_a_kill(tmp_path: Path, keys_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signed file is recognised, whether it already has its place or not."""
    path = clip(tmp_path / "clip")
    received = delivered(path, keys_)
    monkeypatch.setattr("batchswap.local.engine.draw_label", unexpected)
    for _ in range(2):
        again = delivered(path, keys_, received=received.received_sha256)
        assert (again.is_new, again.sha256) == (False, received.sha256)
        if again.path != path:
            again.path.replace(path)
    monkeypatch.undo()
    with pytest.raises(ProvenanceError, match="not the file that was downloaded"):  # only labelled: fetched again
        delivered(received.path if received.path.exists() else path, received=received.received_sha256)


def test_what_a_killed_process_has_left_is_removed(tmp_path: Path) -> None:
    path, name = clip(tmp_path / "clip [1]"), "clip [1].mp4"
    (tmp_path / f"{name}.sign.4711.drawn.mp4").write_bytes(b"half")
    delivered(path)
    assert sorted(each.name for each in tmp_path.iterdir()) == [name, f"{name}.sign"]


def unexpected(*_: object) -> tuple[str, ...]:
    raise AssertionError("it was drawn again")


def test_a_file_that_is_signed_without_a_label_is_not_taken_for_one_with_it(tmp_path: Path, keys_: Path) -> None:
    path = clip(tmp_path / "clip")
    plain = deliver_signed(SigningJob(path, tmp_path / "clip.mp4.sign", facts(path), keys_))
    done = delivered(path, keys_, received=plain.received_sha256)
    assert done.is_new
    assert has_label(decoded(done.path)[0][0])


def spoilt(path: Path) -> Path:
    """Overwrite the second half of the coded pictures."""
    data = path.read_bytes()
    start = data.index(b"mdat") + 4
    size = int.from_bytes(data[start - 8 : start - 4], "big") - 8
    path.write_bytes(data[: start + size // 2] + bytes(size - size // 2) + data[start + size :])
    return path


def animation(path: Path) -> Path:
    path = path.with_suffix(".webp")
    pictures = [Image.fromarray(each) for each in backdrop(100)[::7]]
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    return path


def tiny(path: Path) -> Path:
    path = path.with_suffix(".png")
    Image.fromarray(backdrop(100)[0][:40, :40]).save(path)
    return path


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda path: spoilt(clip(path, sound=None)), "video", "damaged|no frames"),
        (animation, "image", "animation"),
        (tiny, "image", "too small"),
    ],
)
def test_what_cannot_be_drawn_on_is_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], Path], kind: str, words: str
) -> None:
    path = make(tmp_path / "result")
    before = path.read_bytes()
    job = SigningJob(path, tmp_path / "made.sign", facts(path, kind=kind, visible_label=TEXT))
    with pytest.raises(EngineError, match=words):
        deliver_drawn(job)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_no_space_for_the_drawn_file_is_an_error(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip")
    with pytest.raises(EngineError, match="No such file"):
        draw_label(path, tmp_path / "gone" / "made.mp4", TEXT)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("AI-generated", ""),
        ("KI-erzeugt: Gesicht verändert – größer", ""),
        ("Сгенерировано ИИ", ""),
        ("   ", "empty"),
        ("two\nlines", "control"),
        ("zero\u200bwidth", "control"),
        ("bad \udcff", "control"),
        ("生成 AI", r"生 \(U\+751F\), 成"),
        ("שלום", "cannot be drawn"),
        ("long " * 30, "at most about .. characters"),
    ],
)
def test_texts_are_checked_before_a_run(text: str, words: str) -> None:
    found = check_text(text)
    assert re.search(words, found)
    assert bool(found) == bool(words)
