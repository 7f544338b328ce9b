"""Fixtures of the tests that talk over sockets."""

from pathlib import Path

import pytest

from batchswap.downloads import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "results", "spring/intro.mp4")
