"""Targets are examined for faces before they are paid for: `check --media` and `run --preflight` with real clips."""

import fcntl
import json
import os
import pty
import signal
import sqlite3
import stat
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from http.server import ThreadingHTTPServer
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Place, call
from tests.cli.processes import environment, finish, serving, start
from tests.cli.test_check_media import Quiet
from tests.http.local import in_thread
from tests.waits import wait_until

pytest.importorskip("mediapipe")
pytest.importorskip("skimage")

from manifests.demo_media import copier, duo_frames, find_data, read_anna, read_grace, view, write_video
from tests.engine import rendering

FRAMES = 6
HEADER = "id,video,face\n"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one clip of each kind, and a face."""
    folder = tmp_path_factory.mktemp("clips")
    copier(find_data("skimage", "data/astronaut.png"))(folder / "anna.png")
    copier(find_data("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"))(folder / "grace.jpg")
    anna, grace = read_anna(folder / "anna.png"), read_grace(folder / "grace.jpg")
    one = [view(anna, (320, 240), centre=(150 + n, 120), width=90) for n in range(FRAMES)]
    scene = rendering.scene(FRAMES, [(anna, 45, lambda _: (224, 128))])
    clips = {
        "one": one,
        "flipped": [np.rot90(frame, 2) for frame in one],
        "duo": islice(duo_frames(anna, grace), FRAMES),
        "small": (np.pad(frame, ((200, 264), (500, 332), (0, 0))) for frame in scene),
        "wall": rendering.scene(FRAMES, []),
    }
    for name, frames in clips.items():
        write_video(folder / f"{name}.mp4", frames, rate=5)
    return folder


@pytest.fixture
def filled(place: Place, shelf: Path) -> Place:
    """Return a place with these files, and a manifest of all of them."""
    for path in shelf.iterdir():
        copier(path)(Path(path.name))
    names = ("one", "flipped", "duo", "small", "wall")
    Path("m.csv").write_text(HEADER + "".join(f"{name},{name}.mp4,anna.png\n" for name in names))
    return place


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def env(filled: Place, base_url: str) -> dict[str, str]:
    return environment(base_url, filled.folder / "home") | {"XDG_CACHE_HOME": str(filled.folder / "cache")}


def test_check_names_targets_without_a_face_and_remembers_what_it_saw(filled: Place, env: dict[str, str]) -> None:
    done = finish(filled.folder, env, "check", "m.csv", "--media", "--json")
    assert done.returncode == 2, done.stderr
    said = json.loads(done.stdout)
    assert [(each["line"], each["field"], each["message"]) for each in said["problems"]] == [
        (6, "video", "no face found in wall.mp4: it would be paid for without a swap")
    ]
    flipped, duo, small = (each["message"] for each in said["remarks"])
    assert flipped == "flipped.mp4 is upside down: turn it, because a swap may fail"
    assert duo.startswith("duo.mp4 shows 2 faces at once: the largest is 21 % of the width, and a swap of the primary ")
    assert "takes the one on the right, from the start" in duo
    assert small.startswith("the largest face in small.mp4 is 3")
    assert " % of the width, less than 4 %: " in small
    assert (said["media"]["files"], said["media"]["faces"], said["media"]["targets"]) == (6, 1, 4)
    assert "batchswap: m.csv:6: video: no face found in wall.mp4: it would be paid for without a swap" in done.stderr
    cache = filled.folder / "cache" / "batchswap"
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert stat.S_IMODE((cache / "faces.db").stat().st_mode) == 0o600

    with closing(sqlite3.connect(cache / "faces.db")) as db, db:
        assert db.execute("select count(*) from faces").fetchone() == (5,)
        survey = (
            b'{"kind":"video","seconds":9.0,"frames":8,"at_once":4,"share":0.5,"place":"left","since":3.0,"turns":0}'
        )
        db.execute("update faces set survey = ?", (survey,))
    Path("renamed.mp4").write_bytes(Path("wall.mp4").read_bytes())
    Path("again.csv").write_text(HEADER + "wall,renamed.mp4,https://127.0.0.1:9/anna.png\n")
    shown, code = on_terminal(filled.folder, env, "check", "again.csv", "--media")
    assert code == 2, "the face is at a URL that does not answer"
    assert "renamed.mp4 shows 4 faces at once: the largest is 50 % of the width" in shown
    assert "on the left, from 0:03 on" in shown
    assert "looking for faces" in shown
    assert "1/1" in shown
    assert "Traceback" not in shown + done.stderr
    assert "looking for faces" not in done.stderr


def on_terminal(folder: Path, env: dict[str, str], *arguments: str) -> tuple[str, int]:
    """Run a command whose stderr is a terminal. Return what it wrote there, in one line, and its exit code."""
    ours, its = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 300, 0, 0))
    with start(folder, {**env, "TERM": "xterm"}, *arguments, stderr=its, stdout=subprocess.DEVNULL) as process:
        os.close(its)
        parts = []
        with suppress(OSError):  # the end of the terminal
            while part := os.read(ours, 65536):
                parts.append(part)
    os.close(ours)
    return b"".join(parts).decode().replace("\r\n", " "), process.returncode


class Noting(Quiet):
    """Notes the headers of all requests."""

    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(str(self.headers))
        super().do_GET()


def test_urls_are_downloaded_up_to_a_size_on_request(
    filled: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("CRUN_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    Noting.seen = []
    with in_thread(ThreadingHTTPServer(("127.0.0.1", 0), partial(Noting, directory=str(filled.folder)))) as port:
        url = f"http://127.0.0.1:{port}"
        Path("u.csv").write_text(
            HEADER + f"wall,{url}/wall.mp4?sig=SECRET,{url}/anna.png\none,{url}/one.mp4?sig=SECRET,{url}/anna.png\n"
        )
        without = call("check", "u.csv", "--media")
        assert (without.exit_code, Noting.seen) == (0, [])
        size = Path("wall.mp4").stat().st_size
        assert size < Path("one.mp4").stat().st_size
        done = call("check", "u.csv", "--media", "--fetch", str(size))
    assert done.exit_code == 2
    assert f"u.csv:2: video: no face found in {url}/wall.mp4?…: it would be paid for without a swap" in done.stderr
    assert f"{url}/one.mp4?… was not checked for faces: it is larger than {size:,} bytes" in done.stderr
    assert len(Noting.seen) == 2
    assert not any("ak_" in headers or "Authorization" in headers for headers in Noting.seen)
    assert "SECRET" not in done.output
    assert list(scratch.iterdir()) == []


def test_without_the_engine_everything_else_is_checked(filled: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUN_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("batchswap.operations.provider.check_engine", lambda: ["this needs mediapipe"])
    done = call("check", "m.csv", "--media")
    assert (done.exit_code, done.stdout) == (0, "m: 5 rows, no mistakes found\n")
    assert "the targets and face pictures are not checked for faces: this needs mediapipe" in done.stderr


@pytest.mark.parametrize(
    ("words", "option"),
    [(("check", "m.csv", "--fetch", "1MB"), "--media"), (("run", "m.csv", "--fetch", "1MB"), "--preflight")],
)
def test_an_option_without_the_one_that_it_belongs_to_is_refused(
    filled: Place, words: tuple[str, ...], option: str
) -> None:
    done = call(*words)
    assert (done.exit_code, f"--fetch: only {option} looks at targets" in done.stderr) == (2, True)


def of_pool(run: int) -> list[int]:
    """Return the processes that a run has started and that examine files."""
    threads = Path(f"/proc/{run}/task").glob("*/children")
    children = [int(pid) for listed in threads for pid in read_bytes(listed).split()]
    return [pid for pid in children if b"worker_process" in read_bytes(Path(f"/proc/{pid}/cmdline"))]


def read_bytes(path: Path) -> bytes:
    """Return what a file of /proc says; nothing if its thread or process has just ended."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def states(folder: Path) -> dict[str, tuple[str, str, int]]:
    """Return state, code and number of attempts of each task."""
    with closing(sqlite3.connect(folder / "batchswap.db")) as db:
        return {key: tuple(rest) for key, *rest in db.execute("select key, state, code, attempts from tasks")}


