"""What a machine must have before a lab is tried: everything that is missing is said at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from saltern import debian

from lab import layout
from lab.command import LabError, run
from lab.layout import Lab

GIB = 1 << 30
DISK, STOPPED_DISK = 12 * GIB, GIB
"""Free bytes for a new lab, and for one whose disks are there."""
# What one host with the role takes, with a margin: measured as proportional set size at rest, without guests.
MEMORY = {"deploy": 0.7, "controller": 3.6, "compute": 1.3}
BESIDE = {
    "the machine itself": 1.0,
    "guests: the smoke test runs five at once, of 0.2 each": 1.0,
    "the highstate: package transactions and schemas of all hosts side by side, which nothing at rest shows": 1.0,
}
"""GiB that are needed beside the hosts at rest, and what for."""
PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "ss": "iproute2",
    "sysctl": "procps",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "gpgv": "gpgv",
    # for verification: the guest image, and probes from the provider's side
    "qemu-img": "qemu-utils",
    "ping": "iputils-ping",
    "ssh": "openssh-client",
}

TESTED_WITH = {
    **PROGRAMS,
    "qemu-system-x86_64": "qemu-system-x86",
    "strace": "strace",
    "gpg": "gpg",
    "nft": "nftables",
    # what boot files are checked with, and disks with all kinds of data are made with
    "dnsmasq": "dnsmasq-base",
    # what serves them, and decides
    "nginx": "nginx-light",
    "uwsgi_python3": "uwsgi-plugin-python3",
    "curl": "curl",
    "wget": "wget",
    "setpriv": "util-linux",
    "grub-script-check": "grub-common",
    "debconf-set-selections": "debconf",
    "shellcheck": "shellcheck",
    "busybox": "busybox",
    "sfdisk": "fdisk",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "mkswap": "util-linux",
    # the live installer's image is packed with it
    "zstd": "zstd",
}
"""What the tests need beside; `--quick` passes over what needs a tool that is not there, the whole test does not."""


@dataclass(frozen=True)
class Facts:
    """What was found out about this machine."""

    root: bool
    apt: bool
    namespaces: bool
    overlay: bool
    tun: bool
    memory: int
    disk: int


def needed_memory(lab: Lab) -> int:
    """Return the bytes of memory that the lab's hosts take at rest, and what is needed beside them."""
    return int((sum(BESIDE.values()) + sum(MEMORY[role] for node in lab.nodes for role in node.host.roles)) * GIB)


def missing(facts: Facts, memory: int, disk: int = DISK) -> list[str]:
    """Return one sentence for everything that this machine lacks."""
    checks: list[tuple[bool, str]] = [
        (facts.root, "root: run it as root"),
        (facts.apt, "apt-get: the lab needs a Debian 12 or 13 machine"),
        (facts.namespaces, "namespaces: `unshare --mount --net --pid` is refused"),
        (facts.overlay, f"overlayfs: cannot be mounted under {layout.STATE}"),
        (facts.tun, "/dev/net/tun: the kernel has no TUN/TAP"),
        (facts.memory >= memory, f"memory: {facts.memory / GIB:.1f} GiB available, {memory / GIB:.1f} GiB needed"),
        (facts.disk >= disk, f"disk: {facts.disk / GIB:.1f} GiB free at {layout.STATE}, {disk / GIB:.0f} GiB needed"),
    ]
    return [sentence for fits, sentence in checks if not fits]


def gather(place: Path = layout.STATE) -> Facts:
    """Find out what this machine has; leaves nothing behind."""
    root = os.geteuid() == 0
    return Facts(
        root=root,
        apt=shutil.which("apt-get") is not None,
        namespaces=works("unshare", "--mount", "--net", "--pid", "--fork", "true"),
        overlay=root and overlay(place),
        tun=Path("/dev/net/tun").exists(),
        memory=available(Path("/proc/meminfo").read_text()),
        disk=shutil.disk_usage(nearest(place)).free,
    )


def works(*argv: str) -> bool:
    """Tell whether a command ends well."""
    try:
        return run(*argv, check=False).returncode == 0
    except LabError:
        return False


def overlay(place: Path) -> bool:
    """Tell whether an overlay can be mounted there, in a namespace that goes with the attempt."""
    trial = nearest(place) / f".saltern-trial-{os.getpid()}"
    names = [trial / name for name in ("lower", "upper", "work", "root")]
    try:
        for each in names:
            each.mkdir(parents=True)
        layers = "lowerdir={},upperdir={},workdir={}".format(*names)
        return works("unshare", "--mount", "mount", "-t", "overlay", "trial", "-o", layers, str(names[3]))
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def nearest(place: Path) -> Path:
    """Return the path itself or the closest directory above it that exists."""
    return next(each for each in (place, *place.parents) if each.exists())


def available(meminfo: str) -> int:
    """Return the available memory in bytes."""
    line = next(line for line in meminfo.splitlines() if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024


def check(lab: Lab, running: bool, prepared: bool) -> None:
    """Raise a :class:`LabError` that says all that is missing.

    A lab that runs has its memory already, and one that was prepared, running or not, has its disks.
    """
    facts = gather()
    disk = 0 if running else STOPPED_DISK if prepared else DISK
    sentences = missing(facts, 0 if running else needed_memory(lab), disk)
    if sentences:
        lines = "\n".join(f"  {each}" for each in sentences)
        raise LabError(f"a lab cannot run here:\n{lines}\n`./saltern plan` shows the whole cloud all the same")


def packages(which: Callable[[str], object] = shutil.which, programs: Mapping[str, str] = PROGRAMS) -> Iterator[str]:
    """Return the packages of programs that are not installed."""
    return iter(sorted({package for program, package in programs.items() if not which(program)}))


def install(programs: Mapping[str, str] = PROGRAMS) -> list[str]:
    """Install what is missing with the host's package manager; returns what was installed."""
    wanted = list(packages(programs=programs))
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    wanted += [] if keyring.exists() else ["debian-archive-keyring"]
    if wanted:
        # No service of theirs is to start on this machine: nginx would listen on every address of it.
        with debian.Apt().nothing_starts():
            run("apt-get", "-qq", "update")
            settings = {"DEBIAN_FRONTEND": "noninteractive"}
            run("apt-get", "-qq", "-y", "install", "--no-install-recommends", *wanted, env=settings)
    return wanted
