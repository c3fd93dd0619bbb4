"""A disk with Debian and a kernel of Debian's archive, for machines that are emulated as a whole.

It holds what the lab's base image holds, and all modules of the cloud kernel; kernel and ramdisk lie beside it. All are
kept under the hash of what they are made from. To be made as root: the tree is put together in a mount namespace.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import shutil
import stat
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from lab import image, layout, mirror
from lab.command import LabError, last_words, run
from lab.guest_image import (
    Entry,
    GuestImage,
    archive,
    candidates,
    fetch_packages,
    file_entry,
    first_file,
    kernel_package,
    module_bytes,
    module_order,
    text_entry,
)

BUSYBOX = "busybox-static"
MODULES = ("virtio_pci", "virtio_blk", "ext4", "virtio_net", "virtio_console", "virtio_rng")
"""What is there from the beginning; udev looks at network devices alone, as in the base image's containers."""
SIZE = 3 << 30
INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
while read -r module; do /bin/busybox insmod "/modules/$module"; done </modules/order
until /bin/busybox mount -t ext4 /dev/vda /root; do /bin/busybox sleep 0.1; done
/bin/busybox umount /proc
exec /bin/busybox switch_root /root /sbin/init
"""
# Commands come in base64, a line each, and so do answers: exit status and output.
AGENT = """\
#!/bin/sh
stty raw -echo
echo ready
while read -r line; do
    printf %s "$line" | base64 -d >/run/saltern-command
    sh /run/saltern-command </dev/null >/run/saltern-output 2>&1
    echo "$? $(base64 -w0 </run/saltern-output)"
done
"""
UNIT = """\
[Unit]
Description={about}
After={after}
[Service]
{service}
[Install]
WantedBy=multi-user.target
"""
ON_CONSOLE = "StandardInput=tty\nStandardOutput=tty\nTTYPath=/dev/hvc0\nRestart=always\nKillMode=process"
# At the first boot only: what the machine makes of the files afterwards is its own.
SEED = """\
[Unit]
Description=Files that this machine was given
DefaultDependencies=no
ConditionPathExists=!/var/lib/saltern-seeded
After=local-fs.target
Before=systemd-networkd.service systemd-networkd.socket sysinit.target
[Service]
Type=oneshot
ExecStart=/bin/tar -C / -xf /dev/vdb
ExecStart=/bin/touch /var/lib/saltern-seeded
[Install]
WantedBy=sysinit.target
"""
FILES = {
    "etc/fstab": "/dev/vda / ext4 rw 0 0\n",
    "etc/systemd/system/saltern-agent.service": UNIT.format(
        about="Commands from outside", after="systemd-networkd.service",
        service=f"ExecStart=/bin/sh /usr/local/lib/saltern-agent\n{ON_CONSOLE}",
    ),
    "etc/systemd/system/saltern-seed.service": SEED,
    "usr/local/lib/saltern-agent": AGENT,
}  # fmt: skip
ENABLED = {"saltern-agent.service": "multi-user.target", "saltern-seed.service": "sysinit.target"}
# It would log in on the console on which commands come.
MASKED = (
    "serial-getty@.service",
    "systemd-binfmt.service",
    "ldconfig.service",
    "systemd-journal-catalog-update.service",
)


class MachineDisk(GuestImage):
    """The finished files: a root file system that is only read, and the kernel and ramdisk that start it."""


def ensure(cache: Path) -> MachineDisk:
    """Return the disk, made if the cache has none of today's recipe; of two calls at once the second one waits."""
    cache = cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    base = image.ensure(mirror.discover())
    names = [kernel_package(), BUSYBOX]
    packages = candidates(names)
    recipe = [base.name, *(f"{each.name} {each.digest}" for each in packages), Path(__file__).read_text()]
    stem = cache / f"machine-{hashlib.sha256(chr(0).join(recipe).encode()).hexdigest()[:12]}"
    made = MachineDisk(stem.with_suffix(".raw"), stem.with_suffix(".vmlinuz"), stem.with_suffix(".initrd"))
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.complete:
            for left in (*cache.glob("build-*"), *cache.glob("machine-*")):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            with tempfile.TemporaryDirectory(dir=cache, prefix="build-") as folder:
                debs = fetch_packages(names, packages, cache / "packages")
                make(made, base, debs, Path(folder))
    return made


def make(made: MachineDisk, base: Path, packages: list[Path], work: Path) -> None:
    """Make the three files in a folder beside them, the disk in a mount namespace of its own."""
    tree = work / "tree"
    for package in packages:
        run("dpkg-deb", "-x", package, tree)
    ramdisk = gzip.compress(archive(ramdisk_entries(tree)), mtime=0)
    order = json.dumps({"base": str(base), "work": str(work)})
    argv = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "lab.machine_disk", order]
    done = subprocess.run(argv, cwd=layout.REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"the machine's disk could not be made: {last_words(done.stdout + done.stderr)}")
    made.ramdisk.write_bytes(ramdisk)
    shutil.copyfile(next((tree / "boot").glob("vmlinuz-*")), made.kernel)
    (work / "disk.raw").rename(made.disk)


def ramdisk_entries(tree: Path) -> Iterator[Entry]:
    """Yield what the first root file system holds: one program, a script, and the modules that reach the disk."""
    for folder in ("bin", "dev", "proc", "root", "modules"):
        yield Entry(folder, stat.S_IFDIR | 0o755)
    yield Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    yield file_entry("bin/busybox", first_file(tree, "bin/busybox"))
    modules = module_order(tree, MODULES)
    yield from (Entry(f"modules/{each.stem}", stat.S_IFREG | 0o644, module_bytes(each)) for each in modules)
    yield text_entry("modules/order", "".join(f"{each.stem}\n" for each in modules))
    yield text_entry("init", INIT, 0o755)


def build(base: Path, work: Path) -> None:
    """Put the root file system together over the base image, and make the disk of it; in a mount namespace."""
    for name in ("upper", "layer", "root"):
        (work / name).mkdir()
    root = work / "root"
    layers = f"lowerdir={base},upperdir={work}/upper,workdir={work}/layer"
    run("mount", "-t", "overlay", "saltern-machine", "-o", layers, root)
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    units = root / "etc/systemd/system"
    for unit, target in ENABLED.items():
        (units / f"{target}.wants").mkdir(exist_ok=True)
        (units / f"{target}.wants" / unit).symlink_to(f"/etc/systemd/system/{unit}")
    for unit in MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    run("systemctl", "--root", root, "enable", "systemd-networkd.service")
    (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
    shutil.copytree(work / "tree/lib/modules", root / "usr/lib/modules", dirs_exist_ok=True)
    run("chroot", root, "depmod", next((root / "usr/lib/modules").iterdir()).name)
    with (work / "disk.raw").open("wb") as disk:
        disk.truncate(SIZE)
    run("mkfs.ext4", "-q", "-E", "lazy_itable_init=1,nodiscard", "-d", root, work / "disk.raw")


if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    build(Path(request["base"]), Path(request["work"]))
