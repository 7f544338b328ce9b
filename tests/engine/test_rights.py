"""The result keeps the metadata about authors and rights, and no metadata can do harm."""

import struct
import xml.etree.ElementTree as ET
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from batchswap.local.engine import SwapJob, swap
from batchswap.local.engine.media import reader, stills, writer
from batchswap.local.engine.metadata import exif, label, xmp
from batchswap.local.engine.metadata.xmp import Carried
from manifests.demo_media import Media, read_anna, view, write_video

RIGHTS = "(c) Studio X, all rights reserved"
PACKET = f"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="uuid:1" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
  xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
  tiff:Orientation="6" ext:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture">
 <dc:rights><rdf:Alt><rdf:li xml:lang="x-default">{RIGHTS}</rdf:li></rdf:Alt></dc:rights>
 <dc:description><rdf:Alt><rdf:li xml:lang="x-default">Anna &amp; friends</rdf:li>
  <rdf:li xml:lang="de">Anna und Freunde</rdf:li></rdf:Alt></dc:description>
 <xmp:Thumbnails><rdf:Alt><rdf:li>c3RhbGU=</rdf:li></rdf:Alt></xmp:Thumbnails>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
SMALL = b"\xff\xd8 a small picture of the old face \xff\xd9"


def check_packet(packet: bytes) -> None:
    """Check that the packet has the label and the source's properties, but none that are no longer true."""
    tree = ET.fromstring(packet.decode())
    for name, language, words in (
        ("rights", "x-default", RIGHTS),
        ("description", "x-default", f"{label.sentence('task-3')} Anna & friends"),
        ("description", "de", "Anna und Freunde"),
    ):
        found = tree.findall(f".//{xmp.DC}{name}//{xmp.RDF}li[@{xmp.LANGUAGE}='{language}']")
        assert [item.text for item in found] == [words]
    assert packet.count(b"DigitalSourceType=") == 1
    assert label.SOURCE_TYPE.encode() in packet
    assert b"Orientation" not in packet
    assert b"c3RhbGU=" not in packet


def camera_exif() -> bytes:
    """Return EXIF as cameras write it: turned, with rights, a maker's note and a thumbnail."""
    told = Image.Exif()
    told[ExifTags.Base.Orientation] = 6
    told[ExifTags.Base.Copyright] = RIGHTS
    told[ExifTags.Base.ImageDescription] = "do not remove"
    told.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2024:01:01 00:00:00"
    told.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = b"a maker's " + SMALL
    told.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    told.get_ifd(ExifTags.IFD.IFD1)[ExifTags.Base.JpegIFOffset] = len(told.tobytes())
    told.get_ifd(ExifTags.IFD.IFD1)[ExifTags.Base.JpegIFByteCount] = len(SMALL)
    return told.tobytes() + SMALL


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_a_still_keeps_its_rights(tmp_path: Path, media: Media, ending: str) -> None:
    source, output = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
    lying = Image.open(media.grace).rotate(90, expand=True)
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", PACKET)
    lying.save(source, exif=camera_exif(), **({"pnginfo": text} if ending == "png" else {"xmp": PACKET.encode()}))
    swap(SwapJob(source, output, ((None, media.anna),), label="task-3"))
    with Image.open(output) as picture:
        assert picture.size == (512, 600)
        told = picture.getexif()
        assert told[ExifTags.Base.Copyright] == RIGHTS
        assert told[ExifTags.Base.ImageDescription] == "do not remove"
        assert told[ExifTags.Base.Orientation] == 1
        assert told.get_ifd(ExifTags.IFD.Exif) == {ExifTags.Base.DateTimeOriginal: "2024:01:01 00:00:00"}
        assert told.get_ifd(ExifTags.IFD.GPSInfo) == {ExifTags.GPS.GPSLatitudeRef: "N"}
        check_packet(picture.info["xmp"])
    assert SMALL not in output.read_bytes()


