"""Debian's package tools: one query, one transaction, and repair of what a killed one left behind."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from saltern import atomic
from saltern.errors import SalternError
from saltern.packages import QUERY_FORMAT, Package, Todo, last_lines, parse_query, remedy, todo

MARKER = "# saltern: nothing starts while packages are being installed"
_ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "DEBIAN_FRONTEND": "noninteractive",
    "APT_LISTCHANGES_FRONTEND": "none",
    "NEEDRESTART_SUSPEND": "1",
    # dozens of maintainer scripts have systemd read all its units again; once at the end is enough
    "SYSTEMD_OFFLINE": "1",
}
_KEEP = ("--force-confold", "--force-confdef")
_TRIES = 4
_HOUR = 3600.0
_BUS = ("dbus-send", "--system", "--print-reply", "--dest=org.freedesktop.DBus")


@dataclass
class Apt:
    """The package manager of this host; ``root`` is where its files lie, ``nice`` how far it lets others go first."""

    root: Path = Path("/")
    lock_timeout: float = 600
    nice: int = 0

    def query(self) -> dict[str, Package]:
        """Return all the packages that dpkg knows."""
        done = self._run(["dpkg-query", "--show", f"--showformat={QUERY_FORMAT}"], 60)
        if done.returncode:
            raise SalternError(f"dpkg-query: {last_lines(done.stdout)}")
        return parse_query(done.stdout)

    def leftovers(self) -> bool:
        """Whether a run that was killed left updates of dpkg's database, or our guard against starting services."""
        return self._guards() or self._kept().exists() or self._torn()

    def install(self, wanted: Sequence[str]) -> None:
        """Install what is missing in one transaction and mend what is half done; no service is started by it."""
        self.wait_for_lock()
        with self.nothing_starts():
            if self._torn() or todo((), self.query()).broken:
                self._repair()
            if wanted:
                if self._lists_are_old():
                    self._update()
                self._install(wanted)
            self._renew()

    def _renew(self) -> None:
        """Let systemd read its units, and the message bus its policies: dpkg's trigger may come before their users."""
        if (self.root / "run/systemd/system").is_dir():
            self._run(["env", "--unset=SYSTEMD_OFFLINE", "systemctl", "daemon-reload"], 90)
        if (self.root / "run/dbus/system_bus_socket").exists():
            self._run([*_BUS, "/", "org.freedesktop.DBus.ReloadConfig"], 30)

    def _torn(self) -> bool:
        """Whether dpkg was killed while it wrote its database."""
        return any((self.root / "var/lib/dpkg/updates").glob("[0-9]*"))

    def wait_for_lock(self) -> None:
        """Return once no living process holds dpkg's front-end lock; the tools take it themselves afterwards."""
        path, end = self.root / "var/lib/dpkg/lock-frontend", time.monotonic() + self.lock_timeout
        while not _free(path):
            if time.monotonic() > end:
                raise SalternError(f"{path}: still locked by another package manager after {self.lock_timeout:.0f} s")
            time.sleep(0.5)

    def _install(self, wanted: Sequence[str]) -> None:
        """Run the transaction; a failure that a fresh list or a repair can mend is tried again."""
        output = ""
        for _ in range(_TRIES):
            done = self._apt(["install", "--no-install-recommends", "--", *wanted])
            if not done.returncode:
                return
            output = done.stdout
            cure = {"update": self._update, "repair": self._repair}.get(remedy(output))
            if cure is None:
                break
            self.wait_for_lock()
            cure()
        raise SalternError(f"apt-get install failed:\n{last_lines(output)}")

    def _repair(self) -> None:
        """Finish what an interrupted run left; what cannot be finished shows in the transaction that follows."""
        self._run(["dpkg", "--configure", "-a", *_KEEP], _HOUR)
        # what dpkg was killed in the middle of unpacking it does not configure, and apt does not fetch unasked
        torn = [package.name for package in self.query().values() if package.torn]
        mend = ["install", "--fix-broken", *(["--reinstall", "--", *torn] if torn else [])]
        done = self._apt(mend)
        if done.returncode and remedy(done.stdout) == "update":
            self._update()
            self._apt(mend)
        self._run(["dpkg", "--configure", "-a", *_KEEP], _HOUR)

    def _update(self) -> None:
        """Fetch the package lists; without a network the ones that are there may do."""
        self._apt(["update"])

    def _lists_are_old(self) -> bool:
        """Whether the package lists are missing or were last fetched more than a day ago."""
        lists = self.root / "var/lib/apt/lists"
        if not any(lists.glob("*_Packages*")):
            return True
        # each fetch works in this directory; the lists themselves carry the archive's times
        fetched = max(path.stat().st_mtime for path in (lists, lists / "partial") if path.is_dir())
        return time.time() - fetched > 24 * _HOUR

    def _apt(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run apt-get without questions; configuration files that were changed are kept."""
        options = [f"DPkg::Lock::Timeout={self.lock_timeout:.0f}", "Dpkg::Use-Pty=0", "Acquire::Retries=3"]
        options += [f"Dpkg::Options::={option}" for option in _KEEP]
        return self._run(["apt-get", "--yes", "--quiet", *(f"-o{option}" for option in options), *arguments], _HOUR)

    def _run(self, command: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a tool with both its outputs in one; a call that never ends is an error."""
        try:
            return subprocess.run(
                ["nice", f"--adjustment={self.nice}", *command] if self.nice else command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=_ENVIRONMENT,
                timeout=timeout,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SalternError(f"{command[0]}: {error}") from error

    @contextmanager
    def nothing_starts(self) -> Iterator[None]:
        """Keep maintainer scripts from starting services; a policy that was there before comes back."""
        path, kept = self._policy(), self._kept()
        if path.exists() and not self._guards():
            path.rename(kept)
        atomic.write(str(path), f"#!/bin/sh\n{MARKER}\nexit 101\n", 0o755)
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                path.unlink()
            if kept.exists():
                kept.rename(path)

    def _policy(self) -> Path:
        """Return the file that Debian's maintainer scripts ask whether a service may start."""
        return self.root / "usr/sbin/policy-rc.d"

    def _kept(self) -> Path:
        """Return where the operator's own policy is while ours is in place."""
        return self._policy().with_name("policy-rc.d.saltern-kept")

    def _guards(self) -> bool:
        """Whether our own policy is in place."""
        with suppress(OSError):
            return MARKER in self._policy().read_text(errors="replace")
        return False


def _free(path: Path) -> bool:
    """Whether nobody holds the lock; what does not exist is free."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def plan_changes(work: Todo, left: bool) -> dict[str, dict[str, str]]:
    """Return what a dry run tells of the work, and of what a killed run left behind."""
    found = {name: {"old": "half installed", "new": "repaired"} for name in work.broken}
    found |= {name: {"old": "", "new": "installed"} for name in work.missing}
    return found or ({"(interrupted transaction)": {"old": "left behind", "new": "finished"}} if left else {})
