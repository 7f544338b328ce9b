"""Files that a pattern in a matrix matches, among links and special files."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from batchswap.errors import Flaw
from batchswap.manifest.patterns import matching_files

Make = Callable[..., list[str]]


@pytest.fixture
def found(tmp_path: Path) -> Make:
    """Make files and links (`name -> target`), then match a pattern."""

    def make(pattern: str, *names: str, inside: str = ".") -> list[str]:
        for name in names:
            path, _, where = name.partition(" -> ")
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            if where:
                (tmp_path / path).symlink_to(where)
            else:
                (tmp_path / path).write_bytes(b"x")
        return matching_files(str(tmp_path / inside), pattern)

    return make


PATTERNS = [
    ("*.mp4", ["a.mp4", "b.mp4"]),
    ("?.[mn]p4", ["a.mp4", "b.mp4", "c.np4"]),
    ("**/*.mp4", ["a.mp4", "b.mp4", "d/a.mp4", "d/e/a.mp4"]),
    ("**/**/a.mp4", ["a.mp4", "d/a.mp4", "d/e/a.mp4"]),
    ("d/**", ["d/a.mp4", "d/e/a.mp4", "d/e/b"]),
    ("d/**/e/*", ["d/e/a.mp4", "d/e/b"]),
    ("*/*.mp4", ["d/a.mp4"]),
    ("./d/../*.np4", ["./d/../c.np4"]),
    ("**/.h*", [".hidden.mp4"]),
    (".git/*", [".git/a.mp4"]),
    ("[*]", []),
    ("d/*/", []),
    ("a.mp4/*", []),
    ("no/*", []),
]


@pytest.mark.parametrize(("pattern", "expected"), PATTERNS)
def test_patterns(found: Make, pattern: str, expected: list[str]) -> None:
    names = ("a.mp4", "b.mp4", "c.np4", "d/a.mp4", "d/e/a.mp4", "d/e/b", ".hidden.mp4", ".git/a.mp4")
    assert found(pattern, *names) == expected


def test_letters_match_however_they_are_composed(found: Make) -> None:
    assert found("Zo?/A\u0308*.mp4", "Zoe\u0308/\u00c41.mp4", "Zoe\u0308/A1.mp4") == ["Zoe\u0308/\u00c41.mp4"]


CIRCLES = [
    (["up -> ."], ["a.mp4", "d/b.mp4"]),
    (["d/up -> .."], ["a.mp4", "d/b.mp4"]),
    (["d/self -> self", "d/gone -> nowhere"], ["a.mp4", "d/b.mp4"]),
    ([f"d/up{n} -> .." for n in range(12)], ["a.mp4", "d/b.mp4"]),
    (["0 -> d", "z -> d"], ["a.mp4", "d/b.mp4"]),
    (["0.mp4 -> a.mp4", "d/0.mp4 -> b.mp4"], ["a.mp4", "d/b.mp4"]),
    (["0/c.mp4", "0/d -> ../d", "d/0 -> ../0"], ["0/c.mp4", "a.mp4", "d/b.mp4"]),
]


@pytest.mark.parametrize(("links", "expected"), CIRCLES)
def test_links_in_circles_give_each_file_once_by_its_own_name(
    found: Make, links: list[str], expected: list[str]
) -> None:
    assert found("**/*.mp4", "a.mp4", "d/b.mp4", *links) == expected


def test_a_folder_that_only_links_lead_to_is_searched_once(found: Make) -> None:
    names = ("other/x.mp4", "here/one -> ../other", "here/two -> ../other", "here/file.mp4 -> ../other/x.mp4")
    assert found("**/*.mp4", *names, inside="here") == ["one/x.mp4"]
    assert found("*/*.mp4", inside="here") == ["one/x.mp4"]


def test_pipes_devices_and_folders_are_not_matched(tmp_path: Path, found: Make) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    assert found("*.mp4", "null.mp4 -> /dev/null", "a.mp4") == ["a.mp4"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_an_error(tmp_path: Path, found: Make) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(0)
    with pytest.raises(Flaw, match=r'cannot search the folder "locked/": Permission denied'):
        found("**/*.mp4", "a.mp4")