def test_a_png_has_its_label_and_nothing_behind_it(tmp_path: Path) -> None:
    """OpenCV's own text chunk would continue with random memory up to the next zero."""
    path, grey = tmp_path / "out.png", np.full((8, 8, 3), 128, np.uint8)
    for number in range(50):
        task = "ü" * number
        stills.write(path, stills.Picture(grey), task)
        with Image.open(path) as picture:
            picture.load()
            assert picture.info["xmp"] == label.xmp(task).encode()


def test_data_behind_a_packet_is_ignored() -> None:
    assert RIGHTS in xmp.carried(PACKET.encode()).properties
    assert xmp.carried(PACKET.encode() + b"&fv\xeb\0") == xmp.carried(PACKET.encode())


def test_a_tiff_keeps_its_rights(tmp_path: Path, media: Media) -> None:
    told = Image.Exif()
    told[ExifTags.Base.Copyright] = RIGHTS
    Image.open(media.grace).save(tmp_path / "in.tif", exif=told)
    swap(SwapJob(tmp_path / "in.tif", tmp_path / "out.png", ((None, media.anna),)))
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.getexif() == {ExifTags.Base.Copyright: RIGHTS, ExifTags.Base.Orientation: 1}


def xmp_box(packet: bytes, name: bytes = b"uuid") -> bytes:
    body = (label.BOX.bytes if name == b"uuid" else b"") + packet
    return struct.pack(">I4s", 8 + len(body), name) + body


