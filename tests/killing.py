"""Kill parts of a highstate while it works: when, what, and what must come after it."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Thread

from lab import highstate, nodes, saltconf
from lab.command import LabError
from lab.layout import Lab, Node
from lab.progress import Board
from lab.units import wait
from tests.lab_tools import answering, state_ids

REACHED_SECONDS = 900
"""How long a host may take to come to a state before which it is to be killed."""
PHASES = {
    "package_set": "packages",
    "tls_certificate": "certificates",
    "config_file": "files",
    "ovs": "network",
    "ovn": "network",
    "database": "databases",
    "schema": "schema",
    "nova_cells": "schema",
    "keystone_bootstrap": "bootstrap",
    "openstack_resource": "objects",
    "wait": "waits",
}
"""Module of a state → phase; units have their tier for a phase."""
LONGEST = {"packages": 30.0, "schema": 1.2, "waits": 20.0, "dashboard": 1.0}
LONGEST |= {"infrastructure": 2.0, "identity": 2.0, "service": 3.0}
"""Seconds for which a phase surely lasts on an empty host: so late, at most, is it hit. Others last for less."""
COMMANDS = {"apt": ["-x", "apt-get|dpkg"], "sync": ["-f", "(manage|db-manage) .*(sync|upgrade)"]}
"""Programs that are hit rather than all of a minion, as pkill finds them inside the node."""


@dataclass(frozen=True)
class Point:
    """One kill: where, in which phase, of what; a seed picks the state, unless named, and the delay."""

    where: str
    phase: str
    victim: str
    seed: int
    state: str = ""
    longest: float | None = None

    def __str__(self) -> str:
        """Return the point's name."""
        return f"{self.victim} of {self.where} in {self.phase}"

    def node(self, lab: Lab) -> Node:
        """Return the node that is meant."""
        computes = lab.site.having("compute")
        hosts = {"controller": lab.site.having("controller")[0], "compute": computes[0], "other compute": computes[-1]}
        found = lab.node(hosts[self.where].id)
        assert found
        return found

    def choose(self, states: Mapping[str, str]) -> tuple[list[str], float]:
        """Return the states that tell by their end that the one to be hit in has come, and the seconds to wait then.

        That is the state before it, or any later one: what is reported while the master is down is lost.
        """
        dice = random.Random(f"{self} {self.seed}")  # noqa: S311 - a seed, not a secret
        names = list(states)
        fitting = [name for name in names if self.phase == phase_of(name, states[name]) and self.state in ("", name)]
        assert fitting, (
            f"{self}: the host has no such state; its phases: {sorted(map(phase_of, names, states.values()))}"
        )
        chosen = dice.choice(fitting)
        longest = LONGEST.get(self.phase, 0.3) if self.longest is None else self.longest
        index = names.index(chosen)
        return names[index - 1 :] if index else [], dice.uniform(0, longest)


def phase_of(name: str, function: str) -> str:
    """Return the phase that a state belongs to."""
    module = function.split(".")[0]
    return name.split(":")[0] if function == "unit.running" else PHASES.get(module, module)


class Running:
    """A highstate under way; what it reports is on its board."""

    def __init__(self, lab: Lab, hosts: Iterable[str]) -> None:
        """Start it on hosts."""
        self.hosts = list(hosts)
        self.board = Board(self.hosts)
        self.under_way, self.over = Event(), Event()
        keywords = {"queue": True, "localconfig": saltconf.PROGRESS}
        order = {"function": "state.highstate", "keywords": keywords, "hosts": self.hosts}
        argv = nodes.enter(lab, lab.deploy, highstate.PYTHON, "-P", highstate.DRIVER, json.dumps(order))
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1)
        self.thread = Thread(target=self._follow, daemon=True)
        self.thread.start()

    def _follow(self) -> None:
        assert self.process.stdout
        # Without a reader the driver ends at its next line, of which it writes one a second.
        with self.process.stdout as lines:
            for line in lines:
                if self.over.is_set():
                    return
                with suppress(json.JSONDecodeError):
                    event = json.loads(line)
                    self.under_way.set() if event["event"] == "start" else self.board.apply(event)

    def reach(self, host: str, signs: list[str]) -> None:
        """Wait until a host has come to the state that is meant: one of the signs is finished, where there are any."""
        row = self.board.rows[host]

        def there() -> bool:
            come = not signs or not row.finished.isdisjoint(signs)
            return bool(row.end) or (self.under_way.is_set() and come)

        wait(there, REACHED_SECONDS, f"{host} to finish {signs[0] if signs else 'nothing'}", pause=0.02)
        assert not row.end, f"{host}: the run was over before the kill: {row.end}: {self.board.failures()}"

    def leave(self) -> None:
        """Follow the run no longer; on the hosts it goes on."""
        self.over.set()
        try:
            self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()


def strike(lab: Lab, running: Running, point: Point) -> str:
    """Kill at a point; return on what the host worked."""
    node = point.node(lab)
    signs, delay = point.choose(state_ids(lab.site, node.id))
    running.reach(node.id, signs)
    if point.victim in COMMANDS:
        started(lab, node, point)
    time.sleep(delay)
    row = running.board.rows[node.id]
    assert not row.end, f"{point}: the run was over {delay:.2f} s after it had come to its phase"
    hit(lab, node, point.victim)
    return f"{point}: after {delay:.2f} s, {row.done} states were done, the last one: {row.last or 'none'}"


def started(lab: Lab, node: Node, point: Point) -> None:
    """Wait for the program that is to be hit."""
    words = ["pgrep", *COMMANDS[point.victim]]
    wait(lambda: nodes.call(lab, node, *words, check=False), 120, f"{point}: {' '.join(words)}", pause=0.05)


def hit(lab: Lab, node: Node, victim: str) -> None:
    """Kill it by SIGKILL; a node that was killed is up again afterwards."""
    if victim == "node":
        nodes.stop(lab, node, graceful=False)
        nodes.bring_up(lab, node)
    elif victim in ("minion", "master"):
        unit, place = f"salt-{victim}.service", lab.deploy if victim == "master" else node
        nodes.call(lab, place, "systemctl", "kill", "--kill-whom=all", "--signal=KILL", unit)
    else:
        nodes.call(lab, node, "pkill", "-KILL", *COMMANDS[victim])


def kill(lab: Lab, points: Iterable[Point], hosts: Iterable[str]) -> list[str]:
    """Run a highstate on hosts and kill at all the points; return what was hit. Each is on a host of its own."""
    chosen = list(points)
    running = Running(lab, hosts)
    try:
        with ThreadPoolExecutor(len(chosen)) as pool:
            said = list(pool.map(lambda point: strike(lab, running, point), chosen))
    finally:
        running.leave()
    answering(lab, [lab.deploy.id, *running.hosts])
    return said


def converges(lab: Lab, hosts: Iterable[str], after: str) -> None:
    """Assert that the next highstate of hosts is good and that the one after it has nothing to do."""
    targets = list(hosts)
    try:
        board = highstate.run(lab, targets)
        assert board.good, f"{after}\nthe next highstate failed:\n" + "\n".join(board.failures())
        again = highstate.run(lab, targets)
    except LabError as error:
        raise AssertionError(f"{after}\n{error}") from error
    assert again.good, f"{after}\nthe second highstate failed:\n" + "\n".join(again.failures())
    changed = {host: [state["id"] for state in row.states if state["changed"]] for host, row in again.rows.items()}
    assert changed == {host: [] for host in targets}, f"{after}\nthe second highstate had something to do"
