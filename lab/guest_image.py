"""The test guest: a small whole-disk image made from Debian packages, that boots in seconds under emulation.

Nothing here needs root, a loop device or the network beyond the package manager's own downloads. The image holds a
Debian cloud kernel and a busybox initramfs: DHCP, metadata, user data, SSH with the metadata's key, a status page.
Its name carries a hash of the recipe (these scripts and the packages' checksums), so an image is never out of date.
"""

from __future__ import annotations

import argparse
import fcntl
import gzip
import hashlib
import lzma
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HOST_PACKAGES = ("qemu-utils",)
"""Debian packages that must be installed where the image is built; the rest is unpacked for the build alone."""

KERNEL_METAPACKAGE = "linux-image-cloud-amd64"
TOOLS = ("dosfstools", "mtools", "syslinux", "syslinux-common")
MODULES = ("virtio_pci", "virtio_net", "virtio_blk", "virtio_rng", "button", "evdev")
PROGRAMS = {"busybox": "bin/", "dropbear": "usr/sbin/", "dropbearkey": "usr/bin/"}
RECIPE = Path(__file__).parent / "guest"
SECTOR = 512
FIRST_SECTOR = 2048
LIBRARIES = "usr/lib/x86_64-linux-gnu"
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class GuestImageError(Exception):
    """The image cannot be built; the text says what is missing or which command failed."""


@dataclass(frozen=True)
class Package:
    """A Debian package file as apt would fetch it: its file name and its checksum."""

    name: str
    digest: str


@dataclass(frozen=True)
class GuestImage:
    """The finished files: a bootable disk, and the kernel and ramdisk of the same guest on their own."""

    disk: Path
    kernel: Path
    ramdisk: Path

    @property
    def complete(self) -> bool:
        """True when all three files exist."""
        return all(path.is_file() for path in (self.disk, self.kernel, self.ramdisk))


@dataclass(frozen=True)
class Entry:
    """One member of the initramfs archive."""

    path: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def run(command: Sequence[str | Path], cwd: Path | None = None, path: str = "") -> str:
    """Run a command in the C locale and return its output; a failure becomes a one-line error with its last words."""
    search = f"{path}:{SYSTEM_PATH}" if path else SYSTEM_PATH
    environment = {**os.environ, "PATH": search, "LC_ALL": "C", "MTOOLS_SKIP_CHECK": "1"}
    try:
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise GuestImageError(f"{command[0]}: not found; install {', '.join(HOST_PACKAGES)}") from error
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise GuestImageError(f"{' '.join(map(str, command))}: exit code {done.returncode}: {' / '.join(words)}")
    return done.stdout


def kernel_package() -> str:
    """Return the package that holds the newest cloud kernel of the host's own suite."""
    text = run(["apt-cache", "--no-all-versions", "show", KERNEL_METAPACKAGE])
    found = re.search(r"^Depends: (linux-image-[0-9][^ ,]*)", text, re.MULTILINE)
    if not found:
        raise GuestImageError(f"{KERNEL_METAPACKAGE}: apt knows no such kernel; run apt-get update")
    return found[1]


def with_libraries(package: str) -> list[str]:
    """Return a package and everything it depends on."""
    refused = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    lines = run(["apt-cache", "depends", "--recurse", *refused, package]).splitlines()
    return [line for line in lines if re.match(r"[a-z0-9]", line) and "debconf" not in line]


def packages_wanted() -> list[str]:
    """Return the names of all packages whose files the build reads."""
    return sorted({kernel_package(), *with_libraries("busybox"), *with_libraries("dropbear-bin"), *TOOLS})


def candidates(names: Sequence[str]) -> list[Package]:
    """Return the package files that apt would fetch today, without fetching them."""
    with tempfile.TemporaryDirectory() as empty:  # apt says nothing of files that lie in the current folder
        lines = run(["apt-get", "download", "--print-uris", *names], cwd=Path(empty)).splitlines()
    fields = [line.split() for line in lines if line.startswith("'")]
    return sorted((Package(name, digest) for _, name, _, digest in fields), key=lambda each: each.name)


