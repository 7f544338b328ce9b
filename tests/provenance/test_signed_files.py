"""Signed files, as c2pa's own reader sees them: what is in them, what breaks them, and what must not be in them."""

import io
import json
import os
import random
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import c2pa
import pytest
from PIL import Image

from batchswap.errors import ProvenanceError
from batchswap.local.engine.metadata import label
from batchswap.provenance.delivered_file import SigningJob, deliver_signed
from batchswap.provenance.manifest import SwapInput
from batchswap.provenance.pieces import digest
from batchswap.provenance.verification import SignatureState, verify
from tests.processes import ROOT
from tests.provenance.conftest import NAMES, box, decoded, facts, signed


def read(path: Path, root: Path | None = None) -> dict[str, Any]:
    """Return what c2pa's reader says."""
    trust = {"trust": {"user_anchors": root.read_text()}} if root else {}
    settings = {"verify": {"remote_manifest_fetch": False}, **trust}
    with (
        c2pa.Context.from_dict(settings) as context,
        path.open("rb") as file,
        c2pa.Reader(None, file, context=context) as reader,
    ):
        found: dict[str, Any] = json.loads(reader.json())
    return found


def active(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["manifests"][document["active_manifest"]]
    return found


def failures(document: dict[str, Any]) -> list[str]:
    return [each["code"] for each in document["validation_results"]["activeManifest"]["failure"]]


@pytest.mark.parametrize("name", NAMES)
def test_a_signed_file_is_valid_but_for_trust_and_trusted_with_the_root(media: Path, signing: Path, name: str) -> None:
    content, before = (media / name).read_bytes(), decoded(media / name)
    made = signed(media / name, signing)
    stranger, friend = read(made.path), read(made.path, signing / "root.pem")
    assert (stranger["validation_state"], failures(stranger)) == ("Valid", ["signingCredential.untrusted"])
    assert (friend["validation_state"], failures(friend)) == ("Trusted", [])
    assert decoded(made.path) == before
    assert (media / name).read_bytes() == content
    with made.path.open("rb") as file, (media / name).open("rb") as source:
        assert (made.sha256, made.received_sha256) == (digest(file), digest(source))
    assert 4000 < made.size - len(content) < 6000
    assert sorted(path.name for path in media.iterdir()) == sorted([*NAMES, made.path.name])
    found = verify(made.path)
    assert (found.state, found.codes, found.is_labelled) == (
        SignatureState.VALID,
        ("signingCredential.untrusted",),
        True,
    )
    assert verify(made.path, signing / "root.pem").state is SignatureState.TRUSTED
    assert (found.consent, found.signer, found.stamped_at) == ("release-114", "Example Ltd", "")


def test_the_manifest_says_what_was_done_to_what_and_with_whose_consent(media: Path, signing: Path) -> None:
    made = signed(media / "clip.mp4", signing)
    manifest = active(read(made.path))
    assertions = {each["label"]: each["data"] for each in manifest["assertions"]}
    target, face = manifest["ingredients"]
    assert (target["relationship"], target["title"]) == ("parentOf", "intro.mp4")
    assert target["informational_URI"] == "https://cdn.example.com/intro.mp4"
    assert (face["relationship"], face["description"]) == ("componentOf", f"SHA-256 {'ab' * 32}")
    opened, placed, edited = assertions["c2pa.actions.v2"]["actions"]
    assert [each["action"] for each in (opened, placed, edited)] == ["c2pa.opened", "c2pa.placed", "c2pa.edited"]
    assert target["label"] in opened["parameters"]["ingredients"][0]["url"]
    assert (edited["digitalSourceType"], edited["softwareAgent"]["name"]) == (
        label.TRAINED_SOURCE_TYPE,
        "CRUN video-face-swap",
    )
    assert assertions["org.batchswap.task"] == {
        "batch": "spring",
        "key": "intro",
        "provider": "crun",
        "task_id": "5f0c6b0e",
        "attempt": 1,
        "time": "2026-09-21T14:13:20Z",
        "received_sha256": made.received_sha256,
        "target_url": "https://cdn.example.com/intro.mp4",
        "consent": "release-114",
    }
    for secret in (b"secret", b"word@"):
        assert secret not in made.path.read_bytes()


def test_the_mesh_warp_is_declared_as_composite(media: Path, signing: Path) -> None:
    about = facts("still.png", provider="local", is_neural=False, target=SwapInput(sha256="cd" * 32))
    made = deliver_signed(SigningJob(media / "still.png", media / "made", about, signing))
    manifest = active(read(made.path))
    edited = next(each["data"] for each in manifest["assertions"] if "actions" in each["label"])["actions"][-1]
    assert edited["digitalSourceType"] == label.SOURCE_TYPE
    assert label.SOURCE_TYPE.encode() in made.path.read_bytes()
    assert manifest["ingredients"][0]["description"] == f"SHA-256 {'cd' * 32}"


@pytest.mark.parametrize("name", NAMES)
def test_one_flipped_byte_is_damage(media: Path, signing: Path, name: str) -> None:
    made = signed(media / name, signing)
    content = bytearray(made.path.read_bytes())
    content[content.index((media / name).read_bytes()[1500:1600]) + 50] ^= 1
    made.path.write_bytes(content)
    found = verify(made.path, signing / "root.pem")
    assert found.state is SignatureState.DAMAGED
    assert "Hash.mismatch" in "".join(found.codes) or found.problem


@pytest.mark.parametrize("appended", [box(b"uuid", b"0123456789abcdef more"), box(b"mdat", b"x"), b"\0\0\0\1junk"])
def test_a_box_that_is_appended_to_a_movie_is_damage(media: Path, signing: Path, appended: bytes) -> None:
    made = signed(media / "clip.mp4", signing)
    with made.path.open("ab") as file:
        file.write(appended)
    found = verify(made.path, signing / "root.pem")
    assert (found.state, "assertion.bmffHash.mismatch" in found.codes) == (SignatureState.DAMAGED, True)


@pytest.mark.parametrize("name", ["still.jpg", "still.png", "still.webp"])
def test_bytes_that_are_appended_to_a_picture_are_damage(media: Path, signing: Path, name: str) -> None:
    made = signed(media / name, signing)
    with made.path.open("ab") as file:
        file.write(b"more")
    assert verify(made.path).state is SignatureState.DAMAGED


def test_a_label_that_is_added_to_a_signed_file_is_damage(media: Path, signing: Path) -> None:
    """Therefore the label comes first."""
    made = signed(media / "clip.mp4", signing, label=False)
    late = deliver_signed(SigningJob(made.path, media / "late", facts("clip.mp4")))
    assert (verify(made.path).state, verify(made.path).is_labelled) == (SignatureState.VALID, False)
    assert (verify(late.path).state, verify(late.path).is_labelled) == (SignatureState.DAMAGED, True)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_was_changed_at_random_is_never_a_surprise(media: Path, signing: Path, name: str) -> None:
    """It is verified without an error, and what can still be signed is valid afterwards."""
    chance = random.Random(name)
    content = signed(media / name, signing).path.read_bytes()
    spoiled = media / f"spoiled-{name}"
    for _ in range(40):
        changed = bytearray(content)
        at = chance.randrange(min(len(changed), chance.choice((64, 600, 6000, 60_000))))
        match chance.randrange(4):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                del changed[at : at + chance.randrange(1, 30)]
            case 2:
                changed[at:at] = chance.randbytes(9)
            case 3:
                del changed[at:]
        spoiled.write_bytes(changed)
        assert verify(spoiled).state in SignatureState
        with suppress(ProvenanceError):
            made = deliver_signed(SigningJob(spoiled, media / "again", facts(name, task_id="other"), signing))
            assert verify(made.path).state is SignatureState.VALID
            made.path.unlink()


def vendor_signed(path: Path, key_folder: Path) -> None:
    """Sign a file as a vendor would, with a thumbnail."""
    keys = [(key_folder / each).read_bytes() for each in ("chain.pem", "key.pem")]
    actions = [{"action": "c2pa.created", "digitalSourceType": label.TRAINED_SOURCE_TYPE}]
    made_of = {
        "title": "made by the vendor",
        "claim_generator_info": [{"name": "Vendor"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
    }
    made = io.BytesIO()
    media_type = {".mp4": "video/mp4", ".jpg": "image/jpeg"}[path.suffix]
    with c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", *keys, None)) as signer, path.open("rb") as source:
        c2pa.Builder(made_of).sign(signer, media_type, source, made)
    path.write_bytes(made.getvalue())


@pytest.mark.parametrize("name", ["clip.mp4", "still.jpg"])
def test_a_manifest_of_the_vendor_is_kept_as_an_ingredient(media: Path, signing: Path, name: str) -> None:
    vendor_signed(media / name, signing)
    vendors = read(media / name)
    made = signed(media / name, signing)
    document = read(made.path, signing / "root.pem")
    assert (document["validation_state"], failures(document)) == ("Trusted", [])
    kept = [each for each in active(document)["ingredients"] if each.get("active_manifest")]
    assert [(each["active_manifest"], each["relationship"]) for each in kept] == [
        (vendors["active_manifest"], "componentOf")
    ]
    assert document["manifests"][vendors["active_manifest"]]["title"] == "made by the vendor"
    assert verify(made.path).is_labelled


def test_a_broken_manifest_of_the_vendor_is_no_damage_of_ours(media: Path, signing: Path) -> None:
    vendor_signed(media / "still.jpg", signing)
    content = bytearray((media / "still.jpg").read_bytes())
    content[-100] ^= 1
    (media / "still.jpg").write_bytes(content)
    assert verify(media / "still.jpg").state is SignatureState.DAMAGED
    made = signed(media / "still.jpg", signing)
    assert verify(made.path).state is SignatureState.VALID


def test_the_manifest_of_a_target_is_kept(media: Path, signing: Path) -> None:
    vendor_signed(media / "still.jpg", signing)
    about = facts("still.png", target=SwapInput(sha256="ef" * 32, path=media / "still.jpg"))
    made = deliver_signed(SigningJob(media / "still.png", media / "made", about, signing))
    document = read(made.path)
    parent = next(each for each in active(document)["ingredients"] if each["relationship"] == "parentOf")
    assert document["manifests"][parent["active_manifest"]]["title"] == "made by the vendor"
    assert parent["description"] == f"SHA-256 {'ef' * 32}"


def test_a_target_that_is_gone_or_no_media_is_only_named(media: Path, signing: Path) -> None:
    (media / "text").write_text("no media")
    for path in (media / "gone.mp4", media / "text"):
        about = facts("still.png", target=SwapInput(sha256="ef" * 32, path=path), key=path.name)
        made = deliver_signed(SigningJob(media / "still.png", media / f"made-{path.name}", about, signing))
        assert [each["relationship"] for each in active(read(made.path))["ingredients"]] == ["parentOf", "componentOf"]


@pytest.mark.parametrize("name", NAMES)
def test_no_picture_travels_in_the_manifest(media: Path, signing: Path, name: str) -> None:
    face = media / "anna.png"
    Image.effect_noise((64, 64), 90).save(face)
    with face.open("rb") as file:
        origin = SwapInput(sha256=digest(file), path=face)
    about = facts(name, target=SwapInput(sha256="00" * 32, path=media / "still.png"), faces=(origin,))
    made = deliver_signed(SigningJob(media / name, media / "made", about, signing))
    document, content = read(made.path), made.path.read_bytes()
    assert "thumbnail" not in json.dumps(document)
    assert b"thumbnail" not in content
    assert b"anna.png" not in content
    whole = face.read_bytes()
    assert not any(whole[at : at + 32] in content for at in range(200, len(whole) - 32, 32))
    assert all("thumbnail" not in each and "data" not in each for each in active(document)["ingredients"])


def test_a_file_is_signed_once(media: Path, signing: Path) -> None:
    made = signed(media / "clip.mp4", signing)
    content = made.path.read_bytes()
    again = signed(media / "clip.mp4", signing)
    assert (again.is_new, again.path, again.sha256) == (False, made.path, made.sha256)
    moved = deliver_signed(
        SigningJob(made.path, media / "x", facts("clip.mp4"), signing, received=made.received_sha256)
    )
    assert (moved.is_new, moved.path, moved.result) == (False, made.path, made.result)
    assert made.path.read_bytes() == content
    assert not (media / "x").exists()


@pytest.mark.parametrize("other", [{"attempt": 2}, {"task_id": "other"}, {"consent": "release-2"}])
def test_a_file_of_another_task_attempt_or_release_is_not_taken_for_this_one(
    media: Path, signing: Path, other: dict[str, object]
) -> None:
    made = signed(media / "still.png", signing)
    next_ = deliver_signed(SigningJob(made.path, media / "next", facts("still.png", **other), signing))
    assert next_.is_new
    found = verify(next_.path)
    assert found.task is not None
    assert found.task.received_sha256 == made.sha256
    assert len(read(next_.path)["manifests"]) == 2


def test_another_file_than_the_downloaded_one_is_not_signed(media: Path, signing: Path) -> None:
    with pytest.raises(ProvenanceError, match="is not the file that was downloaded"):
        signed(media / "still.png", signing, received="00" * 32)
    assert not (media / "signed-still.png").exists()


def test_half_a_file_of_a_killed_process_is_replaced(media: Path, signing: Path) -> None:
    (media / "signed-still.png.new").write_bytes(b"half")
    (media / "signed-still.png").write_bytes((media / "still.png").read_bytes()[:500])
    assert signed(media / "still.png", signing).is_new
    assert verify(media / "signed-still.png").state is SignatureState.VALID
    assert not (media / "signed-still.png.new").exists()


def test_the_permissions_are_those_of_the_result(media: Path, signing: Path) -> None:
    (media / "still.png").chmod(0o640)
    mask = os.umask(0o077)
    try:
        made = signed(media / "still.png", signing)
    finally:
        os.umask(mask)
    assert made.path.stat().st_mode & 0o777 == 0o640


def test_xmp_that_cannot_be_read_costs_the_label_but_not_the_signature(media: Path, signing: Path) -> None:
    with Image.open(media / "still.jpg") as picture:
        picture.save(media / "still.jpg", xmp=b"no XML")
    made = signed(media / "still.jpg", signing)
    assert made.remarks == ("it has no label: its XMP cannot be read, and the label would replace it",)
    found = verify(made.path)
    assert (found.state, found.is_labelled) == (SignatureState.VALID, False)


FULL = """
import resource, signal, sys
from pathlib import Path
from batchswap.errors import ProvenanceError
from batchswap.provenance.delivered_file import SigningJob, deliver_signed
from tests.provenance.conftest import facts
source, made, keys = map(Path, sys.argv[1:])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
for folder in (keys, None):
    try:
        deliver_signed(SigningJob(source, made, facts(source), folder))
    except ProvenanceError as error:
        print(error.culprit, error)
"""


def test_a_disk_that_is_full_is_named_and_leaves_nothing(media: Path, signing: Path) -> None:
    """A limit for the size of files has the same effect as a full disk."""
    clip = media / "clip.mp4"
    with clip.open("ab") as file:
        file.write(box(b"mdat", bytes(3_000_000)))
    command = [sys.executable, "-c", FULL, str(clip), str(media / "made.mp4"), str(signing)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"disk {media / 'made.mp4'} cannot be read or written: File too large"] * 2
    assert sorted(path.name for path in media.iterdir()) == sorted(NAMES)


LIMITED = """
import sys
from pathlib import Path
from batchswap.provenance.delivered_file import SigningJob, deliver_signed
from tests.provenance.conftest import facts
source, made, keys = map(Path, sys.argv[1:])
deliver_signed(SigningJob(source, made, facts(source), keys))
status = Path("/proc/self/status").read_text()  # ru_maxrss would count the process that started this one
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


def test_a_long_movie_is_signed_with_little_memory(media: Path, signing: Path) -> None:
    size = 120_000_000
    clip = media / "clip.mp4"
    with clip.open("ab") as file:
        file.write(struct.pack(">I4s", size, b"mdat"))
        file.truncate(file.tell() + size - 8)
    command = [sys.executable, "-c", LIMITED, str(clip), str(media / "made.mp4"), str(signing)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 120 + 250  # MB: c2pa reads a box in blocks of 256 MB, and the libraries take 100
    assert verify(media / "made.mp4").state is SignatureState.VALID
