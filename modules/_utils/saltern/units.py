"""Which systemd units are to be enabled, started, restarted or reloaded: decided from facts, nothing is run here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from saltern.errors import SalternError, suggestion

#: What ``systemctl show`` is asked for.
PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "NeedDaemonReload",
    "FragmentPath",
    "DropInPaths",
    "NRestarts",
    "Result",
    "Job",
    "Triggers",
    "ExecMainStartTimestampMonotonic",
    "InactiveExitTimestampMonotonic",
    "StateChangeTimestampMonotonic",
)

#: File times come from a coarse clock: they may lie this much before the true time.
FILE_CLOCK_SLACK = 10_000
#: How long a unit must have stayed up that had died before (microseconds).
SETTLE_AFTER_DEATH = 3_000_000
#: Unit files that the machine makes by itself carry no news in their times.
_GENERATED = "/run/systemd/generator"
_OFF = ("disabled", "masked", "masked-runtime", "")

Times = Mapping[str, int]


@dataclass(frozen=True)
class Wish:
    """A unit that is to run: what it reads, whether it starts at boot, how it is asked whether it is ready.

    What it ``writes`` is what its first start makes and only its second one starts with: a unit that is older than
    that is started once more. A probe with ``when: changed`` asks others than the unit itself: only a unit that was
    just started or reloaded is asked that way.
    """

    name: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    enable: bool = True
    probe: Mapping[str, Any] | None = None
    reload: bool = False

    @classmethod
    def from_data(cls, name: str, data: Mapping[str, Any] | None) -> Wish:
        """Return the wish that an entry of the plan describes; raises SalternError when it holds other keys."""
        given = data or {}
        accepted = [each.name for each in fields(cls) if each.name != "name"]
        if unknown := sorted(given.keys() - accepted):
            raise SalternError(f"unit {name}: {', '.join(unknown)}: {suggestion(unknown[0], accepted)}")
        when = (given.get("probe") or {}).get("when")
        if when not in (None, "changed"):
            raise SalternError(f"unit {name}: probe: when: {when!r}: accepted: changed")
        return cls(
            name=name,
            reads=tuple(given.get("reads") or ()),
            writes=tuple(given.get("writes") or ()),
            enable=bool(given.get("enable", True)),
            probe=given.get("probe") or None,
            reload=bool(given.get("reload")),
        )

    @property
    def watched(self) -> tuple[str, ...]:
        """The paths that must not be newer than the running unit."""
        return (*self.reads, *self.writes)

    def probe_of(self, touched: bool) -> Mapping[str, Any] | None:
        """Return the probe to ask now, when there is one."""
        late = self.probe is not None and self.probe.get("when") == "changed"
        return self.probe if touched or not late else None


@dataclass(frozen=True)
class Unit:
    """What systemd knows of a unit; times are microseconds of the wall clock, 0 when it never ran."""

    name: str
    load: str
    active: str
    sub: str
    enabled: str
    needs_reload: bool
    files: tuple[str, ...]
    restarts: int
    result: str
    busy: bool
    started: int
    changed: int
    triggers: tuple[str, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether the unit is up (a oneshot that remains is)."""
        return self.active in ("active", "reloading", "refreshing")

    @property
    def stuck(self) -> bool:
        """Whether systemd counts failures of the unit that would get in the way of a start."""
        return self.active == "failed" or self.sub == "auto-restart"


@dataclass(frozen=True)
class Plan:
    """What is to be done, in this order; the reasons are for people."""

    missing: tuple[str, ...] = ()
    unmask: tuple[str, ...] = ()
    enable: tuple[str, ...] = ()
    reset: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    reasons: Mapping[str, str] | None = None

    @property
    def changes(self) -> dict[str, str]:
        """Return what happens to each unit."""
        words: dict[str, list[str]] = {}
        for name in self.enable:
            words.setdefault(name, []).append("enabled")
        for name, reason in (self.reasons or {}).items():
            words.setdefault(name, []).append(reason)
        return {name: ", ".join(parts) for name, parts in words.items()}


def parse_show(text: str, names: Sequence[str], boot: int) -> dict[str, Unit]:
    """Return the units of a ``systemctl show`` in the order asked; ``boot`` is the wall time of monotonic zero."""
    blocks = [block for block in text.strip().split("\n\n") if block]
    return {name: _unit(name, block, boot) for name, block in zip(names, blocks, strict=True)}


def _unit(name: str, block: str, boot: int) -> Unit:
    """Return one unit from its ``key=value`` lines."""
    values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)

    def wall(key: str) -> int:
        number = values.get(f"{key}TimestampMonotonic", "0")
        return boot + int(number) if number.isdecimal() and int(number) else 0

    # the start of the unit and that of its main process: a forking daemon read its files before the latter
    starts = [time for time in (wall("ExecMainStart"), wall("InactiveExit")) if time]
    files = [values.get("FragmentPath", ""), *values.get("DropInPaths", "").split()]
    restarts = values.get("NRestarts", "")
    return Unit(
        name=name,
        load=values.get("LoadState", ""),
        active=values.get("ActiveState", ""),
        sub=values.get("SubState", ""),
        enabled=values.get("UnitFileState", ""),
        needs_reload=values.get("NeedDaemonReload") == "yes",
        files=tuple(file for file in files if file and not file.startswith(_GENERATED)),
        restarts=int(restarts) if restarts.isdecimal() else 0,
        result=values.get("Result", ""),
        busy=values.get("Job", "0") not in ("", "0"),
        started=min(starts, default=0),
        changed=wall("StateChange"),
        triggers=tuple(values.get("Triggers", "").split()),
    )


