"""The contents of the wheel and the sdist. `make dist` also installs the wheel and uses it."""

import os
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

from tests.packages.archives import ROOT, content_of, faults_of, package_files, wanted_in


def built(source: Path, target: Path, mask: int = 0o022) -> tuple[Path, Path]:
    """Build both archives of a source tree, as `python -m build` does, but without another environment for it."""
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(target)]
    env = os.environ | {"SOURCE_DATE_EPOCH": "1767225600"}
    subprocess.run(command, cwd=source, env=env, umask=mask, check=True, capture_output=True)
    return next(target.glob("*.whl")), next(target.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return built(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.mark.parametrize("number", [0, 1], ids=["wheel", "sdist"])
def test_an_archive_has_the_package_and_nothing_else(archives: tuple[Path, Path], number: int) -> None:
    content = content_of(archives[number])
    assert faults_of(content, wanted_in(archives[number])) == []
    names = {name.rpartition("batchswap/")[2] for name in content}
    assert names >= {"py.typed", "__init__.pyi", "docs/guide.md", "watch/live.js", "report/page/templates/page.css"}
    assert any(name.endswith("/LICENSE") for name in content)


def test_faults_are_found() -> None:
    content = {"batchswap/a.py": f"PLACE = '{ROOT}/x'".encode(), "batchswap/__pycache__/a.pyc": b""}
    assert faults_of(content, {"batchswap/a.py", "batchswap/py.typed"}) == [
        "batchswap/py.typed is missing",
        "batchswap/__pycache__/a.pyc does not belong here, or is not in git yet",
        f"batchswap/a.py names the folder {ROOT}",
    ]


def test_the_sdist_builds_the_same_wheel_and_itself(archives: tuple[Path, Path], tmp_path: Path) -> None:
    """The second build is in another folder, by a user whose files are private."""
    with tarfile.open(archives[1]) as packed:
        packed.extractall(tmp_path, filter="data")
    again = built(next(tmp_path.iterdir()), tmp_path / "dist", mask=0o077)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in archives]


def test_the_wheel_has_the_command_and_the_core_dependencies(archives: tuple[Path, Path]) -> None:
    content = content_of(archives[0])
    info = next(name for name in content if name.endswith("/METADATA")).removesuffix("METADATA")
    assert b"batchswap = batchswap.__main__:main" in content[f"{info}entry_points.txt"]
    lines = content[f"{info}METADATA"].decode().partition("\n\n")[0].splitlines()
    needed = [line for line in lines if line.startswith("Requires-Dist: ") and "extra ==" not in line]
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert len(needed) == len(wanted)


def test_the_package_is_known() -> None:
    assert len(package_files()) > 300
