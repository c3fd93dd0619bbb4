"""Systemd's tools: what is asked of systemctl and journalctl, in one place."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from saltern.errors import SalternError
from saltern.units import FILE_CLOCK_SLACK, PROPERTIES, Unit, parse_show

_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}


class Systemctl:
    """The service manager of this host."""

    def show(self, names: Sequence[str]) -> dict[str, Unit]:
        """Return what systemd knows of the units, with one call."""
        if not names:
            return {}
        boot = (time.time_ns() - time.monotonic_ns()) // 1000
        done = self._run(["show", f"--property={','.join(PROPERTIES)}", "--", *names], 60)
        if done.returncode:
            raise SalternError(f"systemctl show: {done.stderr.strip()}")
        return parse_show(done.stdout, names, boot)

    def runs(self, name: str) -> bool:
        """Return whether the unit is there and active."""
        return self.show([name])[name].active == "active"

    def do(self, verb: str, names: Sequence[str] = (), timeout: float = 60) -> None:
        """Run one verb for all the units at once; nothing is run when units are meant but none is named."""
        trouble = self.attempt(verb, names, timeout)
        if trouble:
            raise SalternError(f"systemctl {verb} {' '.join(names)}: {trouble}")

    def attempt(self, verb: str, names: Sequence[str], timeout: float) -> str:
        """Run one verb for all the units at once; return an empty text, or what went wrong."""
        if not names and verb != "daemon-reload":
            return ""
        done = self._run([verb, *(["--", *names] if names else [])], timeout)
        return (done.stderr.strip() or f"exit status {done.returncode}") if done.returncode else ""

    def _run(self, arguments: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Run systemctl; a call that does not end is cut off (its jobs go on)."""
        command = ["systemctl", *arguments]
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=_ENVIRONMENT)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", f"no answer within {timeout:.0f} s")
        except OSError as error:
            raise SalternError(f"systemctl: {error.strerror}") from error


def journal(unit: str, lines: int = 30) -> str:
    """Return the last lines of a unit's journal."""
    command = ["journalctl", "--no-pager", "--output=short-iso", f"--lines={lines}", f"--unit={unit}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=_ENVIRONMENT)
    except (OSError, subprocess.TimeoutExpired):
        return "(no journal)"
    return done.stdout.strip()


def times(paths: Iterable[str], ctime: bool = False) -> dict[str, int]:
    """Return when each path was changed last, in microseconds; a directory counts with all that is in it.

    With ``ctime`` the change of the inode counts too: files of packages carry the time of their build.
    """
    found: dict[str, int] = {}
    for path in paths:
        stamps = [_stamp(entry, ctime) for entry in _entries(path)]
        if any(stamps):
            found[path] = max(stamps)
    return found


def forget_the_future(paths: Iterable[str], ctime: bool = False) -> None:
    """Set times that lie ahead of the clock to a second ago, so that they do not ask for restarts for ever.

    With ``ctime`` the time of the inode's change too; it can only become now, so what starts next is held back until
    it starts later than that.
    """
    now = time.time_ns()
    ahead = [entry for path in paths for entry in _entries(path) if _stamp(entry, ctime) * 1000 > now]
    for entry in ahead:
        with suppress(OSError):  # /usr may be read-only
            modified = min(os.stat(entry).st_mtime_ns, now - 10**9)
            os.utime(entry, ns=(modified, modified))
    if ahead and ctime:
        time.sleep(2 * FILE_CLOCK_SLACK / 1e6)


def _entries(path: str) -> list[str]:
    """Return the path and, for a directory, all that is in it."""
    inside = [os.path.join(root, name) for root, dirs, files in os.walk(path) for name in (*dirs, *files)]
    return [path, *inside]


def _stamp(path: str, ctime: bool) -> int:
    """Return the time of one path, 0 when it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return 0
    return max(status.st_mtime_ns, status.st_ctime_ns if ctime else 0) // 1000