def recipe_hash(packages: Sequence[Package]) -> str:
    """Return the hash of everything that decides what the image holds."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(RECIPE.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    for package in packages:
        digest.update(f"{package.name} {package.digest}\n".encode())
    return digest.hexdigest()[:12]


def fetch_packages(names: Sequence[str], packages: Sequence[Package], store: Path) -> list[Path]:
    """Download what the store lacks, into the store; files of an interrupted download are not kept."""
    store.mkdir(parents=True, exist_ok=True)
    paths = [store / package.name for package in packages]
    if not all(path.is_file() for path in paths):
        with tempfile.TemporaryDirectory(dir=store) as work:
            sandbox = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
            run(["apt-get", *sandbox, "download", *names], cwd=Path(work))
            for path in Path(work).glob("*.deb"):
                path.replace(store / path.name)
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise GuestImageError(f"apt-get download did not deliver: {', '.join(missing)}")
    return paths


def module_order(tree: Path, wanted: Sequence[str]) -> list[Path]:
    """Return the files of the wanted kernel modules, each after those it depends on; built-in ones need no file."""
    files = {re.sub(r"\.ko(\.\w+)?$", "", path.name).replace("-", "_"): path for path in tree.rglob("*.ko*")}
    ordered: dict[str, Path] = {}

    def visit(name: str) -> None:
        if name in ordered or name not in files:
            return
        found = re.search(rb"\0depends=([^\0]*)\0", module_bytes(files[name]))
        for needed in found[1].decode().split(",") if found else ():
            visit(needed.replace("-", "_"))
        ordered[name] = files[name]

    for name in wanted:
        visit(name)
    return list(ordered.values())


def module_bytes(path: Path) -> bytes:
    """Return a kernel module's content, unpacked."""
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def with_loader(tree: Path, program: Path) -> list[str | Path]:
    """Return the command words that run an unpacked program with the unpacked C library."""
    loader = next(path for path in tree.rglob("ld-linux-x86-64.so.2") if path.is_file())
    return [loader, "--library-path", f"{tree / LIBRARIES}:{tree / 'lib/x86_64-linux-gnu'}", program]


def libraries_of(tree: Path, programs: Sequence[Path]) -> dict[str, Path]:
    """Return where each library and the loader belong, and its file: from the packages, none from this host."""
    found: dict[str, Path] = {}
    for program in programs:
        loader, *words = with_loader(tree, program)
        found["lib64/ld-linux-x86-64.so.2"] = Path(loader)
        listing = run([loader, "--list", *words])
        paths = [Path(path) for path in re.findall(r"=> (/\S+)", listing)]
        found |= {f"lib/x86_64-linux-gnu/{path.name}": path for path in paths if not path.name.startswith("ld-linux")}
    foreign = [str(path) for path in found.values() if tree not in path.parents]
    if foreign:
        raise GuestImageError(f"libraries outside the unpacked packages: {', '.join(foreign)}")
    return found


def first_file(tree: Path, path: str) -> Path:
    """Return a file of the packages, whether or not its package has moved to /usr."""
    return next(each for each in (tree / path, tree / "usr" / path) if each.is_file())


def file_entry(path: str, source: Path, mode: int = 0o755) -> Entry:
    """Return an archive member with the content of a file."""
    return Entry(path, stat.S_IFREG | mode, source.read_bytes())


def text_entry(path: str, text: str, mode: int = 0o644) -> Entry:
    """Return an archive member with the given text."""
    return Entry(path, stat.S_IFREG | mode, text.encode())


def guest_entries(tree: Path) -> Iterator[Entry]:
    """Yield everything the guest's root file system holds."""
    folders = "bin sbin usr usr/bin usr/sbin etc etc/acpi etc/acpi/PWRF etc/dropbear root root/.ssh lib lib/modules"
    for folder in (*folders.split(), "lib64", "lib/x86_64-linux-gnu", "var", "var/log", "var/run", "dev"):
        yield Entry(folder, stat.S_IFDIR | 0o755)
    yield Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    programs = [first_file(tree, f"{folder}{name}") for name, folder in PROGRAMS.items()]
    yield from (file_entry(f"bin/{path.name}", path) for path in programs)
    yield from (file_entry(target, path) for target, path in libraries_of(tree, programs).items())
    for applet in run([*with_loader(tree, programs[0]), "--list"]).split():
        if applet != "busybox":
            yield Entry(f"bin/{applet}", stat.S_IFLNK | 0o777, b"/bin/busybox")
    for link in ("init", "sbin/init", "sbin/reboot", "sbin/poweroff"):
        yield Entry(link, stat.S_IFLNK | 0o777, b"/bin/busybox")
    yield from account_entries()
    modules = module_order(tree, MODULES)
    yield from (Entry(f"lib/modules/{each.stem}", stat.S_IFREG | 0o644, module_bytes(each)) for each in modules)
    yield text_entry("etc/modules", "".join(f"{each.stem}\n" for each in modules))
    for name, target in (("setup", "etc/setup"), ("udhcpc", "etc/udhcpc"), ("inittab", "etc/inittab")):
        yield file_entry(target, RECIPE / name)
    yield file_entry("etc/acpi/PWRF/00000080", RECIPE / "power-button")


