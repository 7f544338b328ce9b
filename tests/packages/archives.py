"""Read the wheel and the sdist, and find files that are missing or do not belong there."""

import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from batchswap import __version__

ROOT = Path(__file__).parents[2]
OF_SDIST = {"pyproject.toml", "README.md", "LICENSE", ".gitignore", "PKG-INFO"}
OF_WHEEL = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def package_files() -> set[str]:
    """Return the files of the package that git knows; all files where there is no repository."""
    command = ["git", "ls-files", "-z", "--cached", "--", "batchswap"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return {name for name in done.stdout.split("\0") if name}
    found = (path for path in (ROOT / "batchswap").rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(ROOT)) for path in found}


def content_of(archive: Path) -> dict[str, bytes]:
    """Return the files of a wheel or an sdist by name."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as packed:
            return {name: packed.read(name) for name in packed.namelist()}
    with tarfile.open(archive) as packed:
        assert all(member.isfile() for member in packed), "the sdist has something else than files"
        return {member.name: file.read() for member in packed if (file := packed.extractfile(member))}


def wanted_in(archive: Path) -> set[str]:
    """Return the names that the archive should have, and no others."""
    if archive.suffix == ".whl":
        return package_files() | {f"batchswap-{__version__}.dist-info/{name}" for name in OF_WHEEL}
    return {f"batchswap-{__version__}/{name}" for name in package_files() | OF_SDIST}


def faults_of(content: Mapping[str, bytes], wanted: set[str]) -> list[str]:
    """Return a sentence for each file that is missing, does not belong here, or names a folder of this machine."""
    faults = [f"{name} is missing" for name in sorted(wanted - content.keys())]
    faults += [f"{name} does not belong here, or is not in git yet" for name in sorted(content.keys() - wanted)]
    places = [str(place).encode() for place in (ROOT, Path.home()) if len(place.parts) > 2]
    for name, data in sorted(content.items()):
        faults += [f"{name} names the folder {place.decode()}" for place in places if place in data]
    return faults
