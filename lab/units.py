"""Processes of the lab that outlive the command: each in a cgroup of its own, known by a file with its process id.

Under systemd they are transient units; on a machine with another init a cgroup is made by hand. Two nodes in one
cgroup would collide: equal unit names inside, "Failed to spawn executor", kills that hit the other node.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab.command import LabError, last_words, run

SYSTEMD = Path("/run/systemd/system")
CGROUP = Path("/sys/fs/cgroup")
BOOT = Path("/proc/sys/kernel/random/boot_id")

# The file names the process beyond doubt: a number alone may have been given to another process since.
WRAPPER = 'echo "$$ $(cut -d" " -f22 /proc/$$/stat) $(cat /proc/sys/kernel/random/boot_id)" >"$0"; exec "$@"'
JOIN = 'for each in {groups}; do mkdir -p "$each"; echo $$ >"$each/cgroup.procs"; done; '


@dataclass(frozen=True)
class Unit:
    """A process: its name on this machine, the place of its id and of its output."""

    name: str
    place: Path

    @property
    def pidfile(self) -> Path:
        """Return the file that holds the process's id."""
        return self.place / f"{self.name.rsplit('.', 1)[-1]}.pid"

    @property
    def log(self) -> Path:
        """Return the file that holds what the process said."""
        return self.place / f"{self.name.rsplit('.', 1)[-1]}.log"

    @property
    def groups(self) -> list[Path]:
        """Return the cgroup of the process in each hierarchy that systemd in a container needs."""
        tops = [CGROUP] if (CGROUP / "cgroup.controllers").exists() else [CGROUP / "unified", CGROUP / "systemd"]
        return [top / self.name for top in tops if top.is_dir()]

    @property
    def pid(self) -> int | None:
        """Return the process's id if it runs."""
        try:
            pid, started, boot = self.pidfile.read_text().split()
            now = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            return None
        alive = now[19] == started and boot == BOOT.read_text().strip() and now[0] != "Z"
        return int(pid) if alive else None

    def start(self, *argv: str) -> None:
        """Start the process, detached from this one, unless it runs."""
        if self.pid:
            return
        self.clear()
        self.place.mkdir(parents=True, exist_ok=True)
        if SYSTEMD.is_dir():
            self._with_systemd(argv)
        else:
            self._by_hand(argv)
        wait(lambda: self.pidfile.exists() and self.pidfile.stat().st_size > 0, 10, f"{self.name} to start")

    def _with_systemd(self, argv: tuple[str, ...]) -> None:
        settings = ["Delegate=yes", "KillMode=mixed", "TasksMax=infinity", "LimitNOFILE=infinity"]
        settings += [f"StandardOutput=append:{self.log}", f"StandardError=append:{self.log}"]
        settings.append(f"Description=Saltern {self.name}")
        properties = [f"--property={each}" for each in settings]
        environment = [f"--setenv={name}={os.environ[name]}" for name in ("PYTHONPATH", "PATH") if name in os.environ]
        # systemd expands variables in a command line; a doubled $ stands for itself.
        launch = [each.replace("$", "$$") for each in ("/bin/sh", "-c", WRAPPER, str(self.pidfile), *argv)]
        run("systemd-run", "--quiet", "--collect", f"--unit={self.name}", *properties, *environment, *launch)

    def _by_hand(self, argv: tuple[str, ...]) -> None:
        join = JOIN.format(groups=" ".join(f"'{each}'" for each in self.groups))
        with self.log.open("ab") as log:
            subprocess.Popen(
                ["/bin/sh", "-c", join + WRAPPER, str(self.pidfile), *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, number: signal.Signals = signal.SIGKILL, timeout: float = 20) -> None:
        """End the process and all that is in its cgroup; afterwards nothing of it is left."""
        pid = self.pid
        if pid:
            os.kill(pid, number)
            try:
                wait(lambda: self.pid is None, timeout, f"{self.name} to end")
            except LabError:
                os.kill(pid, signal.SIGKILL)
                wait(lambda: self.pid is None, 20, f"{self.name} to end")
        self.clear()

    def clear(self) -> None:
        """Kill what is left of the process and in its cgroups, and remove them; also what a lost file let go."""
        if SYSTEMD.is_dir():
            run("systemctl", "kill", "--signal=KILL", f"{self.name}.service", check=False)
            run("systemctl", "stop", f"{self.name}.service", check=False)
            run("systemctl", "reset-failed", f"{self.name}.service", check=False)
        for group in self.groups:
            wait(partial(_emptied, group), 60, f"{group} to be empty", pause=0.1)
        self.pidfile.unlink(missing_ok=True)

    def words(self) -> str:
        """Return the end of what the process said."""
        return last_words(self.log.read_text(errors="replace")) if self.log.exists() else ""


def _emptied(group: Path) -> bool:
    """Kill what runs in a cgroup, remove the groups that are empty, innermost first; tells whether none is left."""
    inner = sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True)
    for each in (*inner, group):
        # A group or a process may go while this looks at it; what stays is met again at the next round.
        with contextlib.suppress(OSError):
            for pid in (each / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(OSError):
            each.rmdir()
    return not group.exists()


def wait(done: Callable[[], object], timeout: float, what: str, pause: float = 0.05) -> None:
    """Wait until something is true; a :class:`LabError` says for what in vain."""
    end = time.monotonic() + timeout
    while not done():
        if time.monotonic() > end:
            raise LabError(f"waited {timeout:.0f} s in vain for {what}")
        time.sleep(pause)
