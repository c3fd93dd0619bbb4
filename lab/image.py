"""The base image: Debian and Salt's environment, made once and kept under the hash of its recipe."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lab import layout, mirror, recipe
from lab.command import LabError, last_words, run

HOST_CA = Path("/etc/ssl/certs/ca-certificates.crt")
PIP_VARIABLES = ("PIP_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PINNED = "--constraint=/mnt/constraints.txt"
PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def key(entries: Iterable[mirror.Entry]) -> str:
    """Return the name of the image that this recipe and these archives make."""
    parts = [repr(recipe.IMAGE), *(each.line() for each in entries)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def path(entries: Iterable[mirror.Entry]) -> Path:
    """Return where the image is once it has been made."""
    return layout.CACHE / f"base-{key(entries)}"


def ensure(entries: tuple[mirror.Entry, ...]) -> Path:
    """Return the image, made if it is not there.

    The builder holds the lock, too: when this run is killed and the builder lives on, the next run waits for it. What
    a builder that was killed leaves is a `.part`, which the next one removes.

    Images that no recipe makes any more stay: a node of any lab may stand on one.
    """
    target = path(entries)
    layout.CACHE.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (layout.CACHE / ".lock").open("w") as lock:
        # Two labs at once: the second one waits and finds the image made.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            make(target, entries, lock.fileno())
    return target


def make(target: Path, entries: tuple[mirror.Entry, ...], lock: int) -> None:
    """Make the image in a mount namespace of its own: whatever happens, no mount stays behind."""
    for left in layout.CACHE.glob("base-*.*"):
        shutil.rmtree(left)
    order = {"target": str(target), "entries": [[each.url, each.suite, each.components] for each in entries]}
    argv = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "lab.image", json.dumps(order)]
    options: dict[str, Any] = {"stderr": subprocess.STDOUT, "cwd": layout.REPOSITORY, "pass_fds": [lock]}
    log = layout.CACHE / "image.log"
    with log.open("w") as stream:
        done = subprocess.run(argv, stdout=stream, check=False, **options)
    if done.returncode:
        raise LabError(f"the base image could not be made; the end of {log}:\n{last_words(log.read_text())}")


def pip_settings(listing: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the host's settings of pip as variables: its files first, its environment over them."""
    settings = {}
    for line in listing.splitlines():
        match = re.fullmatch(r"(?:global|install)\.([\w-]+)='(.*)'", line)
        if match:
            settings["PIP_" + match[1].upper().replace("-", "_")] = match[2].replace("\\n", " ")
    settings.update({name: value for name, value in environ.items() if name.startswith(PIP_VARIABLES)})
    return settings


def mentioned(settings: Mapping[str, str]) -> set[Path]:
    """Return the files and directories of this host that settings of pip speak of."""
    words = {word for value in settings.values() for word in value.split()}
    # A local index refers to its files with relative links: the directory above it belongs to it.
    paths = {Path(word.removeprefix("file://")).parent for word in words if word.startswith("file:///")}
    paths |= {Path(word) for word in words if word.startswith("/")}
    return {each for each in paths if each.exists() and each != Path("/")}


def bind(source: Path, root: Path, target: str | None = None) -> None:
    """Show a path of the host inside a tree, at the same place or at another."""
    inner = root / (target or str(source)).lstrip("/")
    if not inner.exists():
        inner.parent.mkdir(parents=True, exist_ok=True)
        inner.mkdir() if source.is_dir() else inner.touch()
    run("mount", "--bind", source, inner)


def build(target: Path, entries: tuple[mirror.Entry, ...]) -> None:
    """Make the tree from nothing; runs in a mount namespace of its own. The tree has its name when it is whole."""
    root = target.with_suffix(".part")
    base = entries[0]
    debs = layout.CACHE / "debootstrap"
    debs.mkdir(exist_ok=True)
    options = ["debootstrap", "--variant=minbase", f"--keyring={mirror.KEYRING}", f"--cache-dir={debs}"]
    options.append(f"--include={','.join(recipe.PACKAGES)}")
    subprocess.run(
        [*options, base.suite, str(root), base.url],
        check=True,
    )
    sources(root, [each.line().replace(each.plain, each.url) for each in entries])
    (root / "etc/dpkg/dpkg.cfg.d/saltern-lab").write_text("force-unsafe-io\n")
    (root / "etc/apt/apt.conf.d/81saltern-mirror").write_text(mirror.options(run("apt-config", "dump").stdout))
    upgrade(root)
    salt(root)
    run("umount", root / "proc", root / "dev")
    sources(root, [each.line() for each in entries])
    finish(root)
    root.rename(target)


def sources(root: Path, lines: Iterable[str]) -> None:
    """Write the tree's package sources."""
    (root / "etc/apt/sources.list").write_text("".join(f"{line}\n" for line in lines))


