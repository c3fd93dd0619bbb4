"""How long a highstate takes that has nothing to do, against a `state.sls` of one `test.nop` on the same way.

Both are run by the master's `salt`, one host at a time, by turns: what disturbs the machine disturbs both. The SLS with
the `test.nop` lies in a directory that the master serves beside the others for as long as this runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import yaml

from lab import master, nodes, saltconf
from lab.command import LabError
from lab.layout import Lab, Node
from tests.bench.figures import Figure
from tests.lab_tools import Answer, answering, salt

NAME = "saltern_bench"
FOLDER = "/srv/saltern-bench"
DROP_IN = "/etc/salt/master.d/saltern-bench.conf"
NOP = f"{NAME}:\n  test.nop: []\n"
RATIO = 3.0
"""How many times as long as a `test.nop` a compute host's highstate may take."""
CONTROLLER_SECONDS = 6.0


@contextmanager
def served(lab: Lab) -> Iterator[None]:
    """Have the master serve the SLS; afterwards it is as it was."""
    roots = [*saltconf.master(lab)["file_roots"]["base"], FOLDER]
    try:
        master.install(lab, lab.deploy, f"{FOLDER}/{NAME}.sls", NOP)
        master.install(lab, lab.deploy, DROP_IN, yaml.safe_dump({"file_roots": {"base": roots}}))
        restarted(lab)
        yield
    finally:
        nodes.call(lab, lab.deploy, "rm", "-rf", DROP_IN, FOLDER)
        restarted(lab)


def restarted(lab: Lab) -> None:
    """Restart the master and wait for the minions."""
    nodes.call(lab, lab.deploy, "systemctl", "restart", "salt-master")
    answering(lab, [node.id for node in lab.nodes])


def timed(lab: Lab, node: Node, *words: str) -> float:
    """Return the seconds of a run that had nothing to do; any other run is an error, not a figure."""
    answer = salt(lab, [node.id], *words)
    trouble = busy(answer, node.id)
    if trouble:
        raise LabError(f"{node.id}: {' '.join(words)}: had something to do, so its time says nothing: {trouble}")
    return answer.seconds


def busy(answer: Answer, host: str) -> str:
    """Return what a run did or could not do, empty when all its states held already."""
    found = answer.hosts.get(host)
    if answer.code or not isinstance(found, dict) or not found:
        return f"exit code {answer.code}: {answer.words.strip()[-1000:]}"
    done = [each["__id__"] for each in found.values() if each["changes"] or each["result"] is not True]
    return ", ".join(done)


def turns(lab: Lab, node: Node, runs: int) -> list[tuple[float, float]]:
    """Return the seconds of the `test.nop` and of the highstate, run by turns, after one of each that warms up."""
    commands = (("state.sls", NAME), ("state.highstate",))
    for words in commands:
        timed(lab, node, *words)
    found = []
    for number in range(runs):
        order = commands if number % 2 == 0 else commands[::-1]
        seconds = {words: timed(lab, node, *words) for words in order}
        found.append((seconds[commands[0]], seconds[commands[1]]))
    return found


def host_figures(node: Node, pairs: list[tuple[float, float]]) -> Iterator[Figure]:
    """Yield a host's figures from its pairs of seconds."""
    nop, whole = (median(column) for column in zip(*pairs, strict=True))
    ratio = median(second / first for first, second in pairs)
    computes = "controller" not in node.host.roles and "compute" in node.host.roles
    note = f"medians of {len(pairs)}: test.nop {nop:.2f} s, highstate {whole:.2f} s"
    yield Figure(f"{node.id}: second highstate ÷ test.nop", ratio, "x", RATIO if computes else None, note)
    if "controller" in node.host.roles:
        yield Figure(f"{node.id}: second highstate", whole, "s", CONTROLLER_SECONDS)


def figures(lab: Lab, runs: int) -> list[Figure]:
    """Return the figures of every host of the lab."""
    with served(lab):
        return [each for node in lab.nodes for each in host_figures(node, turns(lab, node, runs))]
