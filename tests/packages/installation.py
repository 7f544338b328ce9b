"""Install the wheel into an empty environment with the core dependencies alone, as `pipx` does, and use it there."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from batchswap import __version__
from tests.cli.processes import serving
from tests.cli.quick import KEY
from tests.http.samples import movie, picture

ROWS = "id,video,face\nintro,intro.mp4,anna.png\noutro,outro.mp4,anna.png\n"


def check(wheel: Path) -> list[str]:
    """Return the commands that the installed wheel was used with. Raise an error if one of them fails."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        program = _installed(wheel, folder)
        with serving(folder / "server") as base_url:
            return _used(program, folder / "work", base_url)


def _installed(wheel: Path, folder: Path) -> Path:
    """Install the wheel below the folder with pipx, and return the program."""
    places = {"PIPX_HOME": str(folder / "pipx"), "PIPX_BIN_DIR": str(folder / "bin"), "PIPX_MAN_DIR": str(folder / "m")}
    subprocess.run(
        [sys.executable, "-m", "pipx", "install", "--quiet", "--python", sys.executable, str(wheel.resolve())],
        env={**os.environ, **places},
        cwd=folder,
        check=True,
    )
    return folder / "bin" / "batchswap"


def _used(program: Path, work: Path, base_url: str) -> list[str]:
    work.mkdir()
    (work / "spring.csv").write_text(ROWS, encoding="utf-8")
    (work / "anna.png").write_bytes(picture(".png"))
    for name in ("intro", "outro"):
        (work / f"{name}.mp4").write_bytes(movie() + name.encode())
    env = {"HOME": str(work), "PATH": os.defpath, "CRUN_API_KEY": KEY, "CRUN_BASE_URL": base_url, "LANG": "C.UTF-8"}
    used: list[str] = []

    def say(*words: str, **more: str) -> str:
        used.append(" ".join(words))
        done = subprocess.run([program, *words], cwd=work, env=env | more, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"batchswap {used[-1]}: exit {done.returncode}: {done.stderr}{done.stdout}"
        return done.stdout

    assert say("--version") == f"batchswap {__version__}\n"
    assert "Guide" in say("guide")
    say("check", "spring.csv")
    say("plan", "spring.csv")
    assert json.loads(say("run", "spring.csv", "--json"))["counts"]["done"] == 2
    assert json.loads(say("status", "--json"))["counts"]["done"] == 2
    assert "complete " in say(_BATCHSWAP_COMPLETE="bash_source")
    return used
