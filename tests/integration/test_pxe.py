"""Empty machines become hosts over the network, by the live installer: real firmware, real disks, under emulation.

Each test prints how long its steps took. What is built and emulated takes root, Debian's archive and a quarter of an
hour on two cores; the network between the machine and its server is in a namespace of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from saltern import liveimage

from lab import layout, live_image
from lab.units import wait
from tests import pxe

pytestmark = pytest.mark.slow

GIB = 1 << 30
MINUTES = 60.0
"""Under emulation, on cores that others use too."""
STEPS = ("disks", "partitions", "file systems", "fetching the root image", "unpacking the root image",
         "names, networks, keys", "boot loader", "installed")  # fmt: skip


@pytest.fixture(scope="module")
def image() -> Path:
    """The directory of the live installer's files, made once."""
    assert os.getuid() == 0, "the test makes a root file system and namespaces: run it as root"
    for program in ("qemu-system-x86_64", "dnsmasq", "setpriv"):
        assert shutil.which(program), f"{program} is not installed; `./saltern test` installs it"
    out = layout.CACHE / "live"
    began = time.monotonic()
    made = live_image.ensure(out)
    print(f"live image {'built' if made else 'found'} in {time.monotonic() - began:.0f} s")
    return out


@pytest.fixture
def bed(tmp_path: Path, image: Path) -> Iterator[pxe.Bed]:
    with pxe.bed(tmp_path / "bed", image) as made:
        yield made


@pytest.fixture
def machine(bed: pxe.Bed) -> Iterator[Callable[..., pxe.BareMachine]]:
    """A function that makes a machine with empty disks of 12 GiB, by serial numbers; it is off."""
    made: list[pxe.BareMachine] = []

    def make(firmware: str, *serials: str) -> pxe.BareMachine:
        disks = {serial: bed.folder / serial for serial in serials}
        for path in disks.values():
            path.touch()
            os.truncate(path, 12 * GIB)
        made.append(pxe.bare(bed, firmware, disks))
        return made[-1]

    yield make
    for each in made:
        each.power_cut()


def started(bed: pxe.Bed, machine: pxe.BareMachine) -> None:
    """Switch an armed machine on, and disarm it once its installer runs: the next start is from the disk."""
    bed.arm(machine.firmware)
    machine.start()
    machine.wait_for("saltern: live installer, Linux", 5 * MINUTES)
    machine.wait_for("5 percent: started", 2 * MINUTES)
    bed.disarm(machine.firmware)


def installed(bed: pxe.Bed, machine: pxe.BareMachine) -> str:
    """Have a machine install itself; return the key by which its host is known."""
    started(bed, machine)
    for step in STEPS:
        machine.wait_for(f"percent: {step}", 10 * MINUTES)
    # A step is on the console first.
    wait(lambda: [each.partition(": ")[2] for each in bed.reports()][-len(STEPS) :] == list(STEPS), 30, "the reports")
    return machine.wait_for(r"host key: (ssh-ed25519 \S+)", 10)[1]


def login(machine: pxe.BareMachine) -> None:
    machine.wait_for("cmp1 login: ", 15 * MINUTES)


def checked(bed: pxe.Bed, known: str) -> None:
    """The host is what the site file says."""
    assert bed.ssh("hostname --fqdn", known) == "cmp1.cloud.example\n"
    addresses = [line.split() for line in bed.ssh("ip -4 -brief address", known).splitlines()]
    assert ["bond0.20@bond0", "UP", "10.20.0.21/24"] in addresses
    assert ["UP", "10.21.0.21/24"] in [each[1:] for each in addresses]
    assert "mtu 9000" in bed.ssh("ip link show bond0.20", known)
    assert bed.ssh("systemctl is-enabled systemd-networkd ssh salt-minion", known).split() == ["enabled"] * 3
    assert "salt-minion 3008" in bed.ssh("/opt/saltern/salt/bin/salt-minion --version", known, 3 * MINUTES)
    assert bed.ssh("systemctl --failed --plain --no-legend", known) == ""
    people = [line.split(":") for line in bed.ssh("cat /etc/shadow", known).splitlines()]
    assert [person[0] for person in people if person[1][:1] not in ("*", "!")] == []
    assert bed.ssh("cat /root/.ssh/authorized_keys", known) == bed.key.with_suffix(".pub").read_text()
    assert re.fullmatch(r"[0-9a-f]{32}\n", bed.ssh("cat /etc/machine-id", known))
    assert bed.ssh("ls -A /root/finish.sh /.root.tar.zst 2>&1 | grep -vc 'No such'; true", known) == "0\n"
    sources = bed.ssh("cat /etc/apt/sources.list", known)
    assert "deb http://mirror.example.org/debian trixie main" in sources


def mounts(bed: pxe.Bed, known: str) -> dict[str, str]:
    """What fstab mounts, and that it is mounted: mount point and source."""
    rows = [line.split() for line in bed.ssh("grep -v '^#' /etc/fstab", known).splitlines()]
    return {row[1]: bed.ssh(f"findmnt --noheadings --output SOURCE --target {row[1]}", known).strip() for row in rows}


def filled(disk: Path) -> bytes:
    """Put something of somebody on a disk; return it."""
    data = b"\0" * 512 + b"a table of somebody" + os.urandom(1 << 20)
    with disk.open("r+b") as stream:
        stream.write(data)
    return data


