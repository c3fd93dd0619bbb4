"""The base image: Debian and Salt's environment, made once and kept under the hash of its recipe."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from lab import layout, mirror, recipe
from lab.command import LabError, last_words, run

RECIPE = Path(recipe.__file__)
HOST_CA = Path("/etc/ssl/certs/ca-certificates.crt")
PIP_VARIABLES = ("PIP_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def key(entries: Iterable[mirror.Entry]) -> str:
    """Return the name of the image that this recipe and these archives make."""
    parts = [RECIPE.read_text(), Path(__file__).read_text(), *(each.line() for each in entries)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def path(entries: Iterable[mirror.Entry]) -> Path:
    """Return where the image is once it has been made."""
    return layout.CACHE / f"base-{key(entries)}"


def ensure(entries: tuple[mirror.Entry, ...]) -> Path:
    """Return the image, made if it is not there; a run that was killed leaves a `.part` that the next one removes."""
    target = path(entries)
    if target.is_dir():
        return target
    layout.CACHE.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = target.with_suffix(".part")
    for left in layout.CACHE.glob("base-*.part"):
        shutil.rmtree(left)
    order = {"root": str(part), "entries": [[each.url, each.suite, each.components] for each in entries]}
    # In a mount namespace of its own: whatever happens, no mount stays behind.
    argv = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "lab.image", json.dumps(order)]
    log = layout.CACHE / "image.log"
    with log.open("w") as stream:
        done = subprocess.run(argv, stdout=stream, stderr=subprocess.STDOUT, check=False, cwd=layout.REPOSITORY)
    if done.returncode:
        raise LabError(f"the base image could not be made; the end of {log}:\n{last_words(log.read_text())}")
    part.rename(target)
    return target


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


def bind(source: Path, root: Path) -> Path | None:
    """Show a path of the host inside a tree; returns what had to be made for it, to be removed afterwards."""
    source = source.resolve() if source.is_symlink() else source
    target = root / str(source).lstrip("/")
    made = None
    if not target.exists():
        made = target
        target.parent.mkdir(parents=True, exist_ok=True)
        target.mkdir() if source.is_dir() else target.touch()
    run("mount", "--bind", source, target)
    return made


def build(root: Path, entries: tuple[mirror.Entry, ...]) -> None:
    """Make the tree from nothing; runs in a mount namespace of its own."""
    base = entries[0]
    debs = layout.CACHE / "debootstrap"
    debs.mkdir(exist_ok=True)
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--keyring={mirror.KEYRING}", f"--cache-dir={debs}"]
        + [f"--include={','.join(recipe.PACKAGES)}", base.suite, str(root), base.url],
        check=True,
    )
    sources(root, [each.line().replace(each.plain, each.url) for each in entries])
    write(root, recipe.FILES)
    (root / "etc/apt/apt.conf.d/81saltern-mirror").write_text(mirror.options(run("apt-config", "dump").stdout))
    upgrade(root)
    salt(root)
    run("umount", root / "proc", root / "dev")
    sources(root, [each.line() for each in entries])
    finish(root)


def sources(root: Path, lines: Iterable[str]) -> None:
    """Write the tree's package sources."""
    (root / "etc/apt/sources.list").write_text("".join(f"{line}\n" for line in lines))


def write(root: Path, files: Mapping[str, str]) -> None:
    """Write files into a tree."""
    for name, content in files.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)


def inside(root: Path, *argv: str, env: Mapping[str, str] | None = None) -> None:
    """Run a program in the tree; its words go to the log."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root", **(env or {})}
    environment.update({name: os.environ[name] for name in PROXY_VARIABLES if name in os.environ})
    subprocess.run(["chroot", str(root), *argv], check=True, env={**environment, "DEBIAN_FRONTEND": "noninteractive"})


def upgrade(root: Path) -> None:
    """Bring the packages up to date with the updates' and the security archive."""
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text(Path("/etc/resolv.conf").read_text())
    run("mount", "-t", "proc", "proc", root / "proc")
    run("mount", "--bind", "/dev", root / "dev")
    trust = []
    if HOST_CA.exists():
        (root / "run/ca.crt").write_bytes(HOST_CA.read_bytes())
        trust = ["-o", "Acquire::https::CaInfo=/run/ca.crt"]
    inside(root, "apt-get", *trust, "-qq", "update")
    inside(root, "apt-get", *trust, "-qq", "-y", "dist-upgrade")
    inside(root, "apt-get", "clean")


def salt(root: Path) -> None:
    """Make Salt's environment with the tree's own Python and the host's settings of pip."""
    listing = run(sys.executable, "-m", "pip", "config", "list", check=False).stdout
    settings = pip_settings(listing, os.environ)
    cache = layout.CACHE / "pip"
    cache.mkdir(exist_ok=True)
    (root / "var/cache/pip").mkdir()
    run("mount", "--bind", cache, root / "var/cache/pip")
    paths = sorted(mentioned(settings))
    made = [bind(each, root) for each in paths]
    inside(root, "python3", "-m", "venv", "/opt/saltern/salt")
    pip = "/opt/saltern/salt/bin/pip"
    inside(root, pip, "install", "--quiet", *recipe.LIBRARIES, env={**settings, "PIP_CACHE_DIR": "/var/cache/pip"})
    run("umount", root / "var/cache/pip", *(root / str(each.resolve()).lstrip("/") for each in reversed(paths)))
    for each in filter(None, made):
        each.rmdir() if each.is_dir() else each.unlink()
    (root / "var/cache/pip").rmdir()


def finish(root: Path) -> None:
    """Leave the tree as a machine that has not booted yet and knows nothing of this host."""
    for unit in recipe.MASKED:
        (root / "etc/systemd/system" / unit).unlink(missing_ok=True)
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    for command in recipe.COMMANDS:
        (root / "usr/local/bin" / command).symlink_to(f"/opt/saltern/salt/bin/{command}")
    wanted = root / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir(parents=True, exist_ok=True)
    (wanted / "systemd-networkd.service").symlink_to("/usr/lib/systemd/system/systemd-networkd.service")
    for name in ("etc/resolv.conf", "etc/hostname", "etc/machine-id", "var/lib/dbus/machine-id"):
        (root / name).unlink(missing_ok=True)
    (root / "etc/resolv.conf").touch()
    (root / "etc/machine-id").touch()


if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    build(Path(request["root"]), tuple(mirror.Entry(*each) for each in request["entries"]))
