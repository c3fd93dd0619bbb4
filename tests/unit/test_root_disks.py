"""The script that decides which disks may be written to, run as it is, under dash and under busybox.

Disks are real image files with real contents; what the kernel says of them is a tree like /sys/class/block.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from saltern import profiles, rootdisks, site

from tests.unit.boot_samples import KICKSTART, installed

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
MIB = 1 << 20
BUSYBOX = shutil.which("busybox", path=PATH)
APPLETS = "cat chmod cp cut dd echo grep mkdir mount mv printf readlink sed sh sha256sum sort sync tr umount uniq wc"
"""What the script may use: the Debian Installer's own busybox has each of them."""
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


@pytest.fixture(params=["dash", "bash", "busybox"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    if request.param == "busybox" and not BUSYBOX:
        pytest.skip("busybox is not installed")
    return Machine(tmp_path, request.param)


def tool(name: str) -> str:
    """The path of a tool; without it the test is passed over (the whole test installs it)."""
    found = shutil.which(name, path=PATH)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str, text: str | None = None) -> None:
    subprocess.run(command, input=text, capture_output=True, text=True, check=True, env={"PATH": PATH, "LC_ALL": "C"})


# --- which disk


@pytest.mark.parametrize(
    ("hints", "disk"),
    [
        ("1 serial S1", "sda"),
        ("1 serial with two  spaces", "sdb"),
        ('1 serial it\'s "quoted" $HOME `x` \\n *', "sdc"),
        ("1 serial NV1", "nvme0n1"),
        ("1 serial VD1", "vda"),
        ("1 wwn 5000c500a1b2c3d4", "sda"),
        ("1 wwn 0025385b71b00001", "nvme0n1"),
        ("1 model Large Disk 9", "sdc"),
        ("1 size 30 50", "nvme0n1"),
        ("1 size 40 40", "nvme0n1"),
        ("1 name sdb", "sdb"),
        ("1 name /dev/sdb", "sdb"),
        ("1 name /dev/disk/by-path/pci-0000:00:1f.2-ata-3", "sdc"),
        ("1 name /dev/disk/by-path/*", None),
        ("1 serial S1\n1 size 20 21", "sda"),
        ("1 serial S1\n1 size 30 50", None),
        ("1 size 20 21", None),
        ("1 model Disk", None),
        ("1 serial S", None),
        ("1 serial .*", None),
        ("1 name sdz", None),
        ("1 name nvme0n1p1", None),
        ("1 bus sata", None),
        ("2 serial S1", None),
    ],
)
def test_hints(machine: Machine, hints: str, disk: str | None) -> None:
    machine.disk("sda", "S1", "5000C500A1B2C3D4", "Disk 1")
    machine.disk("sdb", "with two  spaces", "5000c500a1b2c3d5", "Disk 1")
    machine.disk("sdc", 'it\'s "quoted" $HOME `x` \\n *'[:32], "", "Large Disk 9")
    machine.disk("nvme0n1", "NV1", "0025385b71b00001", "Fast 1", size=40)
    machine.disk("vda", "VD1", size=25)
    links = machine.root / "dev/disk/by-path"
    links.mkdir(parents=True)
    (links / "pci-0000:00:1f.2-ata-3").symlink_to("../../sdc")
    machine.told["HINTS"] = hints
    if disk:
        assert machine.chosen() == [disk]
    else:
        assert "root disk: " in machine.refused()


def test_a_refusal_says_what_there_is(machine: Machine) -> None:
    machine.disk("sda", "S1", "5000c500a1b2c3d4", "Disk 1")
    machine.disk("sdb", "S2", "5000c500a1b2c3d5", "Disk 1")
    machine.told["HINTS"] = "1 model Disk 1"
    said = machine.refused()
    assert "several disks are as the site file says: model Disk 1; sda sdb" in said
    assert 'sdb: 20 MiB, model "Disk 1", serial "S2", wwn "5000c500a1b2c3d5"' in said
    machine.told["HINTS"] = "1 model Disk 2"
    assert "no disk is as the site file says: model Disk 2" in machine.refused()


@pytest.mark.parametrize(("key", "value"), [("removable", "1"), ("ro", "1"), ("hidden", "1"), ("size", "0")])
def test_what_is_no_root_disk_by_nature(machine: Machine, key: str, value: str) -> None:
    machine.disk("sda", "S1")
    machine.disk("sdb", "S2")
    machine.attribute("sda", key, value)
    machine.told["HINTS"] = "1 size 20 21"
    assert machine.chosen() == ["sdb"]
    machine.told["HINTS"] = "1 serial S1"
    assert "no disk" in machine.refused()


def test_loops_arrays_and_partitions_are_no_disks(machine: Machine) -> None:
    machine.disk("sda", "S1")
    for name in ("loop0", "md0", "dm-0", "zram0"):
        shutil.rmtree(machine.root / "devices" / machine.disk(name).name / "device")
    machine.told["HINTS"] = "1 size 20 21"
    assert machine.chosen() == ["sda"]


@pytest.mark.parametrize("where", ["mounts", "swaps"])
@pytest.mark.parametrize("link", [False, True])
def test_the_stick_that_the_installer_itself_runs_from(machine: Machine, where: str, link: bool) -> None:
    machine.disk("sda", "S1")
    machine.partition("sda", "sda1")
    machine.told["WIPE"] = "serial S1"
    source = machine.root / "dev/sda1"
    if link:
        source = machine.root / "dev/by-label"
        source.symlink_to("sda1")
    file: Path = getattr(machine, where)
    file.write_text(f"{file.read_text()}{source} /cdrom iso9660 ro 0 0\n")
    assert "sda is in use by the installer" in machine.refused()


def test_a_disk_that_is_too_small(machine: Machine) -> None:
    machine.disk("sda", "S1")
    machine.told["MINIMUM"] = "21"
    assert "sda has 20 MiB, the layout takes 21" in machine.refused()


def test_two_disks(machine: Machine) -> None:
    machine.disk("sda", "S1")
    machine.disk("sdb", "S2")
    machine.told |= {"DISKS": "2", "HINTS": "1 serial S2\n2 name sda"}
    assert machine.chosen() == ["sdb", "sda"]
    machine.told["HINTS"] = "1 serial S2\n2 name sdb"
    assert "twice the same disk" in machine.refused()
    machine.told["HINTS"] = "1 serial S2"
    assert "nothing says which disk is number 2" in machine.refused()


def test_of_two_disks_one_with_data_keeps_both(machine: Machine) -> None:
    machine.disk("sda", "S1")
    with machine.disk("sdb", "S2").open("r+b") as file:
        file.write(b"x")
    machine.told |= {"DISKS": "2", "HINTS": "1 serial S1\n2 serial S2"}
    assert "sdb holds data" in machine.refused()


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
    "xfs": made("mkfs.xfs", "-q", "--unsupported"),
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


# --- what the installers are told


def test_anaconda_is_told_the_names(machine: Machine) -> None:
    machine.disk("sda", "S1")
    machine.disk("nvme0n1", "S2")
    machine.told |= {"DISKS": "2", "HINTS": "1 serial S1\n2 serial S2", "COMMANDS": "a=DISK1,DISK2\nb=DISK2 PART21"}
    done = machine.run("kickstart")
    assert (done.returncode, done.stdout) == (0, f"a=sda,nvme0n1\nb=nvme0n1 {machine.root}/dev/nvme0n1p1\n")
    machine.told["HINTS"] = "1 serial S1\n2 serial S3"
    done = machine.run("kickstart")
    assert (done.returncode, done.stdout) == (1, "")


def test_the_debian_installer_is_told_and_sees_no_other_disk(machine: Machine) -> None:
    for name in ("sda", "sdaa", "sdb", "nvme0n1"):
        machine.disk(name, f"S-{name}")
    machine.told |= {"DISKS": "2", "HINTS": "1 serial S-sda\n2 serial S-nvme0n1", "METHOD": "raid"}
    machine.told["RECIPE"] = "1 2 0 ext4 / PART13#PART23 ."
    dev, bin_ = machine.root / "dev", machine.root / "bin"
    put(bin_ / "debconf-set", f'echo "$1=$2" >>"{machine.root}/answers"')
    put(bin_ / "parted_devices", "".join(f"printf '{dev}/{name}\\t64\\tx\\n'\n" for name in ("sda", "sdaa", "nvme0n1")))
    for _ in range(2):
        assert machine.run("partman").returncode == 0
        assert (machine.root / "answers").read_text().splitlines() == [
            "partman-auto/method=raid",
            f"partman-auto/disk={dev}/sda {dev}/nvme0n1",
            f"grub-installer/bootdev={dev}/sda {dev}/nvme0n1",
            f"partman-auto-raid/recipe=1 2 0 ext4 / {dev}/sda3#{dev}/nvme0n1p3 .",
        ]
        path = {"PATH": f"{bin_}:{PATH}"}
        listed = subprocess.run([str(bin_ / "parted_devices")], capture_output=True, text=True, check=True, env=path)
        assert listed.stdout == f"{dev}/sda\t64\tx\n{dev}/nvme0n1\t64\tx\n"
        (machine.root / "answers").unlink()
    machine.told["HINTS"] = "1 serial S-sdb\n2 serial nowhere"
    assert machine.run("partman").returncode == 1
    assert not (machine.root / "answers").exists()


def put(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_the_second_disk_of_a_mirror_gets_the_boot_loader(machine: Machine) -> None:
    machine.disk("sda", "S1")
    machine.disk("sdb", "S2")
    machine.told |= {"DISKS": "2", "HINTS": "1 serial S1\n2 serial S2", "ESP": "1"}
    machine.chosen()
    machine.mounts.write_text(f"{machine.root}/dev/sda1 {machine.root}/target/boot/efi vfat rw 0 0\n")
    for name in ("mount", "umount", "cp", "mkdir"):
        (machine.root / "bin" / name).unlink(missing_ok=True)
        put(machine.root / "bin" / name, f'echo "{name} $*" >>"{machine.root}/log"')
    assert machine.run("installed", "/target").returncode == 0
    assert (machine.root / "log").read_text().splitlines() == [
        "mkdir -p /tmp/esp",
        f"mount -t vfat {machine.root}/dev/sdb1 /tmp/esp",
        "cp -r /target/boot/efi/. /tmp/esp/",
        "umount /tmp/esp",
    ]


def test_words_that_it_does_not_know(machine: Machine) -> None:
    machine.disk("sda", "S1")
    before = machine.contents()
    for words in ((), ("wipe",), ("choos",)):
        done = machine.run(*words)
        assert (done.returncode, machine.contents()) == (2, before)
        assert "accepted: choose, partman" in done.stderr


def test_what_stands_in_front_is_what_the_site_file_says(tmp_path: Path) -> None:
    kickstart = profiles.load(KICKSTART)
    data = installed("fedora-43", "uefi", "raid1")
    data["hosts"]["cmp1"]["install"]["disks"] = [{"serial": 'it\'s "$HOME" `x` \\', "size": "480 GB"}, {"name": "sdb"}]
    model = site.parse(data)
    host, chosen = model.installed[0]
    text = rootdisks.script(model, host, chosen, kickstart)
    assert text.endswith(kickstart.script)
    head = text.removesuffix(kickstart.script)
    names = ("NAME", "DISKS", "HINTS", "WIPE", "MINIMUM", "METHOD", "ESP")
    for shell in ("/usr/bin/dash", "/bin/bash"):
        shown = "".join(f"printf '%s\\n--\\n' \"${name}\"\n" for name in names)
        done = subprocess.run([shell, "-eu"], input=head + shown, capture_output=True, text=True, check=True)
        assert done.stdout.split("\n--\n")[:-1] == [
            "rack1/cmp1",
            "2",
            '1 serial it\'s "$HOME" `x` \\\n1 size 453186 462342\n2 name sdb',
            "serial S3Z8 NX0K 100\nwwn 0025385b71b00001",
            "10240",
            "",
            "",
        ]


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say() -> None:
    names = "NAME DISKS HINTS WIPE MINIMUM METHOD RECIPE COMMANDS ESP"
    head = "#!/bin/sh\n" + "".join(f"{key}=x\n" for key in names.split())
    done = subprocess.run(
        ["shellcheck", "--shell=sh", "--severity=style", "-"],
        input=head + (KICKSTART / "root-disks.sh").read_text(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
