"""From a host's plan to Salt's high data: the states of one host, in the order in which they hold.

Phases are explicit: packages → certificates → files → infrastructure runs → network → databases → schema →
identity runs → registration → waiting for others → services run → resources. All packages of a host go in one
transaction, the units of one tier are started by one state, so that they start side by side, and the schemas of
different services are made side by side, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .errors import Problem, Problems, suggestion

Plan = Mapping[str, Any]
State = tuple[str, str, dict[str, Any]]
"""Id, ``module.function``, arguments."""

Phase = list[list[State]]
"""Chains that do not wait for each other; the states of a chain come one after the other."""

OBJECTS_BEFORE = "registration"
"""The tier of API objects that services need before they start: users, roles, endpoints."""


def build(plan: Plan, only: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the high data of a host, of some of its services only when they are named.

    Each state requires the one before it in its own chain: a phase that failed stops what builds on it, and nothing
    else. Raises Problems for a service that the host does not have.
    """
    unknown = [name for name in only or () if name not in plan["services"]]
    if unknown:
        raise Problems(
            Problem(f"host {plan['host']}: services", name, suggestion(name, plan["services"])) for name in unknown
        )
    services = {name: data for name, data in plan["services"].items() if only is None or name in only}
    return _chained(_phases(plan, services))


def _phases(plan: Plan, services: Mapping[str, Any]) -> Iterator[Phase]:
    """Yield the states phase by phase."""
    yield _free([_packages(services)])
    yield _free(_each(services, "certificates", "tls_certificate.present"))
    yield _free([*_each(services, "files", "config_file.managed"), *_masked(services)])
    yield _free(_units(services, "infrastructure"))
    yield _free(_steps(services, "network"))
    yield _free(_databases(services))
    yield _schemas(services)
    yield _free(_units(services, "identity"))
    yield _free(_objects(plan, services, registration=True))
    yield _free(_steps(services, "wait"))
    yield _free(_units(services, "service"))
    yield _free(_objects(plan, services, registration=False))
    yield _free(_steps(services, "final"))


def _free(states: Iterable[State]) -> Phase:
    """Return a phase of states none of which requires another one."""
    return [[state] for state in states]


def _schemas(services: Mapping[str, Any]) -> Phase:
    """Return one chain a service; Salt runs the first states of all of them at once."""
    chains = [_steps({name: data}, "schema") for name, data in services.items()]
    return [[(step, state, {**given, "parallel": True}) for step, state, given in chain] for chain in chains if chain]


def _packages(services: Mapping[str, Any]) -> State:
    wanted = sorted({package for data in services.values() for package in data.get("packages", [])})
    return "host: packages are installed", "package_set.installed", {"packages": wanted}


def _each(services: Mapping[str, Any], key: str, function: str) -> Iterator[State]:
    """Yield one state for each certificate or file of each service; the state reads the rest from the pillar."""
    for service, data in services.items():
        for name in data.get(key, {}):
            yield f"{service}: {name}", function, {"name": name, "service": service}


def _masked(services: Mapping[str, Any]) -> Iterator[State]:
    for service, data in services.items():
        if data.get("masked"):
            yield f"{service}: colliding units are off", "unit.dead", {"units": list(data["masked"])}


def _units(services: Mapping[str, Any], tier: str) -> list[State]:
    units = {
        unit: each or {}
        for data in services.values()
        if data["tier"] == tier
        for unit, each in data.get("units", {}).items()
    }
    return [(f"{tier}: units run", "unit.running", {"units": units})] if units else []


def _steps(services: Mapping[str, Any], phase: str) -> list[State]:
    return [
        (step["id"], step["state"], dict(step.get("arguments", {})))
        for data in services.values()
        for step in data.get("steps", [])
        if step["phase"] == phase
    ]


def _databases(services: Mapping[str, Any]) -> list[State]:
    wanted = {name: each for data in services.values() for name, each in data.get("databases", {}).items()}
    return [("mariadb: databases are there", "database.present", {"databases": wanted})] if wanted else []


def _objects(plan: Plan, services: Mapping[str, Any], *, registration: bool) -> list[State]:
    return [
        _object(each)
        for each in plan.get("resources", [])
        if each["service"] in services and (each["tier"] == OBJECTS_BEFORE) is registration
    ]


def _object(each: Mapping[str, Any]) -> State:
    identity = f"{each['service']}: {each['kind'].replace('_', ' ')} {each['name']}"
    arguments = {"name": each["name"], "kind": each["kind"]}
    properties = {key: value for key, value in each["properties"].items() if key != "absent"}
    if each["properties"].get("absent"):
        return f"{identity} is gone", "openstack_resource.absent", {**arguments, "properties": properties}
    return identity, "openstack_resource.present", {**arguments, "properties": properties}


def _chained(phases: Iterable[Phase]) -> dict[str, Any]:
    """Return high data in which every chain requires all chains of the phase before."""
    result: dict[str, Any] = {}
    before: list[dict[str, str]] = []
    for phase in phases:
        ends: list[dict[str, str]] = []
        for chain in phase:
            needed = before
            for identity, function, arguments in chain:
                if identity in result:
                    raise Problems(
                        [Problem(identity, function, "a name of its own: Saltern makes a state of this one")]
                    )
                listed = [{key: value} for key, value in {"name": identity, **arguments}.items()]
                result[identity] = {function: [*listed, *([{"require": needed}] if needed else [])]}
                needed = [{function.split(".")[0]: identity}]
            ends += needed
        before = ends or before
    return result
