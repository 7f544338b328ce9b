"""Imports point down: every module has a layer and imports only what stands below it (docs/design.md, "Layers")."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import batchswap

PACKAGE = Path(batchswap.__file__).parent
LAYERS = """
    __main__
    cli api
    watch notifications
    operations
    preflight metrics
    report local.server
    runner
    delivery preflight.faces
    provenance
    client downloads callbacks ledger local.engine local.faults
    ratelimit media_hosts network
    manifest wire verdicts ratelimit.rule polling
    tasks
    states sqlite_errors state_folder mounts
    workers
    errors events clock settings
    __init__ local.__init__
"""
DEPTH = {name: depth for depth, row in enumerate(LAYERS.strip().split("\n")) for name in row.split()}
ONLY = {
    "aiohttp": "client downloads callbacks local.server watch network notifications",
    "apprise": "notifications",
    "aiohttp_socks": "network",
    "sqlite_utils": "ledger",
    "click": "cli",
    "openpyxl": "manifest",
    "mediapipe": "local.engine delivery",
    "av": "local.engine delivery",
    "cv2": "local.engine delivery",
    "dlib": "",
    "jinja2": "report",
    "matplotlib": "report",
    "prometheus_client": "metrics",
}
LOCAL_MAY_SHARE = {"workers", "wire", "tasks", "states", "errors", "clock", "network", "__init__"}


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def room(name: str) -> str:
    """The name in LAYERS that a module belongs to: its own, or that of the package around it."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        if (found := ".".join(parts[:end])) in DEPTH:
            return found
    raise AssertionError(f"give {name} a layer")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                is_module = (PACKAGE.parent / whole.replace(".", "/")).is_dir() or (
                    PACKAGE.parent / (whole.replace(".", "/") + ".py")
                ).exists()
                yield whole if is_module else str(node.module)


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_imports_point_down(path: Path) -> None:
    me = room(dotted(path))
    for name in imported(path):
        outside = name.partition(".")[0]
        if outside == "batchswap":
            other = room(name.removeprefix("batchswap").lstrip(".") or "__init__")
            if other == me:
                continue  # inside one room; test_no_cycles looks there
            assert DEPTH[other] > DEPTH[me], f"{me} must not import {other}"
            if me.startswith("local."):
                assert other.startswith("local.") or other in LOCAL_MAY_SHARE, f"{me} must not share {other}"
        elif outside in ONLY:
            assert me in ONLY[outside].split(), f"{me} must not import {outside}"


def test_no_cycles() -> None:
    graph = {f"batchswap.{dotted(p)}".removesuffix(".__init__"): set(imported(p)) for p in MODULES}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in graph.get(name, ()):
                if other in graph and other != name:
                    visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())
