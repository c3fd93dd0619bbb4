"""An emulated machine's pure parts: its command line, the files it is given, what its ramdisk holds."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from lab import machine, machine_disk
from lab.command import LabError
from lab.machine import Machine, Plug
from lab.machine_disk import MachineDisk


@pytest.fixture
def host(tmp_path: Path) -> Machine:
    disk = MachineDisk(tmp_path / "d.raw", tmp_path / "d.vmlinuz", tmp_path / "d.initrd")
    return Machine("h1", disk, tmp_path, "nowhere", [Plug("tap0", "br0", "52:54:00:00:00:01")])


def test_a_machine_is_on_its_own_networks_alone(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its plugs are TAP devices of the namespace; nothing connects it with this computer's networks."""
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    words = host._command(host.folder / "h1.qcow2")
    assert words[:4] == ["ip", "netns", "exec", "nowhere"]
    nets = [words[at + 1] for at, word in enumerate(words) if word == "-netdev"]
    assert nets == ["tap,id=net0,ifname=tap0,script=no,downscript=no"]
    assert "--pdeathsig=KILL" in words
    assert "-nodefaults" in words


def test_a_computer_without_qemu_is_told_what_is_missing(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    with pytest.raises(LabError, match="qemu-system-x86"):
        host._command(host.folder / "h1.qcow2")


def test_a_machine_that_is_off_takes_no_commands(host: Machine) -> None:
    with pytest.raises(LabError, match="h1: is not on"):
        host.run("true")
    host.power_cut()
    assert host.tail() == ""


def test_files_come_as_an_archive() -> None:
    with tarfile.open(fileobj=io.BytesIO(machine._tar({"/a/b": "text", "c": "#!/bin/sh\n"}))) as archive:
        assert [(each.name, each.mode) for each in archive] == [("a/b", 0o644), ("c", 0o755)]


def test_a_disk_counts_when_all_of_it_is_there(tmp_path: Path) -> None:
    disk = MachineDisk(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    for path in (disk.disk, disk.kernel, disk.ramdisk):
        assert not disk.complete
        path.touch()
    assert disk.complete


def test_the_ramdisk_holds_a_program_a_script_and_modules_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/busybox").write_bytes(b"program")
    (tmp_path / "virtio_blk.ko").write_bytes(b"\0depends=virtio\0")
    (tmp_path / "virtio.ko").write_bytes(b"\0depends=\0")
    found = {each.path: each for each in machine_disk.ramdisk_entries(tmp_path)}
    assert found["modules/order"].content == b"virtio\nvirtio_blk\n"
    assert found["init"].content == machine_disk.INIT.encode()
    assert found["init"].mode & 0o111
    assert found["bin/busybox"].content == b"program"
