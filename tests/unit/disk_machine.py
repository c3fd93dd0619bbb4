"""A machine with disks, as far as ``kickstart/root-disks.sh`` can see it: for tests of the script itself.

Disks are real image files; what the kernel says of them is a tree like /sys/class/block.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.boot_samples import KICKSTART

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
MIB = 1 << 20
BUSYBOX = shutil.which("busybox", path=PATH)
APPLETS = "cat chmod cp cut dd echo grep mkdir mount mv printf readlink sed sh sha256sum sort sync tr umount uniq wc"
"""What the script may use: the Debian Installer's own busybox has each of them."""
SHELLS = ["busybox", "dash", "bash"]
"""Every case runs under the shell with the fewest tools, and under those of a whole system."""
SIZE = 20
MARK_AT = 512 * 1024


class Machine:
    """A machine with disks, as far as the script can see it."""

    def __init__(self, root: Path, shell: str) -> None:
        self.root, self.shell = root, shell
        for name in ("sys", "dev", "proc", "bin", "devices"):
            (root / name).mkdir()
        self.mounts, self.swaps = root / "proc/mounts", root / "proc/swaps"
        self.mounts.write_text("proc /proc proc rw 0 0\n")
        self.swaps.write_text("Filename Type Size Used Priority\n")
        if shell == "busybox":
            assert BUSYBOX
            for applet in APPLETS.split():
                (root / "bin" / applet).symlink_to(BUSYBOX)
        self.told = {"NAME": "rack1/cmp1", "DISKS": "1", "HINTS": "1 name sda", "WIPE": "", "MINIMUM": "16"}
        self.told |= {"METHOD": "regular", "RECIPE": "", "COMMANDS": "", "ESP": ""}

    def disk(self, name: str, serial: str = "", wwn: str = "", model: str = "", size: int = SIZE) -> Path:
        """Add a disk of so many MiB; a SATA disk's name makes the kernel tell its serial as SATA does."""
        place = self.root / "devices" / name
        (place / "device").mkdir(parents=True)
        (place / "size").write_text(f"{size * MIB // 512}\n")
        for key in ("removable", "ro", "hidden"):
            (place / key).write_text("0\n")
        (place / "device/model").write_text(f"{model:<16}\n")
        if name.startswith("sd"):
            (place / "device/vpd_pg80").write_bytes(b"\0\x80\0\x14" + f"{serial:>20}".encode())
            (place / "device/wwid").write_text(f"naa.{wwn}\n" if wwn else "t10.ATA x\n")
        else:
            where = place if name.startswith("vd") else place / "device"
            (where / "serial").write_text(f"{serial:<20}\n")
            (place / "wwid").write_text(f"eui.{wwn}\n")
        (self.root / "sys" / name).symlink_to(place)
        image = self.root / "dev" / name
        with image.open("wb") as file:
            file.truncate(size * MIB)
        return image

    def attribute(self, name: str, key: str, value: str) -> None:
        (self.root / "devices" / name / key).write_text(f"{value}\n")

    def partition(self, disk: str, name: str) -> None:
        """Let the kernel have seen a partition."""
        place = self.root / "devices" / disk / name
        place.mkdir()
        (place / "partition").write_text("1\n")
        (self.root / "sys" / name).symlink_to(place)
        (self.root / "dev" / name).touch()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        script = self.root / "script"
        quoted = {key: value.replace("'", "'\"'\"'") for key, value in self.told.items()}
        text = "".join(f"{key}='{value}'\n" for key, value in quoted.items())
        script.write_text(text + (KICKSTART / "root-disks.sh").read_text())
        shells = {"dash": "/usr/bin/dash", "bash": "/bin/bash", "busybox": str(self.root / "bin/sh")}
        places = {each.upper(): str(self.root / each) for each in ("sys", "dev", "proc", "chosen")}
        return subprocess.run(
            [shells[self.shell], str(script), *words],
            env={
                "PATH": f"{self.root}/bin" if self.shell == "busybox" else f"{self.root}/bin:{PATH}",
                **{f"ROOT_DISKS_{key}": value for key, value in places.items()},
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def chosen(self) -> list[str]:
        done = self.run("choose")
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    def refused(self) -> str:
        """What the script says when it refuses; no disk may have changed."""
        before = self.contents()
        done = self.run("choose")
        assert (done.returncode, done.stdout) == (1, "")
        assert self.contents() == before
        return done.stderr

    def contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.root / "dev").iterdir() if path.is_file()}


def tool(name: str) -> str:
    """The path of a tool; without it the test is passed over (the whole test installs it)."""
    found = shutil.which(name, path=PATH)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str, text: str | None = None) -> None:
    subprocess.run(command, input=text, capture_output=True, text=True, check=True, env={"PATH": PATH, "LC_ALL": "C"})
