"""`lab down`: afterwards no process, mount, interface, namespace or cgroup of the lab is left."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from lab import fabric, layout, nodes, outside, router
from lab.command import LabError
from lab.layout import Lab
from lab.units import CGROUP, Unit


def down(lab: Lab, purge: bool) -> None:
    """Stop everything; with ``purge`` disks and keys go too. The cache of images and packages stays."""
    with ThreadPoolExecutor(len(lab.nodes)) as pool:
        list(pool.map(lambda node: nodes.stop(lab, node, graceful=not purge), lab.nodes))
    for each in strays(lab):
        each.kill()
    outside.down(lab)
    router.down_all(lab)
    fabric.down(lab)
    if purge:
        remove(lab)
    left = leftovers(lab)
    if left:
        raise LabError("left behind:\n" + "\n".join(f"  {each}" for each in left))


def strays(lab: Lab) -> list[Unit]:
    """Return the nodes of hosts that have left the site file since."""
    known = {lab.place(node) for node in lab.nodes}
    return [nodes.unit_at(lab, place) for place in (lab.state / "nodes").glob("*") if place not in known]


def remove(lab: Lab) -> None:
    """Remove the lab's directory: first under a name that no lab has, for half a disk must not count as one."""
    grave = layout.STATE / f".{lab.name}.removed"
    for old in (grave, lab.state):
        # what is not there any more another `lab down --purge` has removed
        with suppress(FileNotFoundError):
            old.rename(grave)
        while grave.exists():
            with suppress(FileNotFoundError):
                shutil.rmtree(grave)


def leftovers(lab: Lab) -> list[str]:
    """Return everything of the lab that is still on this machine: processes, mounts, namespaces, cgroups."""
    found = [
        f"mount: {line.split()[1]}" for line in Path("/proc/mounts").read_text().splitlines() if f"{lab.state}/" in line
    ]
    names = (lab.fabric, lab.gateway)
    found += [f"namespace: {path}" for name in names if (path := fabric.NAMESPACES / name).exists()]
    found += [f"namespace: {fabric.NAMESPACES / router.namespace(lab, vlan)}" for vlan in router.there(lab)]
    tops = (CGROUP, CGROUP / "unified", CGROUP / "systemd")
    found += [f"cgroup: {path}" for top in tops for path in top.glob(f"saltern-{lab.name}.*")]
    return found + [f"process: {each}" for each in processes(lab)]


def processes(lab: Lab) -> list[str]:
    """Return the processes that were started for the lab: nodes, the proxy, the routers' cables."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if ours(lab, words) and int(path.parent.name) != 1:
            found.append(f"{path.parent.name} {' '.join(words)[:120]}")
    return found


def ours(lab: Lab, words: Sequence[str]) -> bool:
    """Tell whether a command line is one of those with which a lab is started; any other may speak of its files."""
    exact = {str(outside.config_file(lab)), str(fabric.NAMESPACES / lab.fabric)}
    return bool(exact & set(words)) or any(word.startswith(f"--directory={lab.state}/") for word in words)
