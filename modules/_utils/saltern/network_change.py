#!/usr/bin/python3 -IS
"""One change of a host's networks: on trial first, then confirmed or rolled back.

The host keeps a copy of this file as a program of its own, without Salt and without its Python: a timer runs it when a
change was not confirmed in time, and the next boot before networks start. Nothing but the standard library is used.

A change is on trial from the moment that its directory has the name ``pending``, with the old and the new files in it;
this and the ends of it are one ``rename`` each. Whatever is killed in between, the next call begins again from there.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MARK = "# Managed by Saltern"
"""How a file begins that is ours; no other one is ever replaced or removed."""
KINDS = (".network", ".netdev")
TIMER = "saltern-network-rollback.timer"
NETWORKD = "systemd-networkd.service"
USAGE = """\
usage: saltern-network status|confirm|rollback|boot
  status    say whether a change is on trial, and where the files before the last ones are
  confirm   keep the change that is on trial
  rollback  put the files back that were there before it, and have systemd-networkd follow them
  boot      roll back a change that an earlier boot left on trial; the system calls it before networks start
"""

Files = Mapping[str, str]
"""Texts by file name."""


class NoChange(Exception):
    """No change is on trial (any more)."""


def command(words: Sequence[str]) -> str:
    """Run a program of the system and return what it said; what keeps it from ending well says so and is passed over.

    What comes of it is judged by probes, or by the next call.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, env={"PATH": "/usr/sbin:/usr/bin"})
    except (OSError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"{' '.join(words)}: {error}\n")
        return ""
    if done.returncode:
        sys.stderr.write(f"{' '.join(words)}: {done.stderr.strip()}\n")
    return done.stdout


@dataclass(frozen=True)
class Place:
    """Where systemd-networkd's files and the changes of them are, and how programs are run."""

    network: Path = Path("/etc/systemd/network")
    state: Path = Path("/var/lib/saltern/network")
    boot: Path = Path("/proc/sys/kernel/random/boot_id")
    run: Callable[[Sequence[str]], str] = command

    @property
    def pending(self) -> Path:
        """The change on trial: ``old`` and ``new`` with files, and the boot that it was begun in."""
        return self.state / "pending"

    @property
    def confirmed(self) -> Path:
        """The last change that was confirmed."""
        return self.state / "confirmed"

    @property
    def undone(self) -> Path:
        """The last change that was rolled back."""
        return self.state / "rolled-back"


def ours(directory: Path) -> dict[str, str]:
    """Return the files of a directory that are ours, by name."""
    found = {}
    for path in sorted(directory.glob("*")) if directory.is_dir() else ():
        if path.suffix in KINDS and path.is_file() and not path.is_symlink():
            text = path.read_text(errors="replace")
            if text.startswith(MARK):
                found[path.name] = text
    return found


def begin(place: Place, wanted: Files) -> None:
    """Put a change on trial without touching the files yet; one that is on trial already must have ended."""
    with _locked(place):
        part = place.state / "part"
        shutil.rmtree(part, ignore_errors=True)
        for name, files in (("old", ours(place.network)), ("new", wanted)):
            (part / name).mkdir(parents=True)
            for file, text in files.items():
                _write(part / name / file, text)
            _sync(part / name)
        _write(part / "boot", place.boot.read_text())
        _sync(part)
        part.rename(place.pending)
        _sync(place.state)


def apply(place: Place) -> None:
    """Have the new files in place, and systemd-networkd follow them; raises NoChange when the trial is over."""
    with _locked(place):
        old, new = _trial(place)
        _install(place.network, new)
        _follow(place, old, new)


def confirm(place: Place) -> None:
    """Keep the change; raises NoChange when there is none, or when it has been rolled back."""
    with _locked(place):
        _trial(place)
        _end(place, place.confirmed)
    place.run(["systemctl", "stop", TIMER])


def rollback(place: Place, follow: bool = True) -> bool:
    """Have the old files in place and systemd-networkd follow them; return False when no change is on trial.

    Without ``follow`` it will read them when it starts.

    A change is on trial until all of this is done: a call that was killed is repeated from its beginning.
    """
    with _locked(place):
        if not place.pending.is_dir():
            return False
        old, new = _trial(place)
        _install(place.network, old)
        if follow:
            _follow(place, new, old, restart=True)
        _end(place, place.undone)
        return True


def boot(place: Place) -> bool:
    """Roll back a change that an earlier boot left on trial; one of this boot has its timer."""
    begun = place.pending / "boot"
    if not begun.is_file() or begun.read_text() == place.boot.read_text():
        return False
    return rollback(place, follow=place.run(["systemctl", "is-active", NETWORKD]).strip() == "active")


