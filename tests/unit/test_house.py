"""The budgets of the house: sizes and docstrings, with each exception named and its reason said."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = [path for part in ("frontdoor", "lab", "modules", "tests") for path in sorted((ROOT / part).rglob("*.py"))]
STATES = sorted((ROOT / "states").rglob("*.sls"))
CATALOGUE = sorted((ROOT / "pillar" / "services").glob("*.yaml"))
PRODUCTION = [path for path in PYTHON if (ROOT / "tests") not in path.parents]

BODY, MEDIAN, FILE, SLS, SERVICE = 45, 10, 400, 60, 80
EXCEPTIONS = {
    "tests/unit/site_samples.py:full": "one literal: a site file with every key that there is",
    "pillar/services/libvirt.yaml": "two ways of live migration, each with its sockets, files and certificates",
    "pillar/services/neutron.yaml": "the server's four processes on controllers, the metadata agent on computes",
    "pillar/services/nova.yaml": "all daemons of nova on two roles, with the steps that join them in a cell",
}
"""What is over its budget, and why it may be."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def body(function: Function) -> int:
    """Return the lines of a function without its signature and docstring."""
    statements = function.body[1:] if ast.get_docstring(function) else function.body
    return (statements[-1].end_lineno or 0) - statements[0].lineno + 1 if statements else 0


def bodies(paths: list[Path]) -> dict[str, int]:
    """Return the size of every function; of those with one name in one file the largest."""
    sizes: dict[str, int] = {}
    for path in paths:
        for function in functions(tree_of(path)):
            key = f"{name(path)}:{function.name}"
            sizes[key] = max(sizes.get(key, 0), body(function))
    return sizes


def files(paths: list[Path]) -> dict[str, int]:
    return {name(path): lines(path) for path in paths}


BUDGETS: list[tuple[str, Callable[[], dict[str, int]], int]] = [
    ("function bodies", lambda: bodies(PYTHON), BODY),
    ("files", lambda: files(PYTHON), FILE),
    ("SLS", lambda: files(STATES), SLS),
    ("services", lambda: files(CATALOGUE), SERVICE),
]


@pytest.mark.parametrize(("measure", "limit"), [each[1:] for each in BUDGETS], ids=[each[0] for each in BUDGETS])
def test_nothing_is_larger_than_its_budget(measure: Callable[[], dict[str, int]], limit: int) -> None:
    sizes = measure()
    assert len(sizes) > 10
    assert {key: size for key, size in sizes.items() if size > limit and key not in EXCEPTIONS} == {}


def test_an_exception_that_nobody_needs_goes() -> None:
    larger = {key for _, measure, limit in BUDGETS for key, size in measure().items() if size > limit}
    assert set(EXCEPTIONS) - larger == set()


def test_functions_are_short_by_habit() -> None:
    sizes = bodies(PRODUCTION)
    assert len(sizes) > 500
    assert statistics.median(sizes.values()) <= MEDIAN


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Yield what is public in a module and has no docstring: itself, its classes, functions and methods."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for node in (tree, *(each for owner in (tree, *classes) for each in owner.body)):
        known = "module" if isinstance(node, ast.Module) else getattr(node, "name", "_")
        if isinstance(node, Documented) and not known.startswith("_") and not ast.get_docstring(node):
            yield known


@pytest.mark.parametrize("path", [*PRODUCTION, *STATES], ids=name)
def test_everything_public_says_what_it_is(path: Path) -> None:
    if path.suffix == ".sls" and not path.read_text().startswith("#!py"):
        return
    missing = list(undocumented(tree_of(path)))
    # What an SLS is, its only function says.
    assert [each for each in missing if path.suffix == ".py" or each != "module"] == []


def test_a_missing_docstring_is_seen() -> None:
    tree = ast.parse("def f(): pass\ndef _g(): pass\nclass A:\n    '''Is.'''\n    def m(self): pass\n")
    assert list(undocumented(tree)) == ["module", "f", "m"]


@pytest.mark.parametrize(
    "path", [path for part in ("_modules", "_runners") for path in (ROOT / "modules" / part).glob("*.py")], ids=name
)
def test_what_an_operator_may_call_shows_how(path: Path) -> None:
    public = [node for node in tree_of(path).body if isinstance(node, Function) and node.name[0] != "_"]
    assert public
    for function in public:
        _, _, example = (ast.get_docstring(function) or "").partition("CLI Example:")
        assert re.search(rf"^ *salt\S* .*\b[a-z_]+\.{function.name}\b", example, re.MULTILINE), function.name


def test_no_sls_decides_anything() -> None:
    assert [name(path) for path in STATES if "{%" in path.read_text() or "{{" in path.read_text()] == []