def assert_untouched(disk: Path, data: bytes) -> None:
    with disk.open("rb") as stream:
        assert stream.read(len(data)) == data
    assert disk.stat().st_blocks * 512 < 2 << 20


def test_bios(bed: pxe.Bed, machine: Callable[..., pxe.BareMachine]) -> None:
    """A BIOS machine is installed on the disk that is named, and starts from it; another disk is left as it was."""
    bed.serve("bios", "plain")
    found = machine("bios", "ROOT1", "DATA1")
    data = filled(found.disks["DATA1"])
    known = installed(bed, found)
    login(found)
    checked(bed, known)
    assert mounts(bed, known) == {"/": "/dev/vda3", "/boot": "/dev/vda2"}
    assert_untouched(found.disks["DATA1"], data)


def test_secure_boot(bed: pxe.Bed, machine: Callable[..., pxe.BareMachine]) -> None:
    """A machine with Secure Boot on starts shim, GRUB and the kernel from the network, and then from its disk."""
    bed.serve("uefi", "lvm")
    found = machine("uefi", "ROOT1")
    known = installed(bed, found)
    login(found)
    checked(bed, known)
    assert mounts(bed, known) == {
        "/": "/dev/mapper/system-root", "/boot": "/dev/vda2", "/boot/efi": "/dev/vda1",
    }  # fmt: skip
    variable = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    assert bed.ssh(f"od -An -tu1 -j4 {variable}", known).split() == ["1"]


def test_mirror_without_its_first_disk(bed: pxe.Bed, machine: Callable[..., pxe.BareMachine]) -> None:
    """A mirrored machine starts with its second disk alone, once both have the same."""
    bed.serve("bios", "raid1", [{"serial": "ROOT1"}, {"serial": "ROOT2"}])
    found = machine("bios", "ROOT1", "ROOT2")
    known = installed(bed, found)
    login(found)
    checked(bed, known)
    for _ in range(2):
        bed.ssh("mdadm --wait /dev/md/* /dev/md? 2>/dev/null; cat /proc/mdstat; sync", known, 10 * MINUTES)
    assert bed.ssh("grep -c '\\[UU\\]' /proc/mdstat", known) == "2\n"
    found.power_cut()
    del found.disks["ROOT1"]
    found.start()
    login(found)
    assert bed.ssh("hostname", known) == "cmp1\n"
    assert bed.ssh("grep -c '\\[[U_]*_[U_]*\\]' /proc/mdstat", known) == "2\n"


def test_what_is_refused(bed: pxe.Bed, machine: Callable[..., pxe.BareMachine]) -> None:
    """Data of somebody, an image or answers with another hash: nothing is written, or nothing is unpacked."""
    bed.serve("bios", "plain")
    found = machine("bios", "ROOT1")
    with found.disks["ROOT1"].open("r+b") as disk:
        disk.seek(1 << 20)
        disk.write(b"somebody's data")
    before = found.disks["ROOT1"].stat().st_blocks
    started(bed, found)
    found.wait_for(r"failed: no disk is written to: root disk: vda holds data", 2 * MINUTES)
    found.wait_for("nothing more happens here", 10)
    assert bed.reports()[-1].startswith("failed: no disk is written to")
    found.power_cut()
    assert found.disks["ROOT1"].stat().st_blocks == before

    os.truncate(found.disks["ROOT1"], 0)
    os.truncate(found.disks["ROOT1"], 12 * GIB)
    root = bed.served / liveimage.DIRECTORY / "root.tar.zst"
    right = root.with_suffix(".right")
    root.rename(right)
    root.write_bytes(b"another image")
    started(bed, found)
    found.wait_for(r"failed: http://\S+root.tar.zst has the SHA-256 [0-9a-f]{64} and not [0-9a-f]{64}", 3 * MINUTES)
    found.wait_for("nothing more happens here", 10)
    found.power_cut()
    with found.disks["ROOT1"].open("rb") as disk:
        disk.seek(512 << 10)
        assert disk.read(512).rstrip(b"\0\n") == b"saltern root disk of rack1/cmp1: installing"

    right.rename(root)
    answers = bed.served / "hosts/cmp1/live.conf"
    answers.write_text(answers.read_text() + "HOST=another\n")
    bed.arm("bios")
    found.start()
    found.wait_for(r"failed: http://\S+live.conf has the SHA-256", 5 * MINUTES)
    found.power_cut()
    bed.disarm("bios")


def test_power_cut(bed: pxe.Bed, machine: Callable[..., pxe.BareMachine]) -> None:
    """An installation that lost power in the middle is repeated as if nothing had been; another disk is left alone."""
    bed.serve("bios", "lvm")
    found = machine("bios", "ROOT1", "DATA1")
    data = filled(found.disks["DATA1"])
    started(bed, found)
    found.wait_for("percent: unpacking the root image", 5 * MINUTES)
    time.sleep(5)
    found.power_cut()
    known = installed(bed, found)
    login(found)
    checked(bed, known)
    assert mounts(bed, known) == {"/": "/dev/mapper/system-root", "/boot": "/dev/vda2"}
    assert_untouched(found.disks["DATA1"], data)
