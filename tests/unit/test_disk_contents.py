"""What a disk holds, and the mark of an installation: the script that decides, under one shell or all three."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.disk_machine import BUSYBOX, MARK_AT, MIB, SHELLS, SIZE, Machine, run, tool


@pytest.fixture(params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    if request.param == "busybox" and not BUSYBOX:
        pytest.skip("busybox is not installed")
    return Machine(tmp_path, request.param)


# --- what it holds


def table(image: Path) -> None:
    run(tool("sfdisk"), str(image), text="label: gpt\nsize=5M\nsize=5M\n")


def at(offset: int, data: bytes) -> Callable[[Path], None]:
    def write(image: Path) -> None:
        with image.open("r+b") as file:
            file.seek(offset if offset >= 0 else SIZE * MIB + offset)
            file.write(data)

    return write


def made(*command: str) -> Callable[[Path], None]:
    return lambda image: run(tool(command[0]), *command[1:], str(image))


# Signatures of what makes no image in a file by its own tool: where the kernel and libblkid look for them.
LVM = b"LABELONE" + bytes(16) + b"LVM2 001"
ZFS = (0x00BAB10C).to_bytes(8, "little")
DATA: dict[str, Callable[[Path], None]] = {
    "GPT": table,
    "only GPT's second table": lambda image: (table(image), at(0, bytes(MIB))(image))[1],  # type: ignore[func-returns-value]
    "DOS table": lambda image: run(tool("sfdisk"), str(image), text="label: dos\nsize=5M\n"),
    "ext4": made("mkfs.ext4", "-q"),
    "vfat": made("mkfs.vfat"),
    "xfs": at(0, b"XFSB"),
    "swap": made("mkswap", "-q"),
    "LVM": at(512, LVM),
    "ZFS": at(128 * 1024, ZFS),
    "ZFS, last label": at(-MIB // 2 + 128 * 1024, ZFS),
    "RAID 1.2": at(4096, (0xA92B4EFC).to_bytes(4, "little")),
    "RAID 1.0 at the end": at(-8192, (0xA92B4EFC).to_bytes(4, "little")),
    "no signature that anybody knows": at(3 * MIB, b"\1"),
    "one bit in the last byte": at(-1, b"\1"),
}


@pytest.mark.parametrize("kind", DATA)
def test_a_disk_with_data_is_refused_unless_it_is_named(machine: Machine, kind: str) -> None:
    image = machine.disk("sda", "S1", "5000c500a1b2c3d4")
    DATA[kind](image)
    assert image.stat().st_size == SIZE * MIB
    assert "sda holds data" in machine.refused()
    machine.told["WIPE"] = "serial S2\nwwn 5000c500a1b2c3d5\nserial S"
    assert "sda holds data" in machine.refused()
    machine.told["WIPE"] = "serial S2\nserial S1"
    assert machine.chosen() == ["sda"]


def test_a_disk_is_named_by_its_wwn(machine: Machine) -> None:
    table(machine.disk("sda", "S1", "5000C500A1B2C3D4"))
    machine.told["WIPE"] = "wwn 5000c500a1b2c3d4"
    assert machine.chosen() == ["sda"]


def test_what_the_refusal_says_of_the_data(machine: Machine) -> None:
    made("mkfs.ext4", "-q")(machine.disk("sda", "S1"))
    machine.partition("sda", "sda1")
    # Beside busybox there is no blkid, as in the Debian Installer.
    kind = "something other than zeros," if machine.shell == "busybox" else "TYPE=ext4"
    assert f"holds data: {kind} partitions: sda1 ; to lose it, name the disk at wipe:" in machine.refused()


def test_a_disk_whose_partitions_only_the_kernel_knows(machine: Machine) -> None:
    machine.disk("sda", "S1")
    machine.partition("sda", "sda1")
    assert "sda holds data" in machine.refused()


def test_the_end_of_a_disk_that_is_no_whole_number_of_mebibytes(machine: Machine) -> None:
    image = machine.disk("sda", "S1")
    with image.open("r+b") as file:
        file.truncate(SIZE * MIB + 512)
    machine.attribute("sda", "size", str(SIZE * MIB // 512 + 1))
    assert machine.chosen() == ["sda"]
    at(0, bytes(MIB))(image)
    at(SIZE * MIB + 511, b"\1")(image)
    assert "sda holds data" in machine.refused()


def test_a_disk_that_cannot_be_read_to_its_end(machine: Machine) -> None:
    image = machine.disk("sda", "S1")
    with image.open("r+b") as file:
        file.truncate(SIZE * MIB - 512)
    assert "sda holds data" in machine.refused()


# --- the mark


def mark_of(image: Path) -> str:
    return image.read_bytes()[MARK_AT : MARK_AT + 512].rstrip(b"\0").decode()


def test_an_installation_that_was_cut_off_can_be_repeated(machine: Machine) -> None:
    image = machine.disk("sda", "S1")
    assert machine.chosen() == ["sda"]
    assert mark_of(image) == "saltern root disk of rack1/cmp1: installing\n"
    table(image)
    machine.partition("sda", "sda1")
    assert machine.chosen() == ["sda"]


def test_a_finished_host_can_be_installed_again(machine: Machine) -> None:
    image = machine.disk("sda", "S1")
    machine.chosen()
    table(image)
    assert machine.run("installed", "/nowhere").returncode == 0
    assert len(mark_of(image)) == len("saltern root disk of rack1/cmp1: ") + 64 + 1
    assert machine.chosen() == ["sda"]


def test_a_disk_that_was_divided_anew_since_is_not_ours_any_more(machine: Machine) -> None:
    image = machine.disk("sda", "S1")
    machine.chosen()
    table(image)
    machine.run("installed", "/nowhere")
    run(tool("sfdisk"), "--append", str(image), text="size=5M\n")
    assert mark_of(image)
    assert "sda holds data" in machine.refused()


def test_the_disk_of_another_host_is_not_ours(machine: Machine) -> None:
    image = machine.disk("sda", "S1")
    machine.chosen()
    table(image)
    for name in ("rack1/cmp11", "rack2/cmp1", "rack1/cmp"):
        machine.told["NAME"] = name
        assert "sda holds data" in machine.refused()


def test_the_table_of_a_disk_with_large_sectors(machine: Machine) -> None:
    image = machine.disk("sda", "S1")
    (machine.root / "devices/sda/queue").mkdir()
    machine.attribute("sda", "queue/logical_block_size", "4096")
    machine.chosen()
    at(4096, b"EFI PART, a table of its own")(image)
    machine.run("installed", "/nowhere")
    at(512, b"not the table here")(image)
    assert machine.chosen() == ["sda"]
    machine.run("installed", "/nowhere")
    at(4096, b"EFI PART, another table")(image)
    assert "sda holds data" in machine.refused()


def test_the_mark_is_where_no_filesystem_and_no_table_is(machine: Machine) -> None:
    image = machine.disk("sda", "S1")
    table(image)
    before = image.read_bytes()
    machine.told["WIPE"] = "serial S1"
    machine.chosen()
    after = image.read_bytes()
    assert (before[:MARK_AT], before[MARK_AT + 512 :]) == (after[:MARK_AT], after[MARK_AT + 512 :])
    run(tool("sfdisk"), "--verify", str(image))
