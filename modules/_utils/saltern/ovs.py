"""Open vSwitch as the plan wants it: settings of the switch, bridges and their ports, in one transaction.

Read with one ``ovs-vsctl`` call, compared here, changed with one more: only what differs, all of it or nothing.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from saltern.errors import Problem, Problems, SalternError, suggestion

ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
SETTINGS = ("external_ids", "other_config", "managers", "bridges", "addresses", "system_id")
TABLES = {
    "Open_vSwitch": ("external_ids", "other_config", "manager_options"),
    "Manager": ("_uuid", "target"),
    "Bridge": ("name", "datapath_type", "ports"),
    "Port": ("_uuid", "name", "tag", "interfaces"),
    "Interface": ("_uuid", "name", "type", "mtu_request", "error"),
}
AT_START = ("userspace-tso-enable", "dpdk-init", "hw-offload")
"""Settings under ``other_config`` that ovs-vswitchd reads at its start only."""
RESTART_DUE = "saltern-restart-due"
"""Kept in ``external_ids`` until the restart has happened: a kill in between does not lose it."""


@dataclass(frozen=True)
class Port:
    """A port of a bridge with its one interface."""

    name: str
    type: str = ""
    tag: int | None = None
    mtu: int | None = None
    error: str = ""


@dataclass(frozen=True)
class Bridge:
    """A bridge and, by name, the ports on it."""

    name: str
    datapath_type: str = "system"
    ports: Mapping[str, Port] = field(default_factory=dict)


@dataclass(frozen=True)
class Switch:
    """A host's Open vSwitch: what is there, or what is wanted of it (a value of None: no such key)."""

    external_ids: Mapping[str, str | None] = field(default_factory=dict)
    other_config: Mapping[str, str | None] = field(default_factory=dict)
    managers: tuple[str, ...] | None = None
    bridges: Mapping[str, Bridge] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One change: what it is about, the old and the new value, and the ovs-vsctl commands for it."""

    what: str
    old: Any
    new: Any
    commands: tuple[tuple[str, ...], ...]


def wanted(settings: Mapping[str, Any]) -> Switch:
    """Return what the settings of a plan ask for; raise Problems for keys and values that do not exist."""
    problems = [*_unknown("settings", settings, SETTINGS)]
    bridges, addresses = settings.get("bridges") or {}, settings.get("addresses") or {}
    for name, bridge in bridges.items():
        problems += _unknown(f"bridges:{name}", bridge, ("datapath_type", "ports"))
        for port, entry in (bridge.get("ports") or {}).items():
            problems += _unknown(f"bridges:{name}:ports:{port}", entry or {}, ("type", "tag", "mtu"))
    if problems:
        raise Problems(problems)
    ids = dict(settings.get("external_ids") or {})
    if settings.get("system_id"):
        ids["system-id"] = settings["system_id"]
    return Switch(
        external_ids=_texts(ids),
        other_config=_texts(settings.get("other_config") or {}),
        managers=tuple(sorted(settings["managers"])) if "managers" in settings else None,
        bridges={name: _wanted_bridge(name, bridge, addresses) for name, bridge in bridges.items()},
    )


def parse(text: str) -> Switch:
    """Return the switch that the answer to :func:`question` describes, one JSON document a table."""
    tables = dict(zip(TABLES, rows_of(text, len(TABLES)), strict=True))
    interfaces = {row["_uuid"]: row for row in tables["Interface"]}
    ports = {row["_uuid"]: _port(row, interfaces) for row in tables["Port"]}
    switch = tables["Open_vSwitch"][0]
    return Switch(
        external_ids=switch["external_ids"],
        other_config=switch["other_config"],
        managers=tuple(sorted(row["target"] for row in tables["Manager"])),
        bridges={
            row["name"]: Bridge(
                row["name"],
                row["datapath_type"] or "system",
                {ports[each].name: ports[each] for each in _many(row["ports"]) if each in ports},
            )
            for row in tables["Bridge"]
        },
    )


def rows_of(text: str, tables: int) -> list[list[dict[str, Any]]]:
    """Return the rows of each table in an answer of one of the ``ctl`` tools: a JSON document on a line for each."""
    documents = [json.loads(line) for line in text.splitlines() if line.strip()]
    if len(documents) != tables:
        raise SalternError(f"{len(documents)} tables in the database's answer, asked for {tables}")
    return [_rows(document) for document in documents]


def question() -> list[str]:
    """Return the ovs-vsctl arguments that ask for every table in one call."""
    asked = [["--", f"--columns={','.join(columns)}", "list", table] for table, columns in TABLES.items()]
    return ["--format=json", *(word for words in asked for word in words)]


def plan(have: Switch, want: Switch) -> list[Step]:
    """Return the steps from what is there to what is wanted; what nobody asked for stays as it is."""
    steps = [*_keys("external_ids", have.external_ids, want.external_ids)]
    steps += _keys("other_config", have.other_config, want.other_config)
    if restart := sorted({each.what.partition(":")[2] for each in steps} & set(AT_START)):
        steps += _keys("external_ids", have.external_ids, {RESTART_DUE: ",".join(restart)})
    if want.managers is not None and want.managers != have.managers:
        command = ("set-manager", *want.managers) if want.managers else ("del-manager",)
        steps.append(Step("managers", have.managers, want.managers, (command,)))
    for bridge in want.bridges.values():
        steps += _bridge(have, bridge)
    return steps


def transaction(steps: Iterable[Step]) -> list[str]:
    """Return the ovs-vsctl arguments that take all steps at once, or none of them."""
    return [word for step in steps for command in step.commands for word in ("--", *command)]


def changes(steps: Iterable[Step]) -> dict[str, dict[str, Any]]:
    """Return the steps as a state tells them."""
    return {step.what: {"old": step.old, "new": step.new} for step in steps}


def faults(have: Switch, want: Switch) -> list[str]:
    """Return what the switch itself says is wrong with the ports that are wanted."""
    return [
        f"{bridge.name}: {port}: {found.error}"
        for bridge in want.bridges.values()
        for port in bridge.ports
        if (found := have.bridges.get(bridge.name, bridge).ports.get(port)) and found.error
    ]


def vsctl(arguments: Sequence[str], timeout: int = 30) -> str:
    """Run ovs-vsctl and return its output; it waits until ovs-vswitchd has done what was asked, within bounds."""
    command = ["ovs-vsctl", f"--timeout={timeout}", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout + 5, env=ENVIRONMENT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SalternError(f"ovs-vsctl: {error}") from error
    if done.returncode:
        raise SalternError(f"ovs-vsctl: {done.stderr.strip()}")
    return done.stdout


def read() -> Switch:
    """Return the switch of this host as it is."""
    return parse(vsctl(question()))


def _wanted_bridge(name: str, bridge: Mapping[str, Any], addresses: Mapping[str, Any]) -> Bridge:
    """Return a bridge of a plan; a port with an address takes the MTU that goes with it."""
    ports = {
        port: Port(
            port,
            (entry or {}).get("type", ""),
            (entry or {}).get("tag"),
            (entry or {}).get("mtu", addresses.get(port, {}).get("mtu")),
        )
        for port, entry in (bridge.get("ports") or {}).items()
    }
    return Bridge(name, bridge.get("datapath_type") or "system", ports)


def _unknown(path: str, entry: Mapping[str, Any], known: Iterable[str]) -> Iterator[Problem]:
    """Yield the keys of a mapping that mean nothing."""
    for key in entry:
        if key not in known:
            yield Problem(f"{path}:{key}", entry[key], suggestion(key, known))


def _texts(values: Mapping[str, Any]) -> dict[str, str | None]:
    """Return values as the database holds them: text; null removes a key."""
    return {
        key: None if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in values.items()
    }


def _keys(column: str, have: Mapping[str, str | None], want: Mapping[str, str | None]) -> Iterator[Step]:
    """Yield a step for each key of a map column that is to change."""
    for key, value in want.items():
        if have.get(key) == value:
            continue
        # JSON's quoting is the database's: values with colons and commas need it.
        put = ("set", "Open_vSwitch", ".", f"{column}:{json.dumps(key)}={json.dumps(value)}")
        drop = ("remove", "Open_vSwitch", ".", column, json.dumps(key))
        yield Step(f"{column}:{key}", have.get(key), value, (drop if value is None else put,))


def _bridge(have: Switch, want: Bridge) -> Iterator[Step]:
    """Yield the steps for one bridge and its ports."""
    found = have.bridges.get(want.name)
    if found is None or found.datapath_type != want.datapath_type:
        old = found.datapath_type if found else None
        made = ("--may-exist", "add-br", want.name)
        typed = ("set", "Bridge", want.name, f"datapath_type={want.datapath_type}")
        yield Step(f"bridge {want.name}", old, want.datapath_type, (made, typed))
    homes = {port: bridge.name for bridge in have.bridges.values() for port in bridge.ports}
    for port in want.ports.values():
        there = found.ports.get(port.name) if found else None
        if there is None or not _same(there, port):
            moved = (("del-port", homes[port.name], port.name),) if homes.get(port.name, want.name) != want.name else ()
            old = _shown(there) if there else homes.get(port.name)
            yield Step(f"port {want.name}:{port.name}", old, _shown(port), (*moved, *_make(want.name, port)))


def _same(have: Port, want: Port) -> bool:
    """Return whether a port is as wanted; an MTU that nobody asked for is none of our business."""
    return (have.type, have.tag) == (want.type, want.tag) and want.mtu in (None, have.mtu)


def _make(bridge: str, port: Port) -> tuple[tuple[str, ...], ...]:
    """Return the commands that make a port what it should be, whether it exists or not."""
    tag = ("set", "Port", port.name, f"tag={port.tag}") if port.tag is not None else ("clear", "Port", port.name, "tag")
    mtu = () if port.mtu is None else (f"mtu_request={port.mtu}",)
    interface = ("set", "Interface", port.name, f"type={json.dumps(port.type)}", *mtu)
    return ("--may-exist", "add-port", bridge, port.name), tag, interface


def _shown(port: Port) -> str:
    """Return a port in a few words."""
    words = [port.type or "device", "untagged" if port.tag is None else f"VLAN {port.tag}"]
    return ", ".join([*words, *([f"MTU {port.mtu}"] if port.mtu else [])])


def _port(row: Mapping[str, Any], interfaces: Mapping[str, Mapping[str, Any]]) -> Port:
    """Return a port from its row and its interface's."""
    interface = next((interfaces[each] for each in _many(row["interfaces"]) if each in interfaces), {})
    return Port(
        row["name"],
        interface.get("type", ""),
        _optional(row["tag"]),
        _optional(interface.get("mtu_request", [])),
        _optional(interface.get("error", [])) or "",
    )


def _rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a table's rows as mappings of plain values."""
    return [dict(zip(document["headings"], map(_plain, row), strict=True)) for row in document["data"]]


def _plain(value: Any) -> Any:
    """Return a value of the OVSDB protocol (RFC 7047, 5.1) as text, number, list or mapping."""
    if not isinstance(value, list):
        return value
    kind, content = value
    if kind == "map":
        return {key: _plain(each) for key, each in content}
    return [_plain(each) for each in content] if kind == "set" else content


def _many(value: Any) -> list[Any]:
    """Return a set column as a list: a set of one comes as the value itself."""
    return value if isinstance(value, list) else [value]


def _optional(value: Any) -> Any:
    """Return the value of a column that may be empty, or None."""
    return next(iter(_many(value)), None)
