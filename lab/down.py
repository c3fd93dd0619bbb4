"""`lab down`: afterwards no process, mount, interface, namespace or cgroup of the lab is left."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import fabric, nodes, outside, router
from lab.command import LabError
from lab.layout import Lab
from lab.units import CGROUP


def down(lab: Lab, purge: bool) -> None:
    """Stop everything; with ``purge`` disks and keys go too. The cache of images and packages stays."""
    with ThreadPoolExecutor(len(lab.nodes)) as pool:
        list(pool.map(lambda node: nodes.stop(lab, node, graceful=not purge), lab.nodes))
    outside.down(lab)
    router.down_all(lab)
    fabric.down(lab)
    if purge and lab.state.exists():
        shutil.rmtree(lab.state)
    left = leftovers(lab)
    if left:
        raise LabError("left behind:\n" + "\n".join(f"  {each}" for each in left))


def leftovers(lab: Lab) -> list[str]:
    """Return everything of the lab that is still on this machine: processes, mounts, namespaces, cgroups."""
    found = [
        f"mount: {line.split()[1]}" for line in Path("/proc/mounts").read_text().splitlines() if str(lab.state) in line
    ]
    names = (lab.fabric, lab.gateway)
    found += [f"namespace: {path}" for name in names if (path := fabric.NAMESPACES / name).exists()]
    found += [f"namespace: {path}" for path in fabric.NAMESPACES.glob(f"{lab.fabric}-r*")]
    tops = (CGROUP, CGROUP / "unified", CGROUP / "systemd")
    found += [f"cgroup: {path}" for top in tops for path in top.glob(f"saltern-{lab.name}.*")]
    return found + [f"process: {each}" for each in processes(lab)]


def processes(lab: Lab) -> list[str]:
    """Return the processes that were started for the lab."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        ours = any(word.startswith((f"{lab.state}/", f"--directory={lab.state}/")) for word in words)
        ours = ours or str(fabric.NAMESPACES / lab.fabric) in words
        if ours and int(path.parent.name) != 1:
            found.append(f"{path.parent.name} {' '.join(words)[:120]}")
    return found
