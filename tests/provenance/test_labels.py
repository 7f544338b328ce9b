"""The label is added to files of every format without encoding them again, and keeps what they have."""

from pathlib import Path

import pytest
from PIL import Image

from batchswap.errors import ProvenanceError
from batchswap.local.engine.metadata import label
from batchswap.provenance.labels import labelled
from batchswap.provenance.verification import SignatureState, verify
from tests.provenance.conftest import NAMES, box, decoded, facts, signed, with_xmp, xmp_of

PACKET = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
  xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmp:Rating="4" tiff:Orientation="6">
 <dc:description><rdf:Alt><rdf:li xml:lang="x-default">Anna &amp; friends</rdf:li></rdf:Alt></dc:description>
 <dc:rights><rdf:Alt><rdf:li xml:lang="x-default">(c) Example Ltd</rdf:li></rdf:Alt></dc:rights>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


@pytest.mark.parametrize("name", NAMES)
def test_a_label_changes_no_pixel_and_is_found_by_other_readers(media: Path, name: str) -> None:
    before, content = decoded(media / name), (media / name).read_bytes()
    made = signed(media / name, None)
    assert (media / name).read_bytes() == content
    assert decoded(made.path) == before
    text = xmp_of(made.path)
    assert label.TRAINED_SOURCE_TYPE in text
    assert label.sentence("5f0c6b0e") in text
    assert 0 < made.size - len(content) < 1000
    found = verify(made.path)
    assert (found.state, found.is_labelled) == (SignatureState.NONE, True)
    assert verify(media / name).is_labelled is False


@pytest.mark.parametrize("name", NAMES)
def test_other_properties_are_kept_and_a_second_label_changes_nothing(media: Path, name: str) -> None:
    with_xmp(media / name, PACKET.encode())
    before = decoded(media / name)
    made = signed(media / name, None)
    text = xmp_of(made.path)
    for kept in (
        "(c) Example Ltd",
        f"{label.sentence('5f0c6b0e')} Anna &amp; friends",
        'Rating="4"',
        'Orientation="6"',
    ):
        assert kept in text
    assert made.path.read_bytes().count(b"<x:xmpmeta") == 1 + name.startswith("clip")
    assert decoded(made.path) == before
    again = signed(made.path, None)
    assert again.path.read_bytes() == made.path.read_bytes()


def test_the_mesh_warp_is_no_trained_model(media: Path, tmp_path: Path) -> None:
    with (media / "still.png").open("rb") as file:
        text = labelled(file, "image/png", "task-7", is_neural=False).read()
    assert label.xmp("task-7").encode() in text  # the same packet that the local engine writes
    assert facts("still.png").is_neural


@pytest.mark.parametrize("name", ["clip.mp4", "still.jpg", "still.png", "still.webp"])
def test_a_file_with_xmp_that_cannot_be_read_stays_as_it_was(media: Path, name: str) -> None:
    with_xmp(media / name, b"<x:xmpmeta> this is no XML")
    content = (media / name).read_bytes()
    with pytest.raises(ProvenanceError, match="its XMP cannot be read, and the label would replace it"):
        signed(media / name, None)
    assert (media / name).read_bytes() == content
    assert sorted(path.name for path in media.glob("signed-*")) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_gets_a_clear_error_and_stays_as_it_was(media: Path, name: str) -> None:
    content = (media / name).read_bytes()[:-200]
    (media / name).write_bytes(content)
    with pytest.raises(ProvenanceError, match="the file is not a complete"):
        signed(media / name, None)
    assert (media / name).read_bytes() == content
    assert verify(media / name).state is SignatureState.DAMAGED


def test_a_file_of_an_unknown_format_gets_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_text("<html>")
    with pytest.raises(ProvenanceError, match="the file is HTML or XML, not a video"):
        signed(tmp_path / "clip.mp4", None)
    (tmp_path / "still.gif").write_bytes(b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2\x44\1\0;")
    with pytest.raises(ProvenanceError, match="image/gif files can be neither labelled nor signed"):
        signed(tmp_path / "still.gif", None)
    found = verify(tmp_path / "still.gif")
    assert (found.state, found.is_labelled, found.problem) == (
        SignatureState.NONE,
        None,
        "image/gif files can be neither labelled nor signed",
    )


def test_the_last_box_without_a_length_gets_one(media: Path) -> None:
    clip = media / "clip.mp4"
    with clip.open("ab") as file:
        file.write(b"\0\0\0\0mdat" + bytes(100))
    before = decoded(clip)
    made = signed(clip, None)
    assert decoded(made.path) == before
    assert label.TRAINED_SOURCE_TYPE in xmp_of(made.path)


def test_an_index_of_fragments_stays_the_last_box(media: Path) -> None:
    clip = media / "clip.mp4"
    index = box(b"mfra", box(b"mfro", bytes(4) + (24).to_bytes(4, "big")))
    clip.write_bytes(clip.read_bytes() + index)
    made = signed(clip, None)
    assert made.path.read_bytes().endswith(index)
    assert label.TRAINED_SOURCE_TYPE in xmp_of(made.path)


def test_the_user_data_of_a_quicktime_file_is_kept(media: Path) -> None:
    made = signed(media / "clip.mov", None)
    assert made.media_type == "video/quicktime"
    content = (media / "clip.mov").read_bytes()
    assert made.path.read_bytes().startswith(content)


def test_a_simple_webp_with_transparency_stays_transparent(media: Path) -> None:
    made = signed(media / "lossless.webp", None)
    with Image.open(made.path) as picture:
        assert (picture.mode, picture.size) == ("RGBA", (160, 120))
        assert picture.getchannel("A").getextrema() == (128, 128)


def test_the_label_of_the_local_engine_is_known(media: Path) -> None:
    clip = media / "clip.mp4"
    clip.write_bytes(clip.read_bytes() + label.box("task-7"))
    assert verify(clip).is_labelled
    assert signed(clip, None).path.read_bytes() == clip.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_labelled_file_is_known_by_the_file_that_was_received(media: Path, signing: Path, name: str) -> None:
    """A process may be killed after the labelled file took the place of the part, and before the ledger knows it."""
    made = signed(media / name, None)
    made.path.replace(media / name)
    again = signed(media / name, None, received=made.received_sha256)
    assert (again.is_new, again.path, again.result) == (False, media / name, made.result)
    with pytest.raises(ProvenanceError, match="is not the file that was downloaded"):
        signed(media / name, None, received="00" * 32)
    later = signed(media / name, signing, received=made.received_sha256)
    found = verify(later.path)
    assert found.task is not None
    assert (found.task.received_sha256, found.is_labelled) == (made.received_sha256, True)


def test_the_extended_format_of_webp_is_restored(media: Path) -> None:
    with Image.open(media / "still.webp") as picture:
        picture.save(media / "still.webp", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
    made = signed(media / "still.webp", None)
    assert not signed(made.path, None, received=made.received_sha256).is_new
