"""Whatever is done to a site file, reading it ends in a Site or in Problems that say where and what is accepted."""

from __future__ import annotations

import copy
import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saltern import bootfiles, planning, profiles, secrets, site
from saltern.answers import Sources
from saltern.errors import Problems
from saltern.resolve import resolve

from tests.sample import real_catalogue
from tests.unit.boot_samples import KICKSTART, MIRRORS
from tests.unit.site_samples import full

# What is drawn by chance does not count as reaching a line.
pytestmark = pytest.mark.no_cover

CATALOGUE = real_catalogue()
NAMES = {name: service.paths() for name, service in CATALOGUE.items()}
TEXT = yaml.safe_dump(full(), sort_keys=False)

Path_ = tuple[Any, ...]
NUMBERS = [None, True, False, 0, -1, 1, 4095, 10**12, 1.5, float("nan"), float("inf")]
WORDS = ["", " ", "x", "null", "\ud800", "a\nb", "10.20.0.11", "10.20.0.0/24", "255.255.255.255", "0.0.0.0/0", "1-2"]
OTHERS = ["2-1", "-", "ctl1", "[", "/", "ü" * 300, b"x", datetime.date(2025, 1, 1), (1,)]
NESTED = [[], {}, [None], [[]], {"a": 1}, {1: 2}, {None: None}, {"carries": "trunk"}]
SPECIAL = st.sampled_from([*NUMBERS, *WORDS, *OTHERS, *NESTED])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = SPECIAL | SCALARS | st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=5)
KEYS = st.sampled_from(
    ["name", "hosts", "ctl1", "vlan", "", "a b", 1, None, True, "\ud800", "a:b", "x" * 300]
) | st.text(max_size=5)


def nodes(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Yield the path of every node below the root."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield (*path, key)
        yield from nodes(each, (*path, key))


def at(data: Any, path: Path_) -> Any:
    for key in path:
        data = data[key]
    return data


@st.composite
def mutated(draw: st.DrawFn, below: tuple[Path_, ...] = ((),)) -> Any:
    """A valid site with one to three nodes deleted, replaced, renamed, or copied elsewhere."""
    data = full()
    for _ in range(draw(st.integers(1, 3))):
        known = [path for path in nodes(data) if any(path[: len(root)] == root and path != root for root in below)]
        path = draw(st.sampled_from(known or [()]))
        if path:
            mutate(draw, data, at(data, path[:-1]), path[-1])
    return data


def mutate(draw: st.DrawFn, data: Any, parent: Any, key: Any) -> None:
    action = draw(st.sampled_from(["delete", "replace", "rename", "move", "wrap"]))
    if action == "replace":
        parent[key] = draw(VALUES)
    elif action == "wrap":
        parent[key] = draw(st.sampled_from([[parent[key]], {"x": parent[key]}, str(parent[key])]))
    elif action == "move":
        parent[key] = copy.deepcopy(at(data, draw(st.sampled_from(list(nodes(data))))))
    else:
        value = parent.pop(key)
        if action == "rename":
            parent.insert(0, value) if isinstance(parent, list) else parent.update({draw(KEYS): value})


@st.composite
def corrupted(draw: st.DrawFn) -> str:
    """The text of a valid site with pieces cut out, doubled or put in."""
    text = TEXT
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        piece = draw(
            st.sampled_from(["", text[start:end] * 2, "\t", ": ", "- ", "&a ", "*a ", "!!int ", "{", "[", '"', "\0"])
            | st.text(max_size=6)
        )
        text = text[:start] + piece + text[end:]
    return text


def checked(read: Callable[[], Any]) -> Any:
    """What ``read`` returns; None after Problems, each of which must help."""
    found, refused = None, None
    try:
        found = read()
    except Problems as caught:
        refused = caught
    if refused:
        assert refused.problems
    for problem in refused.problems if refused else ():
        assert problem.path
        assert problem.accepted
        assert len(str(problem).splitlines()) == 1
        assert str(problem).encode()
    return found


@settings(max_examples=250, deadline=None)
@given(mutated())
def test_any_data(data: Any) -> None:
    checked(lambda: site.parse(data, NAMES))


@settings(max_examples=120, deadline=None)
@given(VALUES)
def test_anything_at_all(data: Any) -> None:
    assert checked(lambda: site.parse(data)) is None


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=corrupted())
def test_any_text(text: str, tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_bytes(text.encode(errors="surrogatepass"))
    checked(lambda: site.load(file, NAMES))


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([b"", TEXT.encode()]))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, noise: bytes, before: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.yaml"
    file.write_bytes(before + noise)
    checked(lambda: site.load(file))


OVERRIDES = (("services",), ("hosts", "cmp2", "services"), ("resources",))


@settings(max_examples=80, deadline=None)
@given(mutated(OVERRIDES))
def test_a_site_that_is_accepted_is_planned_or_refused(data: Any) -> None:
    model = checked(lambda: site.parse(data, NAMES))
    for host in ("ctl1", "cmp2") if model else ():
        checked(lambda host=host: planning.texts(resolve(model, CATALOGUE, planning.Placeholders(), host)))


INSTALLS = (("install",), ("networks",), ("hosts", "cmp2"), ("hosts", "deploy"), ("mirrors",))
INSTALLERS = profiles.load(KICKSTART)


@settings(max_examples=80, deadline=None)
@given(mutated(INSTALLS))
def test_a_site_that_is_accepted_has_boot_files_or_says_why_not(data: Any) -> None:
    model = checked(lambda: site.parse(data, NAMES, lambda: INSTALLERS.profiles))
    if model:
        checked(lambda: bootfiles.tree(Sources(model, INSTALLERS, {**MIRRORS, **model.mirrors})))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
def test_any_secrets(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    file = tmp_path_factory.getbasetemp() / "secrets.yaml"
    file.write_bytes(yaml.dump(data, allow_unicode=False).encode())
    file.chmod(0o600)
    found = checked(lambda: secrets.read(file, decrypt=False))
    if found is not None:
        assert secrets.complete(file, ["more than five"]) == ["more than five"]
        assert secrets.read(file, decrypt=False).items() > found.items()
