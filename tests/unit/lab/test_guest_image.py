"""The guest image's pure parts: the archive, the boot record, the order of modules, the recipe's name."""

from __future__ import annotations

import lzma
import stat
import struct
from pathlib import Path

import pytest

from lab import guest_image
from lab.guest_image import Entry, GuestImageError, Package


def members(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Read a "newc" archive back: path → mode and content."""
    found, at = {}, 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, length = fields[1], fields[6], fields[11]
        name = archive[at + 110 : at + 110 + length - 1].decode()
        start = at + (110 + length + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, archive[start : start + size])
        at = start + (size + 3) // 4 * 4


def test_archive_is_read_back_and_always_the_same() -> None:
    entries = [
        Entry("dev", stat.S_IFDIR | 0o755),
        Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
        Entry("etc/odd", stat.S_IFREG | 0o644, b"five!"),
        Entry("init", stat.S_IFLNK | 0o777, b"/bin/busybox"),
    ]
    made = guest_image.archive(iter(entries))
    assert members(made) == {each.path: (each.mode, each.content) for each in entries}
    assert made == guest_image.archive(iter(entries))
    assert b"000000050000000100" in made


def test_boot_record_has_one_active_partition() -> None:
    record = guest_image.boot_record(b"\x90" * 440, 40960)
    assert (len(record), record[510:]) == (512, b"\x55\xaa")
    active, kind, first, sectors = struct.unpack("<B3xB3xII", record[446:462])
    assert (active, kind, first, sectors) == (0x80, 0x0E, guest_image.FIRST_SECTOR, 40960)
    assert record[462:510] == b"\0" * 48


def module(folder: Path, name: str, depends: str) -> Path:
    """Write a file that has a kernel module's own words."""
    path = folder / name
    content = b"\x7fELF\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0"
    path.write_bytes(lzma.compress(content) if path.suffix == ".xz" else content)
    return path


def test_modules_come_after_those_they_need(tmp_path: Path) -> None:
    module(tmp_path, "virtio_net.ko", "net_failover,virtio")
    module(tmp_path, "net-failover.ko.xz", "failover")
    module(tmp_path, "failover.ko", "")
    module(tmp_path, "virtio.ko", "")
    module(tmp_path, "other.ko", "")
    names = [each.name for each in guest_image.module_order(tmp_path, ["virtio_net", "built_in"])]
    assert names == ["failover.ko", "net-failover.ko.xz", "virtio.ko", "virtio_net.ko"]
    assert b"depends=failover" in guest_image.module_bytes(tmp_path / "net-failover.ko.xz")


def test_another_package_gives_another_name() -> None:
    one = guest_image.recipe_hash([Package("a_1_amd64.deb", "SHA256:1")])
    assert one == guest_image.recipe_hash([Package("a_1_amd64.deb", "SHA256:1")])
    assert one != guest_image.recipe_hash([Package("a_2_amd64.deb", "SHA256:2")])


def test_a_failing_command_is_named_with_its_last_words() -> None:
    with pytest.raises(GuestImageError, match="sh -c echo no such kernel >&2; exit 3: exit code 3: no such kernel"):
        guest_image.run(["sh", "-c", "echo no such kernel >&2; exit 3"])
    with pytest.raises(GuestImageError, match="no-such-tool: not found; install qemu-utils"):
        guest_image.run(["no-such-tool"])


def test_a_half_written_image_is_not_complete(tmp_path: Path) -> None:
    image = guest_image.named(tmp_path, "abc")
    assert image.disk.name == "guest-abc.qcow2"
    image.disk.touch()
    assert not image.complete
    image.kernel.touch()
    image.ramdisk.touch()
    assert image.complete


def test_a_folder_that_cannot_be_built_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                           monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    def missing() -> str:
        raise GuestImageError("linux-image-cloud-amd64: apt knows no such kernel; run apt-get update")

    monkeypatch.setattr(guest_image, "kernel_package", missing)
    assert guest_image.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("guest image: linux-image-cloud-amd64: apt knows no such kernel")


def test_what_a_killed_build_left_goes_at_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(image: guest_image.GuestImage, packages: list[Path], work: Path) -> None:
        assert [each for each in tmp_path.glob("build-*") if each != work] == []
        for each in (image.disk, image.kernel, image.ramdisk):
            each.touch()

    monkeypatch.setattr(guest_image, "packages_wanted", lambda: ["a"])
    monkeypatch.setattr(guest_image, "candidates", lambda names: [Package("a_1_amd64.deb", "SHA256:1")])
    monkeypatch.setattr(guest_image, "fetch_packages", lambda *_: [])
    monkeypatch.setattr(guest_image, "make", make)
    (tmp_path / "build-killed" / "tree").mkdir(parents=True)
    assert guest_image.build(tmp_path).complete
    monkeypatch.setattr(guest_image, "make", None)
    assert guest_image.build(tmp_path).complete
