"""From empty nodes to the first reachable instance, against `apt-get install` of the same packages alone.

Both happen on the same nodes of a lab of their own, by turns, each time from empty disks: the same base image, cache of
packages, setting of fsync and parallelism. What both need before they can begin is not counted: booted nodes, and for
`apt-get` the package lists, too. As in a highstate, no service is started while packages are installed.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import yaml
from saltern import catalogue, planning, resolve

from frontdoor import testing, verify
from lab import down, highstate, layout, nodes, router, sites, up
from lab.command import LabError, run
from lab.layout import REPOSITORY, Lab, Node
from lab.units import wait
from tests.bench.figures import Figure

NAME = "bench"
RATIO = 1.5
REACHABLE_SECONDS = 300
ASKED_SECONDS = 60
SCRIPT = f"{nodes.REPOSITORY}/tests/bench/first_instance.py"
POLICY = "printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d"
APT = "DEBIAN_FRONTEND=noninteractive apt-get --yes --quiet -o Dpkg::Use-Pty=0"
INSTALL = f"{APT} -o Dpkg::Options::=--force-confold install --no-install-recommends"


def say(what: str) -> None:
    """Tell what is being done."""
    sys.stdout.write(f"bench deploy: {what}\n")
    sys.stdout.flush()


@contextmanager
def own(source: Path) -> Iterator[Lab]:
    """Give a lab like that of a site file, under a name of its own; nothing of it is left afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "site.yaml"
        copy.write_text(yaml.safe_dump({**yaml.safe_load(source.read_text()), "name": NAME}, sort_keys=False))
        lab = sites.load(str(copy))
        testing.refuse_others(lab)
        try:
            yield lab
        finally:
            down.down(lab, purge=True)


def empty(lab: Lab) -> None:
    """Have all nodes up with empty disks, and minions that answer."""
    testing.claim(lab)
    up.boot(lab, say)


def packages(lab: Lab) -> dict[str, list[str]]:
    """Return the packages that each node's plan lists."""
    services, secrets = catalogue.load(REPOSITORY / "pillar/services"), planning.Placeholders()
    plans = {node.id: resolve.resolve(lab.site, services, secrets, node.id).as_data() for node in lab.nodes}
    return {
        host: sorted({name for data in plan["services"].values() for name in data.get("packages", [])})
        for host, plan in plans.items()
    }


def on_all(lab: Lab, script: Callable[[Node], str]) -> float:
    """Run a script on every node, all at once; return the seconds until the last one has ended."""
    began = time.monotonic()
    with ThreadPoolExecutor(len(lab.nodes)) as pool:
        list(pool.map(lambda node: nodes.call(lab, node, "sh", "-ec", script(node), timeout=3600), lab.nodes))
    return time.monotonic() - began


def installed(lab: Lab, options: str = "") -> float:
    """Return the seconds of `apt-get install` on all nodes at once."""
    wanted = packages(lab)
    on_all(lab, lambda node: f"{POLICY}; {APT} update")
    return on_all(lab, lambda node: f"{INSTALL} {options} -- {shlex.join(wanted[node.id])}")


def deployed(lab: Lab) -> tuple[float, float]:
    """Return the seconds of the first highstate, and those until an instance then answered from outside.

    Of a run that failed the nodes' logs are kept: the lab is gone with the benchmark.
    """
    verify.deliver(lab, verify.built(layout.CACHE / "guest"))
    began = time.monotonic()
    try:
        board = highstate.run(lab)
        if not board.good:
            raise LabError("the highstate failed:\n" + "\n".join(board.failures()))
        converged = time.monotonic()
        instance(lab)
    except LabError as error:
        raise LabError(f"{error}\nlogs of the nodes: {logs(lab)}") from error
    return converged - began, time.monotonic() - converged


def logs(lab: Lab) -> Path:
    """Copy the nodes' logs to where only the user may read them; return the folder."""
    folder = Path(tempfile.mkdtemp(prefix=f"saltern-{NAME}-"))
    for node in lab.nodes:
        shutil.copytree(lab.place(node) / "upper/var/log", folder / node.id, symlinks=True)
    return folder


def instance(lab: Lab) -> None:
    """Have an instance on the first provider network with a router: it answers from there, and is ACTIVE."""
    if not lab.routers:
        raise LabError(f"{lab.source}: no provider network has a gateway, from which an instance could be reached")
    argv = nodes.enter(lab, lab.deploy, highstate.PYTHON, "-P", SCRIPT, f"/{verify.GUEST}", lab.routers[0].name)
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as script:
        address = script.stdout.readline().strip() if script.stdout else ""
        unreached = reach(lab, address) if address else "no instance"
        try:
            how, trouble = script.communicate("\n", timeout=ASKED_SECONDS)
        except subprocess.TimeoutExpired:
            script.kill()
            how, trouble = "", f"the cloud does not say within {ASKED_SECONDS} s how it is"
    if unreached or not how.startswith("ACTIVE"):
        raise LabError(f"{unreached or address}: {how.strip()} {trouble.strip()[-1000:]}".strip())


def reach(lab: Lab, address: str) -> str:
    """Wait until an address answers the router of its network; return in words that it does not."""
    ping = ["ip", "netns", "exec", router.namespace(lab, lab.routers[0].vlan), "ping", "-n", "-c1", "-W1", address]
    try:
        wait(lambda: run(*ping, check=False).returncode == 0, REACHABLE_SECONDS, f"{address} to answer a ping")
    except LabError as error:
        return str(error)
    return ""


def figures(source: Path, runs: int) -> list[Figure]:
    """Return both times and their ratio; the cache of packages is filled before anything is timed."""
    clouds: list[tuple[float, float]] = []
    alone: list[float] = []
    with own(source) as lab:
        say("filling the cache of packages")
        empty(lab)
        installed(lab, "--download-only")
        for number in range(runs):
            say(f"{number + 1} of {runs}: highstate and first instance")
            empty(lab)
            clouds.append(deployed(lab))
            say(f"{number + 1} of {runs}: apt-get install of the same packages")
            empty(lab)
            alone.append(installed(lab))
    return judged(clouds, alone)


def judged(clouds: list[tuple[float, float]], alone: list[float]) -> list[Figure]:
    """Return the medians of both times and their ratio."""
    whole, bare, runs = median(map(sum, clouds)), median(alone), len(alone)
    note = f"{f'medians of {runs}' if runs > 1 else 'one run'}: highstate {median(first for first, _ in clouds):.0f} s"
    note += f", then instance {median(second for _, second in clouds):.0f} s"
    return [
        Figure("empty nodes → reachable instance", whole, "s", note=note),
        Figure("apt-get install alone", bare, "s", note="same nodes, all at once"),
        Figure("instance ÷ apt-get", whole / bare, "x", RATIO),
    ]