def own_files(unit: Unit) -> tuple[str, ...]:
    """Return the paths that define the unit, its drop-in directory included (a drop-in may have gone)."""
    return (*unit.files, f"/etc/systemd/system/{unit.name}.d")


def newer(paths: Iterable[str], times: Times, than: int) -> list[str]:
    """Return the paths whose time is later."""
    return [path for path in paths if times.get(path, 0) > than - FILE_CLOCK_SLACK]


def plan(wishes: Sequence[Wish], units: Mapping[str, Unit], times: Times) -> Plan:
    """Return what is to be done so that the units run with what is in their files now."""
    states = [(wish, units[wish.name]) for wish in wishes]
    present = [(wish, unit) for wish, unit in states if unit.load != "not-found"]
    verbs = {wish.name: _verb(wish, unit, times) for wish, unit in present}
    in_the_way = dict(_held_up(verbs, units))
    for name, socket in in_the_way.items():
        if verbs[name][0] in ("", "reloaded"):
            verbs[name] = ("restarted", f"{socket} starts")
    reasons = {name: f"{verb} ({reason})" if reason else verb for name, (verb, reason) in verbs.items() if verb}
    reload = [name for name, (verb, _) in verbs.items() if verb == "reloaded"]
    return Plan(
        missing=tuple(wish.name for wish, unit in states if unit.load == "not-found"),
        unmask=tuple(wish.name for wish, unit in present if unit.load == "masked" or "masked" in unit.enabled),
        enable=tuple(wish.name for wish, unit in present if wish.enable and unit.enabled in _OFF),
        reset=tuple(wish.name for wish, unit in present if unit.stuck),
        stop=tuple(in_the_way),
        # each unit is a transaction of its own: a socket must be asked for before its service
        restart=tuple(sorted((n for n in reasons if n not in reload), key=lambda n: not n.endswith(".socket"))),
        reload=tuple(reload),
        reasons=reasons,
    )


def _held_up(verbs: Mapping[str, tuple[str, str]], units: Mapping[str, Unit]) -> Iterator[tuple[str, str]]:
    """Yield what must stop first, with the socket that is to (re)start: systemd refuses that while its service runs.

    That is the service, and its other sockets, too: whoever knocks at one of them would have it started again.
    """
    sockets = {name for name in verbs if name.endswith(".socket")}
    for name in sorted(sockets):
        for service in units[name].triggers if verbs[name][0] in ("started", "restarted") else ():
            if service in verbs and units[service].runs:
                yield service, name
                others = (each for each in sockets - {name} if service in units[each].triggers and units[each].runs)
                yield from ((each, name) for each in sorted(others))


@dataclass(frozen=True)
class Banishment:
    """What is to be done so that units neither run nor start."""

    stop: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    reset: tuple[str, ...] = ()

    @property
    def changes(self) -> dict[str, str]:
        """Return what happens to each unit."""
        groups = {"stopped": self.stop, "disabled": self.disable, "masked": self.mask, "reset": self.reset}
        names = dict.fromkeys(name for group in groups.values() for name in group)
        return {name: ", ".join(word for word, group in groups.items() if name in group) for name in names}


def banishment(units: Mapping[str, Unit]) -> Banishment:
    """Return what is to be done with units that must not run; a file in /etc stands in the way of a mask."""
    owned = {name for name, unit in units.items() if f"/etc/systemd/system/{name}" in unit.files}
    return Banishment(
        stop=tuple(name for name, unit in units.items() if unit.active not in ("inactive", "failed", "")),
        disable=tuple(name for name, unit in units.items() if unit.enabled.startswith(("enabled", "linked"))),
        mask=tuple(n for n, unit in units.items() if "masked" not in (unit.load, unit.enabled) and n not in owned),
        reset=tuple(name for name, unit in units.items() if unit.active == "failed"),
    )


def _verb(wish: Wish, unit: Unit, times: Times) -> tuple[str, str]:
    """Return what happens to a unit and why; two empty texts when it runs with all it should have read."""
    if not unit.runs:
        return "started", f"was {unit.sub}" if unit.stuck else ""
    definition = newer(own_files(unit), times, unit.started)
    read = newer(wish.watched, times, unit.changed if wish.reload else unit.started)
    if definition or (read and not wish.reload):
        return "restarted", _because([*definition, *read])
    return ("reloaded", _because(read)) if read else ("", "")


def coming(wishes: Sequence[Wish], units: Mapping[str, Unit], times: Times) -> list[str]:
    """Return the units that systemd is bringing up by itself, as at a boot, with all that they should have read.

    One that waits for its turn will read what is there then.
    """
    busy = ((wish, units[wish.name]) for wish in wishes if units[wish.name].busy)
    return [
        unit.name
        for wish, unit in busy
        if unit.active == "inactive"
        or (unit.active == "activating" and not newer((*own_files(unit), *wish.watched), times, unit.started))
    ]


def _because(paths: Iterable[str]) -> str:
    """Return the short names of what changed."""
    return f"{', '.join(dict.fromkeys(path.rstrip('/').rpartition('/')[2] for path in paths))} changed"


def unready(unit: Unit, now: int, settle: int, first: int) -> str | None:
    """Return why a unit is not up for good by what systemd knows, or None.

    A unit that runs must have done so for ``settle`` microseconds; one that systemd restarted since its count of
    restarts was ``first`` for some seconds, whatever else is asked of it.
    """
    if unit.busy:
        return "its job is still running"
    if not unit.runs:
        return f"it is {unit.active} ({unit.sub}), result {unit.result or 'unknown'}"
    died = unit.restarts - first
    if unit.sub == "running" and now - unit.changed < max(settle, SETTLE_AFTER_DEATH if died > 0 else 0):
        return f"it died {died} times and systemd restarted it" if died > 0 else "it has only just started"
    return None
