"""The script that decides which disks may be written to, under busybox, dash and bash."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from saltern import profiles, rootdisks, site

from tests.unit.boot_samples import KICKSTART, installed
from tests.unit.disk_machine import BUSYBOX, PATH, SHELLS, Machine


@pytest.fixture(params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    if request.param == "busybox" and not BUSYBOX:
        pytest.skip("busybox is not installed")
    return Machine(tmp_path, request.param)


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


@pytest.mark.parametrize("lacks", ["debconf-set", "parted_devices"])
def test_an_installer_that_is_not_as_it_was_goes_no_further(machine: Machine, lacks: str) -> None:
    machine.disk("sda", "S1")
    for name in {"debconf-set", "parted_devices"} - {lacks}:
        put(machine.root / "bin" / name, "exit 0")
    done = machine.run("partman")
    assert (done.returncode, "root disk: the installer" in done.stderr) == (1, True)


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
