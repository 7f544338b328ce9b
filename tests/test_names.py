"""A name means one idea: the limits that keep the layout readable for newcomers."""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import batchswap

PACKAGE = Path(batchswap.__file__).parent
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__init__.py"]
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def classes() -> Iterator[tuple[Path, ast.ClassDef]]:
    for path, tree in TREES.items():
        yield from ((path, node) for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def aliases(tree: ast.Module) -> Iterator[str]:
    """Yield the type aliases of a module: names like classes that get a value, type variables aside."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign([ast.Name(name)], ast.Call(ast.Name("TypeVar" | "ParamSpec"))):
                continue
            case ast.Assign([ast.Name(name)]) | ast.AnnAssign(ast.Name(name)):
                if name.lstrip("_")[:1].isupper() and not name.isupper():
                    yield name


def test_a_class_or_alias_is_defined_once() -> None:
    places = defaultdict(list)
    for path, node in classes():
        places[node.name.lstrip("_")].append(path.name)
    for path, tree in TREES.items():
        for name in aliases(tree):
            places[name.lstrip("_")].append(path.name)
    assert len(places) > 300
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_file_name_occurs_three_times() -> None:
    assert [name for name, count in Counter(path.name for path in MODULES).items() if count > 2] == []


def test_no_folder_has_more_than_sixteen_modules() -> None:
    assert [folder for folder, count in Counter(path.parent for path in MODULES).items() if count > 16] == []


def test_few_modules_are_shorter_than_forty_lines() -> None:
    short = [path.name for path in MODULES if len(path.read_text(encoding="utf-8").splitlines()) < 40]
    assert len(short) < 12, short


def parameters(node: ast.ClassDef) -> int:
    """Count what a constructor takes: the arguments of `__init__`, or the fields of a dataclass.

    Frozen dataclasses and msgspec.Structs are left out. They are values, whose fields are columns or JSON keys.
    """
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            return len(each.args.posonlyargs + each.args.args + each.args.kwonlyargs) - 1
    made = [text for text in map(ast.unparse, node.decorator_list) if "dataclass" in text]
    if not made or "frozen=True" in made[0]:
        return 0
    return sum(isinstance(each, ast.AnnAssign) and "init=False" not in ast.unparse(each) for each in node.body)


def test_no_constructor_has_more_than_nine_parameters() -> None:
    assert {node.name: count for _, node in classes() if (count := parameters(node)) > 9} == {}


def test_lambdas_are_rare() -> None:
    lambdas = sum(isinstance(node, ast.Lambda) for tree in TREES.values() for node in ast.walk(tree))
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in TREES)
    assert lambdas * 1000 < 4 * lines
