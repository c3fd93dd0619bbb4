"""The live installer: a root image with Debian and Salt, and the kernel and initramfs that unpack it on a bare machine.

Made from the base image of the lab, so Salt's environment is the same everywhere. A directory that holds the files of
today's recipe is left as it is; packages are those of the day on which it was built.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from saltern import liveimage

from lab import guest_image, image, layout, live_recipe, mirror, recipe
from lab.command import LabError, last_words, output, run

Entries = tuple[mirror.Entry, ...]


def key(entries: Entries) -> str:
    """Return the name of what this recipe, these scripts and these archives make."""
    parts = [image.key(entries), repr(live_recipe.IMAGE)]
    parts += [each.read_text() for each in (live_recipe.SCRIPTS / name for name in live_recipe.INITRAMFS)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def ensure(out: Path, refresh: bool = False) -> bool:
    """Make the files below a directory unless they are those of the recipe; tell whether they were made.

    ``refresh`` makes them in any case, with today's packages.
    """
    entries = mirror.discover(recipe.SUITE)
    if not refresh and current(out, key(entries)):
        return False
    image.ensure(entries)
    out.mkdir(parents=True, exist_ok=True)
    with (layout.CACHE / ".live.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make(out, entries, lock.fileno())
    return True


def current(out: Path, wanted: str) -> bool:
    """Whether a directory has all files, and of this recipe."""
    directory = out / liveimage.DIRECTORY
    if not (directory / liveimage.MANIFEST).exists():
        return False
    found = liveimage.read(directory / liveimage.MANIFEST)
    return found.recipe == wanted and all((directory / name).exists() for name in found.sums)


def make(out: Path, entries: Entries, lock: int) -> None:
    """Make the files in a mount namespace of its own: whatever happens, no mount stays behind."""
    for left in layout.CACHE.glob("live*.part"):
        shutil.rmtree(left)
    order = {"out": str(out), "entries": [[each.url, each.suite, each.components] for each in entries]}
    argv = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "lab.live_image", json.dumps(order)]
    options: dict[str, Any] = {"stderr": subprocess.STDOUT, "cwd": layout.REPOSITORY, "pass_fds": [lock]}
    log = layout.CACHE / "live.log"
    with log.open("w") as stream:
        done = subprocess.run(argv, stdout=stream, check=False, **options)
    if done.returncode:
        raise LabError(f"the live image could not be made; the end of {log}:\n{last_words(log.read_text())}")


def build(out: Path, entries: Entries) -> None:
    """Make the files from the base image; runs in a mount namespace of its own. The manifest is written last."""
    root, stage = layout.CACHE / "live.part", layout.CACHE / "live-initramfs.part"
    run("cp", "--archive", image.path(entries), root)
    system(root, entries)
    initramfs(root, stage)
    loaders(root)
    target = out / liveimage.DIRECTORY
    target.mkdir(parents=True, exist_ok=True)
    (target / liveimage.MANIFEST).unlink(missing_ok=True)
    shutil.copyfile(only(root, "boot/vmlinuz-*"), target / "linux")
    pack_initramfs(stage, target / "initrd")
    for name, source in live_recipe.LOADERS.items():
        shutil.copyfile(root / source, out / name)
    run("umount", root / "proc", root / "dev")
    clean(root)
    pack(root, target / "root.tar.zst")
    sums = {name: digest(target / name) for name in ("linux", "initrd", "root.tar.zst")}
    (target / liveimage.MANIFEST).write_text(liveimage.Manifest(key(entries), sums).text())
    for left in (root, stage):
        shutil.rmtree(left)


def system(root: Path, entries: Entries) -> None:
    """Make of the base image a machine of its own: what Debian's installer installs, a kernel, boot loaders, SSH."""
    image.sources(root, [each.line().replace(each.plain, each.url) for each in entries])
    (root / "etc/dpkg/dpkg.cfg.d/saltern-live").write_text("force-unsafe-io\n")
    image.upgrade(root)
    wanted = [*live_recipe.PACKAGES, *important(output("chroot", str(root), "apt-cache", "dumpavail"))]
    image.apt(root, "install", "--no-install-recommends", *wanted)
    image.apt(root, "clean")
    for name, text in live_recipe.FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name, goal in live_recipe.LINKS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(goal)


def important(available: str) -> list[str]:
    """Return the packages that Debian's own installer installs on every machine, out of ``apt-cache dumpavail``."""
    records = (dict(re.findall(r"^(Package|Priority): (.+)$", each, re.MULTILINE)) for each in available.split("\n\n"))
    return sorted({each["Package"] for each in records if each.get("Priority") in ("required", "important")})


