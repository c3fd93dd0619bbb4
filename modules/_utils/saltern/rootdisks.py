"""What ``kickstart/root-disks.sh`` is told of one host, as assignments of a POSIX shell in front of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from saltern.answers import partitions
from saltern.model import LAYOUTS, DiskHints, Host, Install, Site
from saltern.profiles import Kickstart


def script(site: Site, host: Host, chosen: Install, kickstart: Kickstart) -> str:
    """Return the script for one host."""
    layout = kickstart.profiles[chosen.profile].disks[chosen.layout]
    told = {
        "NAME": f"{site.name}/{host.id}",
        "DISKS": str(LAYOUTS[chosen.layout]),
        "HINTS": _lines(f"{number} {line}" for number, disk in enumerate(chosen.disks, 1) for line in _said(disk)),
        "WIPE": _lines(line for disk in chosen.wipe for line in _said(disk)),
        "MINIMUM": str(layout.minimum),
        "METHOD": layout.method,
        "RECIPE": layout.raid,
        # The Debian Installer has its recipe in the preseed file.
        "COMMANDS": "" if layout.method else _lines(partitions(layout, chosen.firmware)),
        "ESP": layout.esp if chosen.firmware == "uefi" else "",
    }
    assignments = "".join(f"{name}={shlex.quote(value)}\n" for name, value in told.items())
    return f"#!/bin/sh\n# For {host.id}, from the site file.\n{assignments}\n{kickstart.script}"


def _said(disk: DiskHints) -> list[str]:
    return [f"{key} {value}" for key, value in disk.said().items()]


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines)
