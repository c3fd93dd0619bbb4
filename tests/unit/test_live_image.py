"""The live installer's image: its manifest, what is chosen for it, and the verb; the build itself has a real test."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from saltern import bootfiles, liveimage, mirrors, verbs
from saltern.errors import Problems

from frontdoor import __main__ as main
from lab import guest_image, live_image, live_recipe, mirror
from lab.command import LabError
from tests.sample import SERVICES
from tests.unit.boot_samples import IMAGES, MIRRORS, installed, simple, sources
from tests.unit.test_boot_files import written

SUM = "5a" * 32
IMAGE = liveimage.Manifest("abc", {"linux": "1b" * 32, "root.tar.zst": SUM})


def live() -> dict[str, object]:
    data = simple()
    data["install"]["profile"] = "debian-13-live"
    return data


@pytest.fixture(autouse=True)
def apt(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's own package manager has the mirrors that the other tests know."""
    monkeypatch.setattr(mirrors, "found", lambda named: {**MIRRORS, **named})


def built(out: Path, text: str = IMAGE.text()) -> Path:
    """A directory in which an image was built, as far as its manifest says."""
    path = out / "boot" / liveimage.DIRECTORY / liveimage.MANIFEST
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


# --- the manifest


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert liveimage.read(built(tmp_path)) == IMAGE
    assert json.loads(IMAGE.text())["sums"]["root.tar.zst"] == SUM


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "manifest.json:1:1: 'a list': a mapping"),
        ("{}", "recipe: None: this key is required"),
        (IMAGE.text().replace(SUM, "5a"), "sums:root.tar.zst: '5a': a SHA-256 of 64 hexadecimal digits"),
        (liveimage.Manifest("abc", {"linux": SUM}).text(), "sums:root.tar.zst: None: the root image of the live"),
    ],
)
def test_what_is_no_manifest_is_said(tmp_path: Path, text: str, message: str) -> None:
    built(tmp_path, text)
    profiles = sources(simple()).kickstart.profiles.values()
    with pytest.raises(Problems, match=re.escape(message)):
        liveimage.sums(tmp_path / "boot", profiles)


# --- boot files hold its hash


def test_boot_files_have_the_hash_of_the_image_that_lies_beside_them(tmp_path: Path) -> None:
    built(tmp_path)
    inputs = verbs.Inputs(Path(written(tmp_path / "site.yaml", live())), SERVICES)
    files = verbs.boot_files(inputs, out=str(tmp_path))
    assert files == bootfiles.tree(sources(live()))
    assert f"IMAGE_SUM='{SUM}'\n" in files["boot/hosts/cmp1/live.conf"]
    assert set(IMAGES.values()) == {SUM}


