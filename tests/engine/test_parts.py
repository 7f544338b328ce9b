"""The engine's parts by themselves: smoothing, stages, geometry, colours, labels, the face model, missing libraries."""

import importlib.util
import multiprocessing
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchswap.errors import EngineError, MissingExtra
from batchswap.local import engine
from batchswap.local.engine import SwapJob, model, requirements
from batchswap.local.engine.facemesh import geometry, mesh
from batchswap.local.engine.media import colour_planes
from batchswap.local.engine.media.stages import ahead, behind
from batchswap.local.engine.metadata import label
from batchswap.local.engine.native_stderr import kept_stderr
from batchswap.local.engine.tracking import close_search, smoothing
from manifests.demo_media import Media


def face(seed: int = 1) -> geometry.Floats:
    """A hundred pixels wide, whatever it looks like."""
    points = np.random.default_rng(seed).uniform(0, 100, (mesh.POINTS, 3)).astype(np.float32)
    points[list(mesh.SIDES)] = [[0, 50, 0], [100, 50, 0]]
    return points


def test_smoothing_takes_noise_away_and_does_not_lag() -> None:
    still = face()
    dice = np.random.default_rng(2)
    speed = np.array([3, 1, 0], np.float32)
    moving = np.stack([still + speed * n for n in range(-4, 5)])
    noisy = moving + np.asarray(dice.normal(0, 0.3, moving.shape), np.float32)
    assert np.abs(smoothing.smooth(moving) - still).max() < 0.02
    before, after = np.abs(noisy[4] - still)[:, :2].mean(), np.abs(smoothing.smooth(noisy) - still)[:, :2].mean()
    assert after < 0.6 * before


def test_smoothing_keeps_a_blink() -> None:
    open_eye = face()
    shut = open_eye.copy()
    shut[159, 1] += 8
    frames = np.stack([open_eye] * 4 + [shut] + [open_eye] * 4)
    assert abs(smoothing.smooth(frames)[159, 1] - shut[159, 1]) < 0.3


def test_smoothing_follows_a_start_from_rest() -> None:
    still = face()
    frames = np.stack([still + np.array([max(0, n) * 6, 0, 0], np.float32) for n in range(-4, 5)])
    assert np.abs(smoothing.smooth(frames) - still).max() < 0.3


def test_smoothing_leaves_a_shaken_head_its_shaking() -> None:
    """A face that stays calm while its head is shaken swims."""
    still = face()
    frames = np.stack([still + np.array([0, 1.5 * (-1) ** n, 0], np.float32) for n in range(-4, 5)])
    assert np.abs(smoothing.smooth(frames) - frames[4]).max() < 0.1


def test_a_flash_is_not_spread_over_its_neighbours() -> None:
    dark = np.full((9, 468, 3), 60, np.float32)
    dark[4] = 200
    assert smoothing.steady(dark)[0, 0] > 190


def test_ahead_runs_ahead_and_hands_on_errors() -> None:
    def items() -> Iterator[int]:
        yield from range(20)
        raise ValueError("the end")

    seen = []
    with pytest.raises(ValueError, match=r"the end"), ahead(items()) as taken:
        for item in taken:
            seen.append(item)  # noqa: PERF402
    assert seen == list(range(20))


def test_ahead_stops_when_nobody_wants_more() -> None:
    threads = threading.active_count()
    with ahead(iter(range(10**9))) as taken:
        assert next(taken) == 0
    assert threading.active_count() == threads


def test_behind_does_all_in_order_and_hands_back_errors() -> None:
    done: list[int] = []
    with behind(done.append) as hand:
        for item in range(50):
            hand(item)
    assert done == list(range(50))

    def fail(item: int) -> None:
        raise ValueError(item)

    with pytest.raises(ValueError, match=r"0"), behind(fail) as hand:
        for item in range(50):
            hand(item)


@given(st.integers(-3, 3), st.integers(1, 400), st.integers(1, 400))
def test_turned_points_come_back(turns: int, wide: int, high: int) -> None:
    picture = np.zeros((high, wide), np.uint8)
    row, column = high // 3, wide // 2
    picture[row, column] = 1
    there = np.argwhere(np.rot90(picture, turns))[0]
    point = np.array([[there[1] + 0.5, there[0] + 0.5, 0]], np.float32)
    assert geometry.turned(point, turns, (wide, high))[0, :2].tolist() == [column + 0.5, row + 0.5]