def test_a_video_keeps_its_rights(tmp_path: Path, media: Media) -> None:
    anna, clip, output = read_anna(media.anna), tmp_path / "clip.mp4", tmp_path / "out.mp4"
    write_video(clip, (view(anna, (320, 240), centre=(160 + n, 120), width=110) for n in range(12)))
    clip.write_bytes(clip.read_bytes() + xmp_box(PACKET.encode()))
    swap(SwapJob(clip, output, ((None, media.grace),), label="task-3"))
    check_packet(packet_of(output))
    with av.open(str(output)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12


def packet_of(path: Path) -> bytes:
    with reader.open_clip(path, "video") as clip:
        return clip.container.metadata.get(writer.XMP, "").encode()


def test_quicktime_has_its_packet_deeper_down(tmp_path: Path, media: Media) -> None:
    anna, path, output = read_anna(media.anna), tmp_path / "clip.mov", tmp_path / "out.mp4"
    write_video(output, (view(anna, (320, 240), centre=(160 + n, 120), width=110) for n in range(12)))
    with av.open(str(output)) as clip, av.open(str(path), "w") as copy:
        track = copy.add_stream_from_template(clip.streams.video[0])
        for packet in clip.demux(video=0):
            if packet.size:
                packet.stream = track
                copy.mux(packet)
    whole = path.read_bytes()
    start = whole.rindex(b"moov") - 4
    assert start + int.from_bytes(whole[start : start + 4], "big") == len(whole)
    moov = whole[start + 8 :] + xmp_box(xmp_box(PACKET.encode(), b"XMP_"), b"udta")
    path.write_bytes(whole[:start] + xmp_box(moov, b"moov"))
    assert packet_of(path) == PACKET.encode()
    swap(SwapJob(path, output, ((None, media.grace),), label="task-3"))
    check_packet(packet_of(output))
    with av.open(str(output)) as container:
        assert writer.XMP not in container.metadata


def rdf(inside: str, before: str = "") -> bytes:
    return f'{before}<rdf:RDF xmlns:rdf="{xmp.RDF[1:-1]}" xmlns:dc="{xmp.DC[1:-1]}">{inside}</rdf:RDF>'.encode()


def described(inside: str) -> bytes:
    return rdf(f"<rdf:Description>{inside}</rdf:Description>")


BAD = {
    "nothing": b"",
    "no XML": b"<rdf:RDF",
    "not UTF-8": described("<dc:rights>x</dc:rights>").decode().encode("utf-16"),
    "other XML": b"<html/>",
    "entities": rdf(
        "<rdf:Description><dc:rights>&b;</rdf:Description>", '<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
    ),
    "a file": rdf(
        "<rdf:Description><dc:rights>&b;</dc:rights></rdf:Description>",
        '<!DOCTYPE r [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
    ),
    "deep": described("<dc:rights>" * 20_000 + "</dc:rights>" * 20_000)[: xmp.LONGEST],
    "deep and sound": described("<dc:x>" * 9_000 + "</dc:x>" * 9_000),
    "long": described(f"<dc:rights>{'x' * xmp.LONGEST}</dc:rights>"),
    "too much of it": described(f"<dc:rights>{'x' * (xmp.LARGEST + 1)}</dc:rights>"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_packet_is_left_out(name: str) -> None:
    assert xmp.carried(BAD[name]) == Carried()


def test_rights_take_precedence_over_other_properties() -> None:
    much = f'<x:edits xmlns:x="urn:x">{"é" * 40_000}</x:edits>'
    kept = xmp.carried(described(f"{much}<dc:rights>mine</dc:rights><dc:description>{'é' * 9_000}</dc:description>"))
    assert "mine" in kept.properties
    assert "edits" not in kept.properties
    assert len(label.xmp("", kept).encode()) < 10_000


def test_a_full_packet_fits_into_every_still(tmp_path: Path, media: Media) -> None:
    """A JPEG segment can hold 65,533 bytes. Longer metadata must not fail the picture."""
    full = described(
        f"<dc:rights>{'x' * (xmp.LARGEST - 400)}</dc:rights><dc:description>{'&amp;' * 7_900}</dc:description>"
    )
    assert xmp.carried(full).properties
    told = Image.Exif()
    for tag in (ExifTags.Base.Copyright, ExifTags.Base.ImageDescription, ExifTags.Base.Artist, ExifTags.Base.Make):
        told[tag] = "y" * 16_000
    source, output = tmp_path / "in.webp", tmp_path / "out.jpg"
    Image.open(media.grace).save(source, exif=told, xmp=full)
    swap(SwapJob(source, output, ((None, media.anna),)))
    with Image.open(output) as picture:
        assert b"synthetic" in picture.info["xmp"]
        assert len(picture.getexif()) == 4  # three of the four, and the orientation


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_a_colour_profile_that_cannot_be_written_does_not_fail_the_picture(
    tmp_path: Path, media: Media, ending: str
) -> None:
    source, output = tmp_path / "in.webp", tmp_path / f"out.{ending}"
    Image.open(media.grace).save(source, icc_profile=(bytes(16) + b"RGB ").ljust(70_000, b"x"))
    swap(SwapJob(source, output, ((None, media.anna),)))
    with Image.open(output) as picture:
        assert picture.size == (512, 600)
    assert label.SOURCE_TYPE.encode() in output.read_bytes()


def test_any_exif_is_read_or_left_out() -> None:
    whole = camera_exif().removeprefix(b"Exif\0\0")
    kept = exif.carried(whole)
    assert kept is not None
    assert exif.carried(kept) == kept
    rng = np.random.default_rng(1)
    for _ in range(3000):
        data = bytearray(whole[: rng.integers(len(whole) + 1)])
        for place in rng.integers(0, max(1, len(data)), 4) if data else ():
            data[place] = rng.integers(256)
        again = exif.carried(bytes(data))
        assert again is None or exif.carried(again) == again
    loop = b"II*\0\x08\0\0\0" + struct.pack("<HHHIIHHIII", 2, 0x8769, 4, 1, 8, 0x8825, 4, 1, 8, 0)
    assert exif.carried(loop) is None or len(exif.carried(loop) or b"") < 200
    greedy = b"MM\0*\0\0\0\x08\xff\xff" + struct.pack(">HHII", 0x8298, 2, 16_000, 8) * 9000
    assert len(exif.carried(greedy) or b"") < 20_000


def test_a_jpeg_has_its_label_where_programs_look(tmp_path: Path, media: Media) -> None:
    swap(SwapJob(media.grace, tmp_path / "out.jpg", ((None, media.anna),)))
    with Image.open(tmp_path / "out.jpg") as picture:
        assert label.SOURCE_TYPE.encode() in picture.info["xmp"]
    assert cv2.imread(str(tmp_path / "out.jpg")) is not None
