"""Look things up in the plan that a host's pillar holds; what is missing is named, values of secrets never are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from saltern.errors import SalternError, suggestion

Plan = Mapping[str, Any]


def plan(pillar: Mapping[str, Any]) -> Plan:
    """Return the host's plan."""
    found = pillar.get("saltern")
    if not isinstance(found, Mapping):
        raise SalternError("pillar: no plan for this host under 'saltern'; is its id in the site file?")
    return found


def service(pillar: Mapping[str, Any], name: str) -> Plan:
    """Return what the plan says of one service."""
    return _entry(plan(pillar).get("services"), "services", name)


def file(pillar: Mapping[str, Any], service_name: str, path: str) -> Plan:
    """Return what the plan says of one file of a service."""
    return _entry(service(pillar, service_name).get("files"), f"services:{service_name}:files", path)


def files(pillar: Mapping[str, Any], among: Callable[[Plan], bool]) -> Iterator[tuple[str, Plan]]:
    """Yield the path of every file of some services of the plan, and what the plan says of it."""
    for name in plan(pillar).get("services") or {}:
        if among(service(pillar, name)):
            yield from (service(pillar, name).get("files") or {}).items()


def secrets(pillar: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the secrets that this host was given, by name; none when there is no plan."""
    found = pillar.get("saltern")
    given = found.get("secrets") if isinstance(found, Mapping) else None
    return given if isinstance(given, Mapping) else {}


def secret(pillar: Mapping[str, Any], name: str) -> str:
    """Return the value of one secret."""
    given = secrets(pillar)
    if not given.get(name):
        raise SalternError(f"secrets:{name}: {suggestion(name, given) if given else 'this host was given no secrets'}")
    return str(given[name])


def _entry(found: Any, path: str, name: str) -> Plan:
    """Return the named mapping below a path of the plan, or say which names there are."""
    entries = found if isinstance(found, Mapping) else {}
    if name not in entries:
        raise SalternError(f"pillar: saltern:{path}:{name}: {suggestion(name, entries)}")
    entry = entries[name]
    return entry if isinstance(entry, Mapping) else {}