def status(place: Place) -> str:
    """Return for people how things stand."""
    lines = ["a change is on trial" if place.pending.is_dir() else "no change is on trial"]
    for path, what in ((place.confirmed, "confirmed"), (place.undone, "rolled back")):
        if path.is_dir():
            lines.append(f"last change {what}: the files before it are in {path}/old, its own in {path}/new")
    return "".join(f"{line}\n" for line in lines)


@contextmanager
def _locked(place: Place) -> Iterator[None]:
    """Keep others from changing anything meanwhile; the kernel opens the lock of a process that is killed."""
    place.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (place.state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _trial(place: Place) -> tuple[dict[str, str], dict[str, str]]:
    """Return the old and the new files of the change on trial."""
    if not place.pending.is_dir():
        raise NoChange("no change of this host's networks is on trial: it was confirmed or rolled back before")
    return ours(place.pending / "old"), ours(place.pending / "new")


def _end(place: Place, target: Path) -> None:
    """Give the change on trial its last name; the one that had it before goes."""
    shutil.rmtree(target, ignore_errors=True)
    place.pending.rename(target)
    _sync(place.state)


def _install(network: Path, files: Files) -> None:
    """Have exactly these of our files in place; each one is the old or the new one as a whole."""
    network.mkdir(parents=True, exist_ok=True)
    for left in network.glob(".*.saltern-new"):
        left.unlink()
    there = ours(network)
    for name in there:
        if name not in files:
            (network / name).unlink()
    for name, text in files.items():
        if there.get(name) != text:
            temporary = network / f".{name}.saltern-new"
            _write(temporary, text)
            temporary.rename(network / name)
    _sync(network)


def _follow(place: Place, before: Files, after: Files, restart: bool = False) -> None:
    """Have systemd-networkd follow the files, with no more cut than that takes.

    It neither removes devices whose file is gone nor changes what a device is (a bond's mode): those are removed here
    and made again by it (networkctl(1), ``reload``). A device that no file matches any more keeps what it has: that is
    taken off. A restart leaves addresses and routes that are in the files as they are.
    """
    stale = [_value(text, "Name") for name, text in before.items() if _is_device(name) and after.get(name) != text]
    for device in stale:
        place.run(["ip", "link", "delete", "dev", device])
    for device in _left_alone(place, before, after, stale):
        place.run(["ip", "link", "set", "dev", device, "nomaster"])
        place.run(["ip", "address", "flush", "dev", device, "scope", "global"])
    if stale or restart:
        place.run(["systemctl", "reset-failed", NETWORKD])
        place.run(["systemctl", "restart", NETWORKD])
    else:
        place.run(["networkctl", "reload"])


def _left_alone(place: Place, before: Files, after: Files, stale: Sequence[str]) -> list[str]:
    """Return the devices that the files before matched, and those after do not, by the names that they have now."""
    texts = [text for name, text in before.items() if not _is_device(name) and name not in after]
    if not texts:
        return []
    links = json.loads(place.run(["ip", "-json", "link", "show"]) or "[]")
    by_mac = {link.get("permaddr", link.get("address")): link["ifname"] for link in links if "link" not in link}
    kept = {_matched(text, by_mac) for name, text in after.items() if not _is_device(name)}
    found = (_matched(text, by_mac) for text in texts)
    there = {link["ifname"] for link in links}
    return [device for device in found if device in there and device not in kept and device not in stale]


def _matched(text: str, by_mac: Mapping[str, str]) -> str:
    return _value(text, "Name") or by_mac.get(_value(text, "PermanentMACAddress"), "")


def _is_device(name: str) -> bool:
    return name.endswith(".netdev")


def _value(text: str, key: str) -> str:
    """Return the first value of a key in a file of ours."""
    return next((line.partition("=")[2].strip() for line in text.splitlines() if line.split("=")[0].strip() == key), "")


def _write(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o644)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    """Make a directory's names survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main(arguments: Sequence[str], place: Place) -> int:
    """Do what the command line says; 2 when it says nothing known, 1 when it could not be done."""
    verbs: dict[str, Callable[[], str]] = {
        "status": lambda: status(place),
        "confirm": lambda: confirm(place) or "confirmed\n",  # type: ignore[func-returns-value]
        "rollback": lambda: "rolled back\n" if rollback(place) else "no change is on trial\n",
        "boot": lambda: "rolled back: an earlier boot left it on trial\n" if boot(place) else "",
    }
    if len(arguments) != 1 or arguments[0] not in verbs:
        sys.stderr.write(USAGE)
        return 2
    try:
        sys.stdout.write(verbs[arguments[0]]())
    except (NoChange, OSError) as error:
        sys.stderr.write(f"saltern-network: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Place()))
