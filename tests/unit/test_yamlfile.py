"""Whatever stands in a YAML file, reading it ends in a mapping or in Problems that say where."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from saltern import yamlfile
from saltern.errors import Problems

DEEP = "[" * 101 + "]" * 101
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n" for before, name in zip("abcdef", "bcdefg", strict=True)
)

REFUSED = [
    # text, where, part of the message
    ("", "f", "empty file"),
    ("# only a comment\n", "f", "empty file"),
    ("- a\n- b\n", "f:1:1", "a list"),
    ("word", "f:1:1", "a mapping"),
    ("a: [1, 2\nb: 3\n", "f:2:2", "YAML"),
    ("a: b: c\n", "f:1:5", "YAML"),
    ("a:\n\t- b\n", "f:2:1", "YAML"),
    ('a: "x\n', "f:2:1", "YAML"),
    ("a: *nowhere\n", "f:1:4", "YAML"),
    ("a: 1\n---\nb: 2\n", "f:2:1", "YAML"),
    ("a: \x07\n", "f", "YAML"),
    ("a: !!python/object/apply:os.system [ls]\n", "f:1:4", "YAML"),
    ("a: 1\nb: 2\na: 3\n", "f:3:1", "line 1 already"),
    ("a: {b: 1, b: 2}\n", "f:1:11", "each key once"),
    ("a: {'b': 1, b: 2}\n", "f:1:13", "each key once"),
    ("? [a, b]\n: 1\n", "f:1:3", "a plain word"),
    ("? {a: b}\n: 1\n", "f:1:3", "a plain word"),
    ("a: 2025-13-45\n", "f:1:4", "month must be"),
    ("a: !!int ''\n", "f:1:4", "does not fit its type"),
    ("a: !!int word\n", "f:1:4", "does not fit its type"),
    ("a: !!bool word\n", "f:1:4", "does not fit its type"),
    ("a: !!timestamp word\n", "f:1:4", "does not fit its type"),
    (f"a: {'9' * 5000}\n", "f:1:4", "does not fit its type"),
    (f"a: 0x{'f' * 5000}\n", "f:1:4", "64 bits"),
    (f"a: {DEEP}\n", "f:1:103", "101 levels"),
    ("[" * 50_000, "f:1:101", "101 levels"),
    ("a: &a\n  b: *a\n", "f:1:4", "inside its own anchor"),
    ("a: &a [*a]\n", "f:1:4", "inside its own anchor"),
    (BOMB, "f", "once aliases are followed"),
    ("a: \ud800\n", "f", "UTF-8"),
]


@pytest.mark.parametrize(("text", "where", "message"), REFUSED)
def test_refused_with_its_place(text: str, where: str, message: str) -> None:
    with pytest.raises(Problems) as caught:
        yamlfile.parse(text, "f")
    assert where in [problem.path for problem in caught.value.problems]
    assert message in str(caught.value)


def test_all_repeated_keys_are_found_at_once() -> None:
    with pytest.raises(Problems) as caught:
        yamlfile.parse("a: 1\na: 2\nb: {c: 1, c: 2}\nb: 3\n", "f")
    assert [problem.path for problem in caught.value.problems] == ["f:2:1", "f:4:1", "f:3:11"]


def test_values_anchors_and_merges() -> None:
    text = "base: &base {x: 1, y: 2}\nother: {<<: *base, y: 3}\nlist: [*base, null, 1.5, yes, '2025.1']\n"
    base = {"x": 1, "y": 2}
    assert yamlfile.parse(text) == {"base": base, "other": {"x": 1, "y": 3}, "list": [base, None, 1.5, True, "2025.1"]}


def test_alias_depth_adds_up() -> None:
    nested = "a: &a " + "[" * 90 + "]" * 90
    links = [("b", "a"), ("c", "b")]
    text = "\n".join([nested, *(f"{to}: &{to} {'[' * 90}*{of}{']' * 90}" for to, of in links)])
    with pytest.raises(Problems, match="levels"):
        yamlfile.parse(text)


@pytest.fixture
def without_libyaml(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as it is where PyYAML was built without libyaml."""
    monkeypatch.delattr(yaml, "CSafeLoader")
    spec = importlib.util.spec_from_file_location("slow_yamlfile", yamlfile.__file__)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_slow_loader_refuses_the_same(without_libyaml: ModuleType) -> None:
    assert issubclass(without_libyaml._Loader, yaml.SafeLoader)
    assert without_libyaml.parse("a: {b: 1}") == {"a": {"b": 1}}
    for text, _, _ in REFUSED:
        with pytest.raises(Problems):
            without_libyaml.parse(text, "f")


def test_load_reads_a_file(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_bytes("\ufeffname: Zürich\n".encode())
    assert yamlfile.load(file) == {"name": "Zürich"}


def test_unreadable_files(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"a: \xff\xfe")
    cases = {tmp_path / "none": "No such file", tmp_path: "directory", binary: "byte 0xff at offset 3", "a\0b": "null"}
    for path, message in cases.items():
        with pytest.raises(Problems) as caught:
            yamlfile.load(path)
        assert caught.value.problems[0].path == str(path)
        assert message in str(caught.value)
