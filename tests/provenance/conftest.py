"""Small media of each format, keys made once, and facts about a task."""

import io
import shutil
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from batchswap.provenance import keys
from batchswap.provenance.delivered_file import SignedFile, SigningJob, deliver_signed
from batchswap.provenance.manifest import SwapFacts, SwapInput
from batchswap.tasks import MediaKind

MOVIES = {"clip.mp4": "", "clip.mov": "", "clip-start.mp4": "faststart", "clip-parts.mp4": "frag_keyframe+empty_moov"}
"""Movies with their flags: the index is at the end, at the beginning, or in fragments."""
NAMES = (*MOVIES, "still.jpg", "still.png", "still.webp", "lossless.webp")


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one file of each format."""
    folder = tmp_path_factory.mktemp("media")
    noise = np.random.default_rng(1).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    for name in ("still.jpg", "still.png", "still.webp"):
        picture.save(folder / name)
    picture.putalpha(128)
    picture.save(folder / "lossless.webp", lossless=True)
    for name, flags in MOVIES.items():
        with av.open(folder / name, "w", options={"movflags": flags} if flags else {}) as made:
            stream = made.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
            for _ in range(3):
                made.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
            made.mux(stream.encode())
    return folder


@pytest.fixture
def media(originals: Path, tmp_path: Path) -> Path:
    """Return a folder with a copy of each file."""
    return Path(shutil.copytree(originals, tmp_path / "media"))


@pytest.fixture(scope="session")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of keys, as `sign init` makes it."""
    folder = tmp_path_factory.mktemp("keys")
    keys.create(folder, "Example Ltd")
    return folder


def kind_of(name: str | Path) -> MediaKind:
    return "video" if "clip" in Path(name).stem else "image"


def facts(name: str | Path, **more: object) -> SwapFacts:
    """Return facts about a swap by the API."""
    values = {
        "batch": "spring",
        "key": "intro",
        "kind": kind_of(name),
        "model": "video-face-swap",
        "provider": "crun",
        "is_neural": True,
        "task_id": "5f0c6b0e",
        "attempt": 1,
        "at": 1_790_000_000.0,
        "target": SwapInput("https://user:word@cdn.example.com/intro.mp4?signature=secret"),
        "faces": (SwapInput(sha256="ab" * 32),),
        "consent": "release-114",
    }
    return SwapFacts(**{**values, **more})  # type: ignore[arg-type]


def signed(path: Path, keys_: Path | None, **more: object) -> SignedFile:
    """Label and sign a file next to it."""
    return deliver_signed(SigningJob(path, path.with_name(f"signed-{path.name}"), facts(path), keys_, **more))  # type: ignore[arg-type]


def decoded(path: Path) -> bytes:
    """Return all pixels of a file."""
    if kind_of(path) == "image":
        with Image.open(path) as picture:
            return picture.convert("RGBA").tobytes()
    with av.open(path) as clip:
        return b"".join(frame.to_ndarray().tobytes() for frame in clip.decode(video=0))


def xmp_of(path: Path) -> str:
    """Return the XMP of a file as independent readers find it."""
    if kind_of(path) == "image":
        with Image.open(path) as picture:
            found = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or b""
        return found if isinstance(found, str) else found.decode()
    with av.open(path, options={"export_xmp": "1"}) as clip:
        return str(clip.metadata.get("xmp", ""))


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), name) + body


def with_xmp(path: Path, packet: bytes) -> None:
    """Give a file an XMP packet, in the middle of a movie or with the picture's own writer."""
    if kind_of(path) == "video":
        content = path.read_bytes()
        found = box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + packet)
        path.write_bytes(content + found + box(b"free", b"later"))
        return
    with Image.open(path) as picture:
        made = io.BytesIO()
        if picture.format == "PNG":
            from PIL.PngImagePlugin import PngInfo

            text = PngInfo()
            text.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=True)
            picture.save(made, "PNG", pnginfo=text)
        else:
            lossless = {"lossless": True} if path.suffix == ".webp" else {}
            picture.save(made, picture.format, xmp=packet, **lossless)
    path.write_bytes(made.getvalue())
