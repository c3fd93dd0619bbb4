"""`lab up`: a row of steps, each of which looks at what is there first, so that a killed run is simply run again."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import disk, fabric, highstate, image, master, mirror, nodes, outside, preflight, router, saltconf, sites
from lab.command import LabError
from lab.layout import Lab
from lab.progress import clock_text
from lab.units import wait


class Steps:
    """Says what is being done and how long it took."""

    def __init__(self) -> None:
        """Start the clock."""
        self.began = time.monotonic()

    def __call__(self, what: str) -> None:
        """Say what comes next."""
        sys.stdout.write(f"[{clock_text(self.elapsed):>6}] {what}\n")
        sys.stdout.flush()

    @property
    def elapsed(self) -> float:
        """The seconds since the start."""
        return time.monotonic() - self.began


def boot(lab: Lab, say: Callable[[str], None]) -> None:
    """Bring the nodes up, on their networks, with a salt-master and minions that answer."""
    running = any(nodes.leader(lab, node) for node in lab.nodes)
    prepared = all(nodes.prepared(lab, node) for node in lab.nodes)
    preflight.check(lab, running, prepared)
    installed = preflight.install()
    if installed:
        say(f"installed {', '.join(installed)}")
    entries = mirror.discover(override=lab.site.mirrors.get("debian"))
    if not prepared:
        mirror.probe(entries[0])
    if not image.path(entries).exists():
        say("base image: is being made, once (about two minutes)")
    base = image.ensure(entries)
    lab.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(shutil.SameFileError):
        shutil.copyfile(lab.source, lab.state / "site.yaml")
    say("networks and package proxy")
    fabric.up(lab)
    outside.up(lab, entries)
    router.up_all(lab)
    say(f"nodes: {', '.join(node.id for node in lab.nodes)}")
    start(lab, base, entries)
    say("salt-master and minions")
    master.ready(lab)
    everyone = {node.id for node in lab.nodes}
    try:
        wait(lambda: everyone <= saltconf.answering(lab), 180, "the minions", pause=1)
    except LabError as error:
        silent = ", ".join(sorted(everyone - saltconf.answering(lab)))
        raise LabError(f"{error}: no answer from {silent}") from error


def start(lab: Lab, base: Path, entries: tuple[mirror.Entry, ...]) -> None:
    """Make the disks that are missing and boot the nodes, all at once."""
    for node in lab.nodes:
        if not nodes.prepared(lab, node):
            nodes.prepare(lab, node, base, disk.files(lab, node, entries))
    with ThreadPoolExecutor(len(lab.nodes)) as pool:
        list(pool.map(lambda node: nodes.bring_up(lab, node), lab.nodes))


def converge(lab: Lab, say: Steps) -> None:
    """Run the highstate on all hosts at once; a failed state raises, with the host, the state and its comment."""
    say(f"highstate of {', '.join(node.id for node in lab.nodes)}")
    board = highstate.run(lab, ahead=say.elapsed)
    if not board.good:
        raise LabError("the highstate failed:\n" + "\n".join(board.failures()))
    done, _ = board.totals()
    say(f"highstate: {done} states in {board.elapsed:.0f} s")


def farewell(lab: Lab) -> str:
    """Return what to do next, in the operator's words."""
    shell = f"./saltern lab shell{sites.option(lab)} {lab.deploy.id}"
    return f"""
The cloud {lab.name} is up.

  dashboard   https://{lab.site.api_name}/   (in the lab {lab.site.api_address}; no route leads there from outside)
  API         https://{lab.site.api_name}:5000/v3
  a shell     {shell}

  export OS_CLOUD=saltern
  openstack hypervisor list

or at once:   {shell} -- env OS_CLOUD=saltern openstack hypervisor list
"""
