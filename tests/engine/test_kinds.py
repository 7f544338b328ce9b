"""Pictures in every format of phones and the web are upright, both as face and as target."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from batchswap.errors import EngineError
from batchswap.local.engine import SwapJob, look_at_face, probe, swap
from batchswap.local.engine.media import file_types, stills
from manifests.demo_media import Media
from tests.engine import landmarks

pillow_heif.register_heif_opener()

ORIENTATION = 0x0112


def oriented(stored: Image.Image, orientation: int) -> Image.Exif:
    exif = stored.getexif()
    exif[ORIENTATION] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "heic", "avif"])
def test_a_picture_is_turned_by_its_orientation(tmp_path: Path, ending: str, orientation: int) -> None:
    """The upper left quarter of the displayed picture is red, and the rest of its left half is green."""
    shown = np.full((96, 128, 3), 255, np.uint8)
    shown[:, :64], shown[:48, :64] = (0, 200, 0), (200, 0, 0)
    flips = {2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud}
    turns = {
        5: lambda p: np.swapaxes(p, 0, 1),
        6: np.rot90,
        7: lambda p: np.rot90(np.swapaxes(p, 0, 1), 2),
        8: lambda p: np.rot90(p, -1),
    }
    store: Any = {1: np.asarray, **flips, **turns}[orientation]
    picture = Image.fromarray(np.ascontiguousarray(store(shown)))
    path = tmp_path / f"in.{ending}"
    picture.save(path, exif=oriented(picture, orientation).tobytes(), quality=95)
    found = stills.read(path, "image").rgb
    assert found.shape == shown.shape
    assert np.abs(found.astype(int) - shown)[8:40, 8:56].max() < 60
    assert np.abs(found.astype(int) - shown)[56:88, 8:56].max() < 60
    assert found[8:88, 72:120].min() > 200


@pytest.mark.parametrize("name", ["face.heic", "face.avif", "renamed.jpg", "face.gif", "face.bmp", "face.tif"])
def test_a_picture_in_any_format_is_a_face(tmp_path: Path, media: Media, name: str) -> None:
    path = tmp_path / name
    with Image.open(media.grace) as picture:
        picture.save(path, **({"format": "HEIF"} if name == "renamed.jpg" else {}), quality=95)
    assert probe(path, "face").kind == "image"
    assert look_at_face(path) == ()


@pytest.mark.parametrize("name", ["in.heic", "in.avif", "in.gif"])
def test_a_still_in_a_phones_format_is_swapped(tmp_path: Path, media: Media, name: str) -> None:
    path = tmp_path / name
    with Image.open(media.anna) as picture:
        about = picture.getexif()
        about[0x8298] = "(c) Anna"
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        picture.convert("RGB").save(path, exif=about.tobytes(), icc_profile=srgb, quality=95)
    report = swap(SwapJob(path, tmp_path / "out.png", ((None, media.grace),)))
    assert (report.width, report.height, report.swapped_frames) == (512, 512, 1)
    with Image.open(tmp_path / "out.png") as result:
        if name != "in.gif":
            assert result.getexif()[0x8298] == "(c) Anna"
            assert result.info["icc_profile"] == srgb
    before, after = landmarks.read_rgb(media.anna), landmarks.read_rgb(tmp_path / "out.png")
    face = landmarks.inside(landmarks.points([before])[0], (512, 512), grow=-0.1)
    assert landmarks.changed(before, after, face) > 10
    assert landmarks.changed(before, after, ~landmarks.inside(landmarks.points([before])[0], (512, 512), grow=0.1)) < 12


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "LA", "PA", "I;16", "progressive"])
def test_a_picture_of_any_colours_is_a_face(tmp_path: Path, media: Media, mode: str) -> None:
    with Image.open(media.grace) as picture:
        if mode == "CMYK":
            picture.convert(mode).save(tmp_path / "face.jpg", quality=95)
        elif mode == "progressive":
            picture.save(tmp_path / "face.jpg", progressive=True, quality=95)
        elif mode == "I;16":
            deep = np.asarray(picture.convert("L"), np.uint16) * 257
            Image.fromarray(deep).save(tmp_path / "face.png")
        elif mode == "PA":
            picture.convert("P").save(tmp_path / "face.png", transparency=3)
        else:
            picture.convert(mode).save(tmp_path / "face.png")
    path = next(tmp_path.glob("face.*"))
    assert probe(path, "face").width == 512
    if mode != "1":
        look_at_face(path)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "JPEG XL"),
        (b"8BPS\0\1" + bytes(99), "Photoshop"),
        (b"%PDF-1.7\n" + bytes(99), "PDF"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    ],
)
def test_an_unsupported_picture_is_named(tmp_path: Path, data: bytes, name: str) -> None:
    path = tmp_path / "face.jpg"
    path.write_bytes(data)
    with pytest.raises(EngineError) as caught:
        probe(path, "face")
    assert caught.value.message == (
        f"the face picture is a {name} picture, which cannot be read here: export it as JPEG"
    )


def test_without_its_library_a_heic_picture_is_named_with_the_remedy(
    tmp_path: Path, media: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Image.open(media.grace) as picture:
        picture.save(tmp_path / "face.heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(EngineError) as caught:
        probe(tmp_path / "face.heic", "face")
    assert caught.value.message == (
        "the face picture is a HEIC picture, which cannot be read here: export it as JPEG,"
        " or pip install 'batchswap[local]'"
    )


def test_a_damaged_heic_picture_is_named(tmp_path: Path, media: Media) -> None:
    path = tmp_path / "face.heic"
    with Image.open(media.grace) as picture:
        picture.save(path)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(EngineError, match=r"^the face picture is a (damaged )?HEIC picture.*: export it as JPEG$"):
        probe(path, "face")


@pytest.mark.parametrize(
    ("brands", "still"),
    [
        (b"heic" + bytes(4) + b"mif1heic", "HEIC"),
        (b"mif1" + bytes(4) + b"mif1heic", "HEIC"),
        (b"msf1" + bytes(4) + b"hevcmif1", "HEIC"),
        (b"heix" + bytes(4), "HEIC"),
        (b"avif" + bytes(4) + b"mif1miaf", "AVIF"),
        (b"avis" + bytes(4) + b"msf1avif", "AVIF"),
        (b"mif1" + bytes(4) + b"avifmiaf", "AVIF"),
        (b"isom" + bytes(4) + b"isomavc1", ""),
        (b"qt  " + bytes(4), ""),
    ],
)
def test_the_brands_of_a_file_distinguish_pictures_and_films(brands: bytes, still: str) -> None:
    start = (8 + len(brands)).to_bytes(4, "big") + b"ftyp" + brands + b"\0\0\0\x08free"
    assert file_types.still_of(start) == still
    assert file_types.film_of(start) == ("" if still else "MP4 or QuickTime")
