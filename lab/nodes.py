"""Nodes: booted containers with a copy-on-write root over the base image.

A node's root is mounted in the node's own mount namespace: when its processes are gone, so are its mounts.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

from lab import fabric, layout
from lab.command import LabError, run
from lab.layout import Lab, Node
from lab.units import Unit, wait

ENVIRONMENT = {
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1",
    "SYSTEMD_SECCOMP": "0",
}
DEVICES = ("/dev/net/tun", "/dev/fuse", "/dev/loop-control")
POWEROFF = signal.SIGRTMIN + 4
REPOSITORY = "/srv/saltern"


def unit(lab: Lab, node: Node) -> Unit:
    """Return the process that a node is on this machine."""
    return unit_at(lab, lab.place(node))


def unit_at(lab: Lab, place: Path) -> Unit:
    """Return the process of the node whose directory that is."""
    return Unit(f"saltern-{lab.name}.{place.name}", place)


def prepared(lab: Lab, node: Node) -> bool:
    """Tell whether the node has a disk that was written to the end."""
    # Who is not root may not look; `Path.exists` would raise.
    return os.path.exists(lab.place(node) / "base")


def prepare(lab: Lab, node: Node, base: Path, files: Mapping[str, str]) -> None:
    """Make the node's disk and write its files."""
    place = lab.place(node)
    if (place / "base").is_symlink():
        gone = (place / "base").readlink()
        raise LabError(f"{node.id}: the base image of its disk is gone ({gone}): only `lab down --purge` helps")
    upper = place / "upper"
    for each in ("upper", "work", "root"):
        (place / each).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        put(upper / name, content, 0o600 if "/pki/" in name and name.endswith(".pem") else 0o644)
    (place / "base").symlink_to(base)


def put(path: Path, content: str, mode: int = 0o644) -> None:
    """Write a file of a node's disk; a content of the form ``-> TARGET`` makes a symbolic link."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if content.startswith("-> "):
        path.symlink_to(content[3:])
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as stream:
        os.fchmod(descriptor, mode)
        stream.write(content)


def start(lab: Lab, node: Node) -> None:
    """Boot a node, unless it runs, and plug in its cables."""
    place = lab.place(node)
    base = (place / "base").resolve()
    overlay = f"lowerdir={base},upperdir={place}/upper,workdir={place}/work"
    mount = ["mount", "-t", "overlay", f"saltern-{node.id}", "-o", overlay, str(place / "root")]
    inner = f"{shlex.join(mount)} && exec {shlex.join(command(lab, node))}"
    if not unit(lab, node).pid:
        fabric.unplug(lab, node)
    unit(lab, node).start("unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", inner)
    try:
        fabric.connect(lab, node)
    except LabError as error:
        raise LabError(f"{node.id} does not boot: {error}\n{unit(lab, node).words()}") from error


def command(lab: Lab, node: Node) -> list[str]:
    """Return the command that boots a node inside the lab's network namespace."""
    devices = {each.carries: each.device for each in node.host.interfaces}
    cables = [f"--network-veth-extra={cable}:{devices[network]}" for network, cable in node.cables.items()]
    binds = [f"--bind={device}" for device in DEVICES if os.path.exists(device)]
    if "deploy" in node.host.roles:
        binds.append(f"--bind-ro={layout.REPOSITORY}:{REPOSITORY}")
    return [
        "env",
        *(f"{name}={value}" for name, value in ENVIRONMENT.items()),
        "nsenter",
        f"--net={fabric.NAMESPACES / lab.fabric}",
        "systemd-nspawn",
        "--quiet",
        f"--directory={lab.place(node) / 'root'}",
        f"--machine={node.id}",
        f"--uuid={uuid.uuid5(uuid.NAMESPACE_DNS, f'{node.id}.{lab.name}')}",
        "--boot",
        "--register=no",
        "--keep-unit",
        "--capability=all",
        *cables,
        *binds,
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--console=read-only",
    ]


def leader(lab: Lab, node: Node) -> int | None:
    """Return the process id, on this machine, of a node's init."""
    outer = unit(lab, node).pid
    waiting = [outer] if outer else []
    while waiting:
        pid = waiting.pop()
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            continue
        ids = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
        if len(ids) > 1 and ids[-1] == "1":
            return pid
        waiting += map(int, children)
    return None


def enter(lab: Lab, node: Node, *argv: str) -> list[str]:
    """Return the command that runs a program inside a node."""
    pid = leader(lab, node)
    if not pid:
        raise LabError(f"{node.id}: not running")
    clean = ["env", "-i", "HOME=/root", f"TERM={os.environ.get('TERM', 'dumb')}", "LANG=C.UTF-8"]
    clean.append("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    return ["nsenter", "-t", str(pid), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", *clean, *argv]


def call(lab: Lab, node: Node, *argv: str, check: bool = True, timeout: float = 600) -> str:
    """Run a program inside a node and return what it printed."""
    return run(*enter(lab, node, *argv), check=check, timeout=timeout).stdout


def booted(lab: Lab, node: Node) -> None:
    """Wait until a node's minion runs; services that wait for their configuration may hold up the rest for ever."""

    def is_up() -> bool:
        if not leader(lab, node):
            return False
        return call(lab, node, "systemctl", "is-active", "salt-minion.service", check=False).strip() == "active"

    try:
        wait(is_up, 120, f"{node.id} to boot", pause=0.3)
    except LabError as error:
        raise LabError(f"{error}\n{unit(lab, node).words()}") from error


def bring_up(lab: Lab, node: Node) -> None:
    """Boot a node; afterwards its minion runs."""
    start(lab, node)
    booted(lab, node)


def stop(lab: Lab, node: Node, graceful: bool) -> None:
    """Stop a node, in good order or at once; nothing of it runs afterwards."""
    pid = leader(lab, node)
    if pid and graceful:
        os.kill(pid, POWEROFF)
        try:
            wait(lambda: unit(lab, node).pid is None, 60, f"{node.id} to power off", pause=0.2)
        except LabError as error:
            sys.stderr.write(f"{error}; it is killed\n")
    unit(lab, node).kill()
