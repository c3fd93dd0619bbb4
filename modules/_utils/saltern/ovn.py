"""Where OVN's two databases listen, with which certificate, and who may do what there.

The listeners are rows of the databases themselves. The southbound listener for chassis has the role
``ovn-controller``: there a chassis whose certificate says ``CN=cmp1`` writes the rows of ``cmp1`` and no others.
Neutron writes more than that and has a listener of its own on the loopback.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saltern.errors import Problem, Problems, SalternError
from saltern.ovs import ENVIRONMENT, rows_of

PROBE = 60000
"""Milliseconds without a word after which a peer is asked whether it is still there."""
WAIT = 15.0
"""Seconds that the listeners have to come up."""


@dataclass(frozen=True)
class Kind:
    """One of the two databases: its tool and the table that its listeners hang on."""

    name: str
    tool: str
    table: str
    roles: bool


KINDS = (
    Kind("northbound", "ovn-nbctl", "NB_Global", False),
    Kind("southbound", "ovn-sbctl", "SB_Global", True),
)


@dataclass(frozen=True, order=True)
class Listener:
    """A listener as it is wanted: address, RBAC role (empty: all rights), inactivity probe."""

    target: str
    role: str = ""
    probe: int = PROBE


@dataclass(frozen=True)
class Database:
    """A database: key, certificate and authority; listeners; whether each listener has its port."""

    files: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()
    bound: bool = True


def wanted(kind: Kind, settings: Mapping[str, Any]) -> Database:
    """Return what a plan's settings want of a database; raise Problems for listeners that are not safe or not there."""
    files = tuple(str(settings.get(key) or "") for key in ("key", "cert", "ca_file"))
    entries = settings.get(kind.name) or []
    problems = [
        Problem(key, None, "accepted: a path; it is missing")
        for key, path in zip(("key", "cert", "ca_file"), files, strict=True)
        if not path
    ]
    for index, entry in enumerate(entries):
        if not str(entry.get("target", "")).startswith("pssl:"):
            problems.append(Problem(f"{kind.name}:{index}:target", entry.get("target"), "accepted: pssl:PORT:ADDRESS"))
        if entry.get("role") and not kind.roles:
            problems.append(Problem(f"{kind.name}:{index}:role", entry["role"], "accepted: none, it knows no roles"))
    if problems:
        raise Problems(problems)
    probe = int(settings.get("inactivity_probe", PROBE))
    return Database(files, tuple(sorted(Listener(each["target"], each.get("role", ""), probe) for each in entries)))


def question(kind: Kind) -> list[str]:
    """Return the arguments that ask a database for its certificate and its listeners in one call."""
    role = ",role" if kind.roles else ""
    listeners = f"--columns=target,inactivity_probe,status{role}"
    return [
        *("--no-leader-only", "--format=json", "--columns=private_key,certificate,ca_cert", "list", "SSL"),
        *("--", listeners, "list", "Connection"),
    ]


def parse(text: str) -> Database:
    """Return the database that the answer to :func:`question` describes."""
    tables = rows_of(text, 2)
    files = tuple(tables[0][0][key] for key in ("private_key", "certificate", "ca_cert")) if tables[0] else ()
    found = [
        Listener(row["target"], row.get("role", ""), row["inactivity_probe"] if row["inactivity_probe"] != [] else -1)
        for row in tables[1]
    ]
    return Database(files, tuple(sorted(found)), all("bound_port" in row["status"] for row in tables[1]))


def commands(kind: Kind, have: Database, want: Database) -> list[str]:
    """Return the arguments of the one transaction that makes a database as wanted; none where it is."""
    result: list[str] = []
    if have.files != want.files:
        result += ["--", "set-ssl", *want.files]
    if have.listeners != want.listeners:
        names = [f"@listener{index}" for index, _ in enumerate(want.listeners)]
        result += ["--", "del-connection"]
        for name, each in zip(names, want.listeners, strict=True):
            role = [f"role={each.role}"] if each.role else []
            row = [f'target="{each.target}"', f"inactivity_probe={each.probe}", *role]
            result += ["--", f"--id={name}", "create", "Connection", *row]
        result += ["--", "set", kind.table, ".", f"connections={','.join(names) or '[]'}"]
    return result


def changes(kind: Kind, have: Database, want: Database) -> dict[str, Any]:
    """Return what differs, as a state tells it."""
    found: dict[str, Any] = {}
    if have.files != want.files:
        found[f"{kind.name}: certificate"] = {"old": list(have.files), "new": list(want.files)}
    if have.listeners != want.listeners:
        old, new = ([_shown(each) for each in database.listeners] for database in (have, want))
        found[f"{kind.name}: listeners"] = {"old": old, "new": new}
    return found


def converge(settings: Mapping[str, Any], test: bool, wait: float = WAIT) -> dict[str, Any]:
    """Have both databases listen as the settings say; return what was changed for it, or would be in a dry run."""
    goals = {kind: wanted(kind, settings) for kind in KINDS}
    told: dict[str, Any] = {}
    for kind, goal in goals.items():
        have = _read(kind, test)
        found = changes(kind, have, goal)
        told |= found
        if found and not test:
            call(kind, commands(kind, have, goal))
    # a database tells of its listeners every few seconds only: both do so meanwhile
    for kind, goal in goals.items() if not test else ():
        _await(kind, goal, wait)
    return told


def call(kind: Kind, arguments: Sequence[str], timeout: int = 20) -> str:
    """Run a database's tool over its local socket, within bounds, and return its output."""
    command = [kind.tool, f"--timeout={timeout}", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout + 5, env=ENVIRONMENT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SalternError(f"{kind.tool}: {error}") from error
    if done.returncode:
        raise SalternError(f"{kind.tool}: {done.stderr.strip()}")
    return done.stdout


def _read(kind: Kind, test: bool) -> Database:
    """Return a database as it is; in a dry run one that is not installed yet is an empty one."""
    try:
        return parse(call(kind, question(kind)))
    except SalternError:
        if test:
            return Database()
        raise


def _await(kind: Kind, goal: Database, wait: float) -> None:
    """Wait until the database is as wanted and every listener has its port; raise SalternError if it does not come."""
    end = time.monotonic() + wait
    while True:
        have = _read(kind, False)
        if (have.files, have.listeners, have.bound) == (goal.files, goal.listeners, True):
            return
        if time.monotonic() >= end:
            left = changes(kind, have, goal) or "a listener did not get its port; is its address on this host?"
            raise SalternError(f"{kind.name} is not as wanted after {wait:.0f} s: {left}")
        time.sleep(0.3)


def _shown(listener: Listener) -> str:
    """Return a listener in a few words."""
    return f"{listener.target} {listener.role or 'all rights'}"