def only(root: Path, pattern: str) -> Path:
    """Return the one path below a tree that fits a pattern."""
    found = sorted(root.glob(pattern))
    if len(found) != 1:
        raise LabError(f"{root}: {pattern}: {len(found)} are there, one was expected")
    return found[0]


def initramfs(root: Path, stage: Path) -> None:
    """Lay out the initramfs: programs and modules of the root image, and the installer's scripts."""
    for name in live_recipe.FOLDERS:
        (stage / name).mkdir(parents=True, exist_ok=True)
    programs = [f"/{each}" for each in live_recipe.PROGRAMS]
    for each in (*live_recipe.PROGRAMS, *live_recipe.DATA, *libraries(root, programs)):
        (stage / each).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / each, stage / each)
    for name, goal in live_recipe.NAMES.items():
        (stage / name).symlink_to(goal)
    # A link that an applet would get already is the real program's.
    for applet in output("chroot", str(root), "busybox", "--list").split():
        if not any((stage / folder / applet).exists() for folder in ("usr/bin", "usr/sbin")):
            (stage / "usr/bin" / applet).symlink_to("busybox")
    modules(root, stage)
    for name, mode in live_recipe.INITRAMFS.items():
        shutil.copyfile(live_recipe.SCRIPTS / name, stage / name)
        (stage / name).chmod(mode)


def libraries(root: Path, programs: Iterable[str]) -> list[str]:
    """Return the libraries that programs of a tree need, and the loader, as paths below it."""
    said = output("chroot", str(root), "ldd", *programs)
    found = set(re.findall(r"(?:=> |^\t)(/\S+)", said, re.MULTILINE))
    # /lib is a link to /usr/lib.
    return sorted(re.sub(r"^/(usr/)?", "usr/", each) for each in found)


def modules(root: Path, stage: Path) -> None:
    """Copy the drivers of disks and networks, the modules that they need, and what tells which is which."""
    tree = only(root, "usr/lib/modules/*")
    wanted = closure((tree / "modules.dep").read_text(), live_recipe.MODULES)
    for name in (*wanted, "modules.builtin", "modules.builtin.modinfo", "modules.order"):
        target = stage / "usr/lib/modules" / tree.name / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tree / name, target)
    image.bind(stage, root, "/mnt")
    image.inside(root, "depmod", "--basedir=/mnt/usr", tree.name)
    run("umount", root / "mnt")


def closure(dependencies: str, wanted: Iterable[str]) -> list[str]:
    """Return the modules of ``modules.dep`` whose path begins with one of these, and all that they need."""
    needs = {name: rest.split() for name, _, rest in (line.partition(":") for line in dependencies.splitlines())}
    prefixes = tuple(wanted)
    chosen = {name for name in needs if name.startswith(prefixes)}
    return sorted(chosen | {each for name in chosen for each in needs[name]})


def entries_of(stage: Path) -> Iterator[guest_image.Entry]:
    """Yield a directory's contents as members of an archive, in an order that is always the same."""
    for path in sorted(stage.rglob("*")):
        name, mode = str(path.relative_to(stage)), path.lstat().st_mode
        if path.is_symlink():
            yield guest_image.Entry(name, stat.S_IFLNK | 0o777, os.readlink(path).encode())
        else:
            yield guest_image.Entry(name, mode, b"" if path.is_dir() else path.read_bytes())
    yield guest_image.Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))


def pack_initramfs(stage: Path, target: Path) -> None:
    """Write the initramfs; the same directory gives the same bytes."""
    archive = guest_image.archive(entries_of(stage))
    done = subprocess.run(["zstd", "-q", "-15", "-T0", "-c"], input=archive, stdout=subprocess.PIPE, check=True)
    target.write_bytes(done.stdout)


def loaders(root: Path) -> None:
    """Unpack iPXE beside the tree's own shim and GRUB; it is not part of the root image."""
    image.apt(root, "download", "ipxe")
    package = only(root, "ipxe_*.deb")
    run("dpkg-deb", "--extract", package, root / "run/loaders")
    package.unlink()


def clean(root: Path) -> None:
    """Leave nothing that two machines must not share, that only building took, or that tells where it was done."""
    image.finish(root)
    for pattern in live_recipe.REMOVED:
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def pack(root: Path, target: Path) -> None:
    """Write the root image."""
    words = ["tar", "--create", "--sort=name", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls"]
    words += ["--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"]
    words += ["--use-compress-program=zstd -9 -T0"]
    run(*words, f"--file={target}", f"--directory={root}", ".")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    try:
        build(Path(request["out"]), tuple(mirror.Entry(*each) for each in request["entries"]))
    except (subprocess.CalledProcessError, LabError) as error:
        # What the program said stands above this line in the log.
        sys.exit(str(error))