def test_without_an_image_there_are_no_boot_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = written(tmp_path / "site.yaml", live())
    assert main.main(["validate", site]) == 0
    assert main.main(["boot-files", "--site", site, "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said == f"{tmp_path}/boot/debian-13-live/manifest.json: None: {liveimage.BUILT_BY}\n"


def test_the_new_host_has_the_archives_of_the_site_and_a_console(tmp_path: Path) -> None:
    finish = bootfiles.tree(sources(installed("debian-13-live")))["boot/hosts/cmp1/finish.sh"]
    assert "deb http://mirror.example.org/debian-security trixie-security main non-free-firmware\n" in finish
    assert 'GRUB_SERIAL_COMMAND="serial --unit=1 --speed=115200"\n' in finish
    assert "NTP=ntp1.example.org ntp2.example.org\n" in finish
    silent = bootfiles.tree(sources(live(), {"debian": "http://only.example/debian"}))["boot/hosts/cmp1/finish.sh"]
    assert 'GRUB_CMDLINE_LINUX="console=tty0"\n' in silent
    for absent in ("security", "GRUB_TERMINAL", "timesyncd"):
        assert absent not in silent


# --- what is built


DUMP = """Package: bash
Priority: required
Description: a shell

Package: cron
Description: optional; "Priority: important" is said in its text only
Priority: important

Package: sl
Priority: optional

Package: nothing
"""


def test_what_debian_installs_everywhere_is_in_the_image() -> None:
    assert live_image.important(DUMP) == ["bash", "cron"]


def test_modules_come_with_what_they_need() -> None:
    text = "kernel/a/x.ko.xz: kernel/lib/y.ko.xz kernel/lib/z.ko.xz\nkernel/lib/y.ko.xz:\nkernel/other/w.ko.xz:\n"
    assert live_image.closure(text, ["kernel/a/"]) == ["kernel/a/x.ko.xz", "kernel/lib/y.ko.xz", "kernel/lib/z.ko.xz"]


def test_an_initramfs_has_links_programs_and_a_console(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/busybox").write_text("b")
    (tmp_path / "usr/bin/busybox").chmod(0o755)
    (tmp_path / "bin").symlink_to("usr/bin")
    entries = {each.path: each for each in live_image.entries_of(tmp_path)}
    assert entries["bin"].content == b"usr/bin"
    assert entries["usr/bin/busybox"] == guest_image.Entry("usr/bin/busybox", 0o100755, b"b")
    assert entries["dev/console"].device == (5, 1)


def test_one_kernel_is_expected(tmp_path: Path) -> None:
    (tmp_path / "boot").mkdir()
    with pytest.raises(LabError, match=r"boot/vmlinuz-\*: 0 are there, one was expected"):
        live_image.only(tmp_path, "boot/vmlinuz-*")
    (tmp_path / "boot/vmlinuz-6").touch()
    assert live_image.only(tmp_path, "boot/vmlinuz-*").name == "vmlinuz-6"


def test_the_image_is_named_by_its_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    archives = (mirror.Entry("http://mirror.example.org/debian", "trixie"),)
    first = live_image.key(archives)
    assert live_image.key(archives) == first
    assert live_image.key((mirror.Entry("http://other.example.org/debian", "trixie"),)) != first
    monkeypatch.setattr(live_recipe, "IMAGE", ())
    assert live_image.key(archives) != first


def test_what_is_there_is_not_built_again(tmp_path: Path) -> None:
    directory = built(tmp_path).parent
    assert not live_image.current(tmp_path / "boot", "abc")
    for name in IMAGE.sums:
        (directory / name).touch()
    assert live_image.current(tmp_path / "boot", "abc")
    assert not live_image.current(tmp_path / "boot", "abd")
    assert not live_image.current(tmp_path, "abc")


def test_the_scripts_are_part_of_the_recipe() -> None:
    assert sorted(live_recipe.INITRAMFS) == sorted(path.name for path in live_recipe.SCRIPTS.iterdir())


def test_the_image_is_made_as_root_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main.main(["live-image", "--out", str(tmp_path)]) == 2
    assert "run it as root" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_is_there_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archives = (mirror.Entry("http://mirror.example.org/debian", "trixie"),)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(mirror, "discover", lambda suite: archives)
    directory = built(tmp_path, liveimage.Manifest(live_image.key(archives), {"linux": SUM}).text()).parent
    (directory / "linux").touch()
    assert main.main(["live-image", "--out", str(tmp_path)]) == 0
    assert "nothing to do" in capsys.readouterr().out


# --- the installer's scripts, without a machine


def shell(text: str) -> subprocess.CompletedProcess[str]:
    """Run words of the installer's own, without what it does at its start."""
    script = (live_recipe.SCRIPTS / "install.sh").read_text().partition('\nmkdir -p "$WORK"\nfetch')[0]
    return subprocess.run(["sh", "-c", f"{script}\n{text}"], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("disk", "device"), [("sda", "/dev/sda2"), ("nvme0n1", "/dev/nvme0n1p2"), ("cciss!c0d0", "/dev/cciss/c0d0p2")]
)
def test_partitions_have_the_kernels_names(disk: str, device: str) -> None:
    assert shell(f"partition '{disk}' 2").stdout == f"{device}\n"


def test_a_table_becomes_what_sfdisk_reads(tmp_path: Path) -> None:
    text = f"WORK={tmp_path}; printf '600 esp vfat /boot/efi\\nrest lvm ext4 /\\n' >$WORK/layout; sizes"
    lines = shell(text).stdout.splitlines()
    assert lines[0] == "label: gpt"
    assert lines[1].startswith("size=600MiB, type=C12A7328-")
    assert lines[2].startswith("type=E6D6D379-")


def test_a_layout_that_nobody_knows_stops_the_installation(tmp_path: Path) -> None:
    done = shell(f"WORK={tmp_path}; echo '600 zfs zfs /' >$WORK/layout; sizes; echo on")
    assert done.returncode == 1
    assert "the layout has a partition of the kind zfs" in done.stderr
    assert "on" not in done.stdout.splitlines()


def test_what_has_another_hash_is_not_kept(tmp_path: Path) -> None:
    curl = 'curl() { while [ "$1" != -o ]; do shift; done; echo text >"$2"; };'
    right = "b9e68e1bea3e5b19ca6b2f98b73a54b73daafaa250484902e09982e07a12e733"
    good = shell(f"{curl} fetch {tmp_path}/good http://x {right}")
    assert (good.returncode, (tmp_path / "good").read_text()) == (0, "text\n")
    bad = shell(f"{curl} fetch {tmp_path}/bad http://x {SUM}; echo on")
    assert bad.returncode == 1
    assert f"http://x has the SHA-256 {right} and not {SUM}: nothing of it is used" in bad.stderr
    assert not (tmp_path / "bad").exists()