def inside(root: Path, *argv: str, env: Mapping[str, str] | None = None) -> None:
    """Run a program in the tree; its words go to the log."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root", **(env or {})}
    environment.update({name: os.environ[name] for name in PROXY_VARIABLES if name in os.environ})
    subprocess.run(["chroot", str(root), *argv], check=True, env={**environment, "DEBIAN_FRONTEND": "noninteractive"})


def apt(root: Path, *words: str) -> None:
    """Run apt-get in the tree over the host's network; packages are kept for the next image."""
    trust = []
    if HOST_CA.exists():
        (root / "run/ca.crt").write_bytes(HOST_CA.read_bytes())
        trust = ["-o", "Acquire::https::CaInfo=/run/ca.crt"]
    inside(root, "apt-get", *trust, "-qq", "-y", *words)


def upgrade(root: Path) -> None:
    """Bring the packages up to date with the updates' and the security archive."""
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text(Path("/etc/resolv.conf").read_text())
    run("mount", "-t", "proc", "proc", root / "proc")
    bind(Path("/dev"), root)
    apt(root, "update")
    apt(root, "dist-upgrade")
    apt(root, "clean")


def salt(root: Path) -> None:
    """Make Salt's environment with the tree's own Python, from wheels that a copy of the tree has built."""
    wheels = root.with_suffix(".wheels")
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir()
    (wheels / "constraints.txt").write_text("".join(f"{pin}\n" for pin in recipe.CONSTRAINTS))
    build_wheels(root, wheels)
    if loose := unpinned(wheels, recipe.CONSTRAINTS):
        raise LabError(f"{recipe.PINS}: not pinned: {', '.join(loose)}")
    bind(wheels, root, "/mnt")
    inside(root, "python3", "-m", "venv", "/opt/saltern/salt")
    pip = "/opt/saltern/salt/bin/pip"
    inside(root, pip, "install", "--quiet", "--no-index", "--find-links=/mnt", PINNED, *recipe.LIBRARIES)
    run("umount", root / "mnt")
    shutil.rmtree(wheels)


def build_wheels(root: Path, wheels: Path) -> None:
    """Fetch or build every wheel: some have none on the index for this Python, and the image shall hold no compiler."""
    scratch = root.with_suffix(".scratch")
    shutil.rmtree(scratch, ignore_errors=True)
    for name in ("upper", "work", "root"):
        (scratch / name).mkdir(parents=True)
    copy = scratch / "root"
    layers = f"lowerdir={root},upperdir={scratch}/upper,workdir={scratch}/work"
    run("mount", "-t", "overlay", "saltern-image", "-o", layers, copy)
    run("mount", "-t", "proc", "proc", copy / "proc")
    bind(Path("/dev"), copy)
    apt(copy, "install", *recipe.COMPILER)
    settings = pip_settings(run(sys.executable, "-m", "pip", "config", "list", check=False).stdout, os.environ)
    if HOST_CA.exists():
        settings.setdefault("PIP_CERT", str(HOST_CA))
    for each in sorted(mentioned(settings)):
        bind(each, copy)
    cache = layout.CACHE / "pip"
    cache.mkdir(exist_ok=True)
    bind(cache, copy, "/var/cache/pip")
    bind(wheels, copy, "/mnt")
    environment = {**settings, "PIP_CACHE_DIR": "/var/cache/pip"}
    inside(copy, "python3", "-m", "venv", "/opt/venv")
    pip = "/opt/venv/bin/pip"
    inside(copy, pip, "wheel", "--quiet", "--wheel-dir=/mnt", PINNED, *recipe.LIBRARIES, env=environment)
    run("umount", "--recursive", copy)
    shutil.rmtree(scratch)


def unpinned(wheels: Path, constraints: Iterable[str]) -> list[str]:
    """Return the wheels, as NAME==VERSION, that the constraints do not pin at exactly this version."""
    pinned = set(map(plain, constraints))
    found = ("==".join(wheel.name.split("-")[:2]) for wheel in wheels.glob("*.whl"))
    return sorted(each for each in found if plain(each) not in pinned)


def plain(pin: str) -> str:
    """Return NAME==VERSION in the one form in which names are compared."""
    name, _, version = pin.partition("==")
    return f"{re.sub('[-_.]+', '-', name).lower()}=={version.strip()}"


def finish(root: Path) -> None:
    """Leave the tree as a machine that has not booted yet and knows nothing of this host."""
    for name in ("etc/resolv.conf", "etc/hostname", "etc/machine-id", "var/lib/dbus/machine-id"):
        (root / name).unlink(missing_ok=True)
    (root / "etc/resolv.conf").touch()
    (root / "etc/machine-id").touch()


if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    try:
        build(Path(request["target"]), tuple(mirror.Entry(*each) for each in request["entries"]))
    except (subprocess.CalledProcessError, LabError) as error:
        # What the program said stands above this line in the log.
        sys.exit(str(error))