def account_entries() -> Iterator[Entry]:
    """Yield the one account there is: root, who logs in with a key only."""
    yield text_entry("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    yield text_entry("etc/group", "root:x:0:\n")
    yield text_entry("etc/shells", "/bin/sh\n")
    yield text_entry("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")


def archive(entries: Iterator[Entry]) -> bytes:
    """Return entries as a cpio archive in the kernel's "newc" form; the same entries give the same bytes."""
    parts: list[bytes] = []
    for number, entry in enumerate((*entries, Entry("TRAILER!!!", 0)), start=1):
        name = entry.path.encode() + b"\0"
        fields = (number, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0, *entry.device, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        parts += [head, b"\0" * (-len(head) % 4), entry.content, b"\0" * (-len(entry.content) % 4)]
    return b"".join(parts)


def boot_record(code: bytes, sectors: int) -> bytes:
    """Return a master boot record with one active FAT partition that reaches to the disk's end."""
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x0E, b"\xfe\xff\xff", FIRST_SECTOR, sectors)
    return code[:440].ljust(446, b"\0") + entry.ljust(64, b"\0") + b"\x55\xaa"


def disk_image(tree: Path, kernel: Path, ramdisk: Path, raw: Path) -> None:
    """Write a disk that any PC firmware boots: boot record, one FAT partition, syslinux, kernel and ramdisk."""
    size = kernel.stat().st_size + ramdisk.stat().st_size
    sectors = (size // SECTOR + 8192) // 2048 * 2048
    tools = f"{tree / 'usr/bin'}:{tree / 'usr/sbin'}:{tree / 'sbin'}"
    where = f"{raw}@@{FIRST_SECTOR * SECTOR}"
    with raw.open("wb") as disk:
        disk.write(boot_record((tree / "usr/lib/syslinux/mbr/mbr.bin").read_bytes(), sectors))
        disk.truncate((FIRST_SECTOR + sectors) * SECTOR)
    layout = ["-F", "16", "-i", "5a17e4a1", "-n", "SALTERN", "-h", str(FIRST_SECTOR), "--offset", str(FIRST_SECTOR)]
    run(["mkfs.vfat", "--invariant", *layout, raw, str(sectors // 2)], path=tools)
    for source, name in ((kernel, "vmlinuz"), (ramdisk, "initrd"), (RECIPE / "syslinux.cfg", "syslinux.cfg")):
        run(["mcopy", "-i", where, source, f"::{name}"], path=tools)
    run(["syslinux", "--install", "--offset", str(FIRST_SECTOR * SECTOR), raw], path=tools)


def named(cache: Path, digest: str) -> GuestImage:
    """Return where the image of a recipe lives in the cache."""
    stem = cache / f"guest-{digest}"
    return GuestImage(stem.with_suffix(".qcow2"), stem.with_suffix(".vmlinuz"), stem.with_suffix(".initrd"))


def build(cache: Path) -> GuestImage:
    """Return the guest image, built if the cache has none of today's recipe; a killed build leaves no half image.

    Of two calls at once the second one waits, and finds the image made.
    """
    cache = cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    names = packages_wanted()
    packages = candidates(names)
    image = named(cache, recipe_hash(packages))
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.complete:
            for left in cache.glob("build-*"):
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(dir=cache, prefix="build-") as folder:
                make(image, fetch_packages(names, packages, cache / "packages"), Path(folder))
    return image


def make(image: GuestImage, packages: Iterable[Path], work: Path) -> None:
    """Make the image's files from package files, in a folder beside them."""
    tree = work / "tree"
    for package in packages:
        run(["dpkg-deb", "-x", package, tree])
    made = GuestImage(work / "disk.qcow2", work / "vmlinuz", work / "initrd")
    shutil.copyfile(next((tree / "boot").glob("vmlinuz-*")), made.kernel)
    made.ramdisk.write_bytes(gzip.compress(archive(guest_entries(tree)), mtime=0))
    disk_image(tree, made.kernel, made.ramdisk, work / "disk.raw")
    run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", work / "disk.raw", made.disk])
    for source, target in ((made.kernel, image.kernel), (made.ramdisk, image.ramdisk), (made.disk, image.disk)):
        source.replace(target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the image in the given cache folder and print where its disk is."""
    parser = argparse.ArgumentParser(description=build.__doc__)
    parser.add_argument("cache", type=Path, help="folder for the image and the downloaded packages")
    try:
        image = build(parser.parse_args(arguments).cache)
    except GuestImageError as error:
        print(f"guest image: {error}", file=sys.stderr)
        return 1
    print(image.disk)
    return 0


if __name__ == "__main__":
    sys.exit(main())
