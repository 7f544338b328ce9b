"""Encode a video or a still again, with a visible label on every frame, and keep everything else of it."""

from itertools import chain
from pathlib import Path

import av
from av.video.frame import VideoFrame
from PIL import Image

from batchswap.errors import EngineError
from batchswap.local.engine.media import file_types, omissions, reader, stills, subtitles
from batchswap.local.engine.media.orientation import orientation_of
from batchswap.local.engine.media.sound import formats
from batchswap.local.engine.media.stages import ahead, behind
from batchswap.local.engine.media.writer import open_writer
from batchswap.local.engine.native_stderr import kept_stderr
from batchswap.local.engine.swap_video import peek
from batchswap.local.engine.visible_text import Overlay

THREADS = 1
"""Threads of the decoder and of the encoder: a run labels one result for each core at a time."""


def draw_label(source: Path, output: Path, text: str) -> tuple[str, ...]:
    """See batchswap.local.engine.draw_label."""
    work = draw_on_still if output.suffix in stills.ENDINGS else draw_on_clip
    try:
        with kept_stderr():
            return work(source, output, text)
    except av.error.FFmpegError as error:
        output.unlink(missing_ok=True)
        raise EngineError("video", f"the video cannot be encoded again: {error.strerror}") from error
    except BaseException:
        output.unlink(missing_ok=True)
        raise


def draw_on_clip(source: Path, output: Path, text: str) -> tuple[str, ...]:
    sounds = formats(source, "video")
    with reader.open_clip(source, "video", THREADS) as clip:
        notes = omissions.notes(clip)
        with ahead(clip.packets((*clip.audio, *subtitles.readable(clip.container)))) as items:
            first, frame = peek(items)
            if frame is None:
                raise EngineError("video", "the video has no frames")
            overlay = Overlay.of(text, frame.width, frame.height, orientation_of(frame).turns)
            layers = overlay.layers(clip.coding, halved=reader.planes_of(frame).halved)
            with (
                open_writer(output, clip, frame, sounds, None, THREADS) as writer,
                behind(writer.put) as hand,
            ):
                notes += writer.notes
                for item in chain(first, items):
                    if isinstance(item, VideoFrame):
                        item.make_writable()  # the decoder still uses its own copy
                        overlay.put(reader.planes_of(item), layers)
                    hand(item)
    return tuple(notes)


def draw_on_still(source: Path, output: Path, text: str) -> tuple[str, ...]:
    if is_animated(source):
        raise EngineError("image", "the picture is an animation, of which only the first picture would be left")
    picture = stills.read(source, "image")
    height, width = picture.rgb.shape[:2]
    Overlay.of(text, width, height).put_rgb(picture.rgb, picture.alpha)
    stills.write(output, picture, None)
    return ()


def is_animated(source: Path) -> bool:
    """Return whether a PNG or WebP file has several pictures. A JPEG may have a second one, for bright screens."""
    kind = file_types.still_of(file_types.read_start(source))
    if kind not in ("PNG", "WebP"):
        return False
    with stills.opened(source, kind, "image") as image:
        return _frames(image) > 1


def _frames(image: Image.Image) -> int:
    return int(getattr(image, "n_frames", 1))