def test_a_run_fails_rows_without_a_face_and_survives_kills(filled: Place, env: dict[str, str]) -> None:
    """Kill first a run during its looks, then the processes of the next run."""
    Path("k.csv").write_text(HEADER + "one,one.mp4,anna.png\nwall,wall.mp4,anna.png\n")
    words = ("run", "k.csv", "--preflight", "--rate", "none")
    with start(filled.folder, env, *words, stderr=subprocess.DEVNULL) as first:
        pool = wait_until(lambda: of_pool(first.pid), "the run starts to look")
        first.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, pool)), "its processes end with it")
    assert {state for state, _, _ in states(filled.folder).values()} == {"queued"}

    with start(filled.folder, env, *words, stderr=subprocess.PIPE) as second:
        for pid in wait_until(lambda: of_pool(second.pid), "the run starts to look"):
            os.kill(pid, signal.SIGKILL)
        said = second.communicate(timeout=120)[1]
    assert "Traceback" not in said
    assert "was not checked for faces" not in said, "a look whose process dies is repeated"
    assert states(filled.folder) == {"one": ("done", "", 1), "wall": ("failed", "no-face", 0)}


def test_retry_and_a_run_without_the_option_submit_a_row_without_a_face(shop: Place, shelf: Path) -> None:
    copier(shelf / "wall.mp4")(Path("wall.mp4"))
    Path("w.csv").write_text(HEADER + "wall,wall.mp4,face.png\n")
    planned = call("plan", "w.csv", "--preflight")
    assert "faces: looked for in 1 target first, as `batchswap check --media` does now\n" in planned.stdout
    done = call("run", "w.csv", "--preflight", "--json", "--rate", "none")
    assert done.exit_code == 3
    summary = json.loads(done.stdout)
    assert (summary["counts"]["failed"], summary["credits"]["spent"], summary["requests"]["upload"]) == (1, 0, 0)
    assert states(Path()) == {"wall": ("failed", "no-face", 0)}
    assert "1 × no-face: no face found in wall.mp4" in call("status").stdout
    assert call("retry", "--code", "no-face").exit_code == 0
    assert call("run", "w.csv", "--rate", "none").exit_code == 0
    assert states(Path()) == {"wall": ("done", "", 1)}