@settings(max_examples=50)
@given(st.sampled_from([1, 5, 6, 9, 2]), st.booleans(), st.integers(0, 2**24 - 1))
def test_colours_survive_coding(matrix: int, full: bool, colour: int) -> None:
    rgb = np.array([[list(colour.to_bytes(3, "big"))]], np.uint8)
    way = colour_planes.Coding(matrix, full)
    assert np.abs(way.decode(way.encode(rgb)).astype(int) - rgb).max() <= 1


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_tiles_lie_inside_the_picture(wide: int, high: int) -> None:
    for left, top, right, bottom in close_search.tiles((wide, high)):
        assert 0 <= left < right <= wide
        assert 0 <= top < bottom <= high


def test_the_mesh_covers_the_face_without_a_hole() -> None:
    """Every inner edge belongs to two triangles; the edges with one are the outline."""
    edges: dict[frozenset[int], int] = {}
    for a, b, c in mesh.TRIANGLES.tolist():
        for edge in ((a, b), (b, c), (c, a)):
            edges[frozenset(edge)] = edges.get(frozenset(edge), 0) + 1
    outline = {frozenset(edge) for edge in zip(mesh.OVAL, mesh.OVAL[1:] + mesh.OVAL[:1], strict=True)}
    assert {edge for edge, count in edges.items() if count == 1} == outline
    assert set(edges.values()) == {1, 2}


def test_the_label_is_sound_xml_whatever_the_task_is_called() -> None:
    packet = label.xmp("<&\"'> ✓").replace("\ufeff", "")
    assert label.SOURCE_TYPE in ET.tostring(ET.fromstring(packet), encoding="unicode")


def test_stderr_is_kept_and_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    with kept_stderr() as said:
        subprocess.run(["sh", "-c", "echo chatter >&2"], check=True, timeout=60)
        assert said.text() == "chatter"
    subprocess.run(["sh", "-c", "echo after >&2"], check=True, timeout=60)
    assert capfd.readouterr().err == "after\n"


def test_swaps_say_nothing_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert engine.check_usable() == []
    assert capfd.readouterr().err == ""


def test_importing_the_engine_is_cheap() -> None:
    code = """import sys, batchswap.local.engine
print([name for name in ('numpy', 'cv2', 'av', 'mediapipe') if name in sys.modules])"""
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
        == "[]\n"
    )


def test_another_face_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.task"
    monkeypatch.setenv(model.VARIABLE, str(other))
    assert engine.check_usable() == [f"the face model {other} cannot be read: No such file or directory"]
    other.write_bytes(b"something else")
    assert "has an unexpected SHA-256" in engine.check_usable()[0]
    with pytest.raises(EngineError, match=r"has an unexpected SHA-256"):
        model.checked_path()
    other.write_bytes(model.find_packaged().read_bytes())
    assert engine.check_usable() == []


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "libGL.so.1: cannot open shared object file: No such file or directory",
            "apt-get install libgl1 libegl1 libgles2",
        ),
        ("libEGL.so.1: cannot open shared object file: No such file", "needs the system library libEGL.so"),
        ("libgthread-2.0.so.0: cannot open shared object file: No such file", "libglib2.0-0"),
        ("libfoo.so.3: cannot open shared object file: No such file", "install the system package that has libfoo.so"),
        ("something else", "cv2 cannot be loaded: something else"),
    ],
)
def test_a_missing_library_is_named_with_its_remedy(said: str, expected: str) -> None:
    assert expected in requirements.explain("cv2", said)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')", "libgl1"),
        ("raise ImportError('odd')", "cv2 cannot be loaded: odd"),
    ],
)
def test_a_broken_import_becomes_words(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "cv2.py").write_text(content)
    code = f"""import sys; sys.path.insert(0, {str(tmp_path)!r})
from batchswap.local.engine import check_usable; print(check_usable())"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert expected in done.stdout
    assert "Traceback" not in done.stderr


def test_a_missing_extra_names_it() -> None:
    code = """import sys; sys.modules['av'] = None
from batchswap.local.engine import check_usable, probe; print(check_usable()); probe(None, 'video')"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert "pip install 'batchswap[local]'" in done.stdout
    assert MissingExtra.__name__ in done.stderr


def test_errors_and_reports_come_back_from_a_worker_process(tmp_path: Path, media: Media) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as worker:
        job = SwapJob(media.anna, tmp_path / "out.png", ((None, media.grace),))
        assert worker.submit(engine.swap, job).result(60).swapped_frames == 1
        with pytest.raises(EngineError, match=r"^the file is a still picture, not a video$") as caught:
            worker.submit(engine.swap, replace(job, output=tmp_path / "out.mp4")).result(60)
    assert caught.value.culprit == "video"


def test_no_module_takes_the_place_of_a_function() -> None:
    """Importing a module sets its name in the package around it."""
    assert [name for name in engine.__all__ if importlib.util.find_spec(f"{engine.__name__}.{name}")] == []
