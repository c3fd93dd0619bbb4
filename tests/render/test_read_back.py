"""Every oslo.config file of every host, read back by oslo.config itself: what a service gets is what was planned."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg, types
from saltern import option_check, render

from tests.sample import golden_sites, plan

HOSTS = [(name, host) for name, (_, data) in golden_sites().items() for host in data["hosts"]]
Read = dict[tuple[str, str], Any]
"""Values by section and option."""


def is_multi(value: Any) -> bool:
    """Return whether a planned value stands on several lines."""
    return isinstance(value, dict) and set(value) == {"multi"}


def option(name: str, value: Any) -> cfg.Opt:
    """Return an option of the type that a planned value has."""
    if is_multi(value):
        return cfg.MultiOpt(name, item_type=kind(value["multi"][0]))
    return cfg.Opt(name, type=kind(value))


def kind(value: Any) -> Any:
    """Return oslo.config's type of a value; the strictest one that the value has."""
    if isinstance(value, list):
        return types.List(item_type=kind(value[0]) if value else None)
    if isinstance(value, dict):
        return types.Dict(value_type=kind(next(iter(value.values()))) if value else None)
    found = {bool: types.Boolean, int: types.Integer, float: types.Float, str: types.String}
    return found[type(value)]()


def planned(settings: Any) -> Read:
    """Return what a service is to read: null stands for an option that is not there."""
    return {
        (section, name): value
        for section, options in settings.items()
        for name, value in options.items()
        if value is not None
    }


def read(text: str, wanted: Read, path: Path) -> Read:
    """Return what oslo.config reads in a text; of options that nobody planned, their bare words."""
    path.write_text(text)
    config = cfg.ConfigOpts()
    for (section, name), value in wanted.items():
        config.register_opt(option(name, value), group=None if section == "DEFAULT" else section)
    config([], project="none", default_config_files=[str(path)], default_config_dirs=[])
    found: Read = {}
    for section, options in option_check.parse(text).items():
        for name, words in options.items():
            meant = wanted.get((section, name))
            value = (config if section == "DEFAULT" else config[section])[name] if meant is not None else words
            found[section, name] = {"multi": value} if is_multi(meant) else value
    return found


def oslo_files(name: str, host: str) -> Iterator[tuple[str, Any]]:
    """Yield the path and the settings of each oslo.config file of a host."""
    for service in plan(host, golden_sites()[name][1]).services.values():
        for path, entry in service.files.items():
            if entry.kind == "oslo":
                yield path, entry.as_data()["settings"]


@pytest.mark.parametrize(("name", "host"), HOSTS)
def test_values_are_read_back_as_they_were_planned(name: str, host: str, tmp_path: Path) -> None:
    for path, settings in oslo_files(name, host):
        wanted = planned(settings)
        assert read(render.render("oslo", settings), wanted, tmp_path / "x.conf") == wanted, path


def test_there_is_something_to_read() -> None:
    values = [value for _, settings in oslo_files("allinone", "aio") for value in planned(settings).values()]
    assert len(values) > 150
    assert {bool, int, list, str} <= set(map(type, values))


ALL = {
    "DEFAULT": {"a": "10$ and $$", "b": True, "c": [], "d": ["x", "y$z"], "e": "'quoted'", "f": " outer ", "g": ""},
    "other": {"a": -1, "b": 0.5, "c": {"multi": ["x", "y,z"]}, "d": {"k": "v", "l": "w"}, "e": None, "f": "#;="},
    "numbers": {"a": [1, 2], "b": {"multi": [1, 2]}, "c": "1", "d": "true"},
}


def test_each_type_is_read_back(tmp_path: Path) -> None:
    wanted = planned(ALL)
    assert read(render.render("oslo", ALL), wanted, tmp_path / "x.conf") == wanted


def changed(text: str) -> Iterator[tuple[str, str]]:
    """Yield each option's line, and the text in which it has another value."""
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if match := re.match(r"[^#\[\s][^=]*= *", line):
            yield line, "".join([*lines[:number], f"{match[0]}bogus\n", *lines[number + 1 :]])


def same(text: str, wanted: Read, path: Path) -> bool:
    """Return whether a text is read as planned; one whose values do not fit their types is not."""
    try:
        return read(text, wanted, path) == wanted
    except cfg.ConfigFileValueError:
        return False


@pytest.mark.parametrize(("name", "host"), [("allinone", "aio"), ("compute-tcp", "cmp1")])
def test_each_value_that_is_changed_is_seen(name: str, host: str, tmp_path: Path) -> None:
    seen = 0
    for path, settings in [*oslo_files(name, host), ("all", ALL)]:
        wanted = planned(settings)
        for line, text in changed(render.render("oslo", settings)):
            assert not same(text, wanted, tmp_path / "x.conf"), (path, line)
            seen += 1
    assert seen > 60


@pytest.mark.parametrize("more", ["[DEFAULT]\nz = 1\n", "[new]\nz = 1\n", "[other]\na = 2\n"])
def test_what_is_there_beside_the_plan_is_seen(more: str, tmp_path: Path) -> None:
    wanted = planned(ALL)
    assert read(f"{render.render('oslo', ALL)}\n{more}", wanted, tmp_path / "x.conf") != wanted
