"""From a host's plan to Salt's high data: the states of one host, in the order in which they hold.

Phases are explicit: packages → certificates → files → infrastructure runs → network → databases → schema →
identity runs → registration → waiting for others → services run → resources. All packages go in one transaction, the
units of one tier are started by one state, so that they start side by side, and the schemas of different services are
made side by side, too.

A host that has the tier ``identity`` goes this way in parts: while the packages of the next part are being installed,
what other hosts wait for is already brought up.
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

Requisites = list[dict[str, str]]
"""What a state requires: ``[{module: id}, …]``."""

Services = Mapping[str, Any]
"""Services of a plan by name."""

PARTS = (
    ("packages", ("infrastructure", "identity")),
    ("the other packages", ("service",)),
    ("the dashboard's packages", ("dashboard",)),
)
"""What a part's transaction is called, and the tiers of its services."""

NICE = 10
"""How far a transaction for which no other host waits lets other processes go first, as guests (nice(1))."""

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
    return _chained(plan, services)


def part(service: Mapping[str, Any]) -> int:
    """Return the number of the part to which a service of a plan belongs, on a host that goes the way in parts."""
    return next(number for number, (_, tiers) in enumerate(PARTS) if service["tier"] in tiers)


def _parts(services: Services) -> list[Services]:
    """Return the services that go together: all at once, or what carries the others first; each part has packages."""
    if not any(data["tier"] == "identity" for data in services.values()):
        return [services]
    parts: list[Services] = []
    for number in range(len(PARTS)):
        mine = {name: data for name, data in services.items() if part(data) == number}
        if parts and not any(map(_packages, mine.values())):
            mine = {**parts.pop(), **mine}
        parts.append(mine)
    return parts


def _phases(plan: Plan, services: Services, parts: Sequence[Services], number: int) -> Iterator[Phase]:
    """Yield the states of a part of a host's services phase by phase, after its packages; no phase is empty."""
    mine = parts[number]
    first, main = number == 0, number == min(1, len(parts) - 1)
    phases = (
        _free(_each(mine, "certificates", "tls_certificate.present")),
        _free([*_each(mine, "files", "config_file.managed"), *_masked(mine)]),
        _free(_units(mine, "infrastructure")),
        _free(_steps(mine, "network")),
        _free(_databases(services) if first else []),
        _schemas(mine),
        _free(_units(mine, "identity")),
        _free(_objects(plan, services, registration=True) if first else []),
        _free(_steps(mine, "wait")),
        _free(_units(mine, "service")),
        _free(_objects(plan, services, registration=False) if main else []),
        _free(_steps(mine, "final")),
        _free(_units(mine, "dashboard")),
    )
    yield from (phase for phase in phases if phase)


def _free(states: Iterable[State]) -> Phase:
    """Return a phase of states none of which requires another one."""
    return [[state] for state in states]


def _schemas(services: Mapping[str, Any]) -> Phase:
    """Return one chain a service; Salt runs the first states of all of them at once.

    Only these: a parallel state that has to wait is put off, and with it, in no order that holds, all that needs it.
    """
    chains = [chain for name, data in services.items() if (chain := _steps({name: data}, "schema"))]
    if len(chains) > 1:
        chains = [[(step, state, {**given, "parallel": True}), *rest] for (step, state, given), *rest in chains]
    return sorted(chains, key=len)


def _packages(data: Mapping[str, Any]) -> set[str]:
    """Return the packages of a service."""
    return set(data.get("packages", []))


def _installed(parts: Sequence[Services], number: int) -> Phase:
    """Return the transaction of a part; Salt goes on while that of a later part runs.

    The one that other hosts wait for comes before what runs there; any other one lets that go first.
    """
    arguments: dict[str, Any] = {"packages": sorted(set().union(*map(_packages, parts[number].values())))}
    arguments |= {"parallel": True} if number else {}
    tiers = [{data["tier"] for data in each.values()} for each in parts]
    awaited = "identity" in set().union(*tiers) and tiers[number] != {"dashboard"}
    arguments |= {} if awaited else {"nice": NICE}
    return [[(f"host: {PARTS[number][0]} are installed", "package_set.installed", arguments)]]


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


def _chained(plan: Plan, services: Services) -> dict[str, Any]:
    """Return high data in which every chain requires all chains of the phase before, and a part its packages.

    A part that comes later requires the first one, too, and no other: they do not stop each other.
    """
    result: dict[str, Any] = {}
    parts = _parts(services)
    packages = _added(result, _installed(parts, 0), [])
    carried: Requisites = []
    for number in range(len(parts)):
        before = [*carried, *packages]
        phases = list(_phases(plan, services, parts, number)) or [[]]
        # with the first state that needs this part's packages Salt has waited for them: where the next transaction
        # stands it never has to be put off
        ends = _added(result, phases[0][:1], before)
        if number + 1 < len(parts):
            packages = _added(result, _installed(parts, number + 1), packages)
        if number == 0 and _objects(plan, services, registration=True):
            # a thread: none may be under way when Salt forks, as it does before (packages) and after the registration
            _added(result, _free([("client: the login is under way", "openstack_resource.begun", {})]), before)
        before = [*ends, *_added(result, phases[0][1:], before)]
        for phase in phases[1:]:
            before = _added(result, phase, before)
        carried = carried or before
    return result


def _added(result: dict[str, Any], phase: Phase, before: Requisites) -> Requisites:
    """Add the states of a phase, which requires what comes before; return what the next phase requires."""
    ends: Requisites = []
    for chain in phase:
        needed = before
        for identity, function, arguments in chain:
            if identity in result:
                raise Problems([Problem(identity, function, "a name of its own: Saltern makes a state of this one")])
            listed = [{key: value} for key, value in {"name": identity, **arguments}.items()]
            result[identity] = {function: [*listed, *([{"require": needed}] if needed else [])]}
            needed = [{function.split(".")[0]: identity}]
        ends += needed
    return ends
