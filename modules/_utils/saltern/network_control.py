"""A host's networks brought to what the site file says: on trial, judged, then confirmed or rolled back."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saltern import atomic, host_network, network_change, network_links, network_probes
from saltern.errors import Problem, Problems
from saltern.network_change import TIMER, Files, NoChange, Place
from saltern.network_probes import Probes
from saltern.render import render
from saltern.systemd import Systemctl

PROGRAM = Path("/usr/local/sbin/saltern-network")
UNITS = Path("/etc/systemd/system")
BOOT = "saltern-network-boot.service"
ROLLBACK = "saltern-network-rollback.service"
MARGIN = 30
"""Seconds before the timer's end at which the judgement ends: it rolls back itself, and says why."""
SETTLE = 3
"""Seconds after which what answers must still answer: systemd-networkd takes old routes away last."""
RESTORE = 40
"""Seconds that the old networks have to be back."""
MANAGER = "NetworkManager.service"
LINKS = ("ip", "-json", "-details", "address", "show")
LINKS_KEY = "links"
SETUPS = ("networkctl", "--json=short", "list")


@dataclass(frozen=True)
class Report:
    """How it went: True, False, or None when something would be done; in words; and by file what differs."""

    result: bool | None
    words: str
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Control:
    """The host whose networks are changed, and how long a change may be on trial, in seconds."""

    confirm_within: int = 120
    place: Place = field(default_factory=Place)
    program: Path = PROGRAM
    units: Path = UNITS
    systemctl: Systemctl = field(default_factory=Systemctl)
    directories: Sequence[str] = host_network.DIRECTORIES
    ifupdown: Sequence[str] = host_network.IFUPDOWN
    settle: float = SETTLE

    def converge(self, wanted: Files, probes: Probes, test: bool) -> Report:
        """Have exactly these files of ours, and links that follow them; return what came of it.

        Raises Problems, before anything is changed, for files of others that stand in the way. A change that was left
        on trial by a run that died is rolled back first.
        """
        self._refuse(wanted, test)
        machinery = self._machinery_changes()
        pending = {"(change on trial)": {"old": "of an earlier run", "new": None}} if self._pending() else {}
        changes = {**machinery, **pending, **host_network.changes(self._would_be(), wanted)}
        if test or not changes:
            words = "networks would be changed" if changes else "networks are as planned"
            return Report(None if changes else True, words, changes)
        self._install_machinery(machinery)
        network_change.rollback(self.place)
        if network_change.ours(self.place.network) == wanted:
            return Report(True, "networks are as planned; what guards their changes was set up", changes)
        return self._tried(wanted, probes, changes)

    def _pending(self) -> bool:
        return self.place.pending.is_dir()

    def _would_be(self) -> dict[str, str]:
        """Return our files as they are, or as they are after the rollback that is due."""
        return network_change.ours(self.place.pending / "old" if self._pending() else self.place.network)

    def _refuse(self, wanted: Files, test: bool) -> None:
        problems = host_network.foreign(host_network.read(self.directories), wanted)
        problems += host_network.interfaces(host_network.read_interfaces(self.ifupdown), wanted)
        if not test and not self.systemctl.runs(network_change.NETWORKD):  # an earlier state would have started it
            problems.append(Problem(network_change.NETWORKD, "not active", "the manager of this host's networks"))
        if self.systemctl.runs(MANAGER):
            problems.append(Problem(MANAGER, "active", "systemd-networkd alone: two managers undo each other's work"))
        if problems:
            raise Problems(problems)

    def _machinery(self) -> dict[Path, tuple[str, int]]:
        """Return what rolls back when nobody else does: the text and the mode of each file."""
        program = Path(network_change.__file__).read_text()
        units = {name: (render("ini", sections), 0o644) for name, sections in guards(self.program, self).items()}
        return {self.program: (program, 0o755), **{self.units / name: each for name, each in units.items()}}

    def _machinery_changes(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            str(path): {"old": "another one" if path.exists() else None, "new": "as planned"}
            for path, (text, mode) in self._machinery().items()
            if not _is(path, text, mode)
        }
        if not (self.units / "sysinit.target.wants" / BOOT).is_symlink():
            found[f"{BOOT} (enabled)"] = {"old": False, "new": True}
        return found

    def _install_machinery(self, changes: Mapping[str, Any]) -> None:
        for path, (text, mode) in self._machinery().items():
            if str(path) in changes:
                path.parent.mkdir(parents=True, exist_ok=True)
                atomic.write(str(path), text, mode)
        if changes:
            self.systemctl.do("daemon-reload")
            self.systemctl.do("enable", [BOOT])

    def _tried(self, wanted: Files, probes: Probes, changes: dict[str, Any]) -> Report:
        """Put the files on trial and judge; the timer runs before the first one is touched."""
        old, probes = network_change.ours(self.place.network), probes.judged()
        dumb = probes.failing()
        self.systemctl.do("restart", [TIMER])
        try:
            network_change.begin(self.place, wanted)
            network_change.apply(self.place)
            left = self._wait(wanted, probes.failing, self.confirm_within - MARGIN)
            if not left:
                network_change.confirm(self.place)
                return Report(True, f"networks were changed; reached: {', '.join(probes.names())}", changes)
            if LINKS_KEY in left:
                left = {**left, **probes.failing()}
        except NoChange:
            left = {"time": f"the change was rolled back by its timer after {self.confirm_within} s"}
        finally:
            # does nothing after a confirmation, whoever gave it
            network_change.rollback(self.place)
            self.systemctl.attempt("stop", [TIMER], 60)
        if network_change.ours(self.place.network) == wanted:
            return Report(True, "networks were changed, and confirmed by hand", changes)
        return self._undone(old, left, probes, dumb)

    def _undone(self, old: Files, left: Mapping[str, str], probes: Probes, dumb: Mapping[str, str]) -> Report:
        """Tell why a change was rolled back, once the old networks are back."""

        def failing() -> dict[str, str]:
            return {name: words for name, words in probes.failing().items() if name not in dumb}

        back = self._wait(old, failing, RESTORE)
        why = "\n".join(f"{name}: {words}" for name, words in left.items())
        if back:
            state = "but not everything is as before: " + "; ".join(f"{name}: {words}" for name, words in back.items())
        else:
            state = "and what answered before answers again"
        return Report(False, f"{why}\nrolled back: the old files are in place, {state}")

    def _wait(self, files: Files, failing: Callable[[], dict[str, str]], seconds: float) -> dict[str, str]:
        """Wait until links have what the files say and nothing fails, and still so a little later."""

        def judged() -> dict[str, str]:
            links = network_links.parse(self.place.run(LINKS))
            gaps = [*network_links.gaps(files, links), *network_links.unfinished(self.place.run(SETUPS))]
            return {LINKS_KEY: "; ".join(gaps)} if gaps else failing()

        end = time.monotonic() + seconds
        while not (left := network_probes.wait(judged, end - time.monotonic())):
            time.sleep(self.settle)
            if not (left := judged()) or time.monotonic() > end:
                return left
        return left


def guards(program: Path, control: Control) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the units that roll back: a timer with its service, and a service at boot, before networks start."""
    again = {"Type": "oneshot", "Restart": "on-failure", "RestartSec": 2}
    about = "a change of this host's networks that was not confirmed"
    paths = f"{control.place.state} {control.place.network} {program.parent}"
    return {
        ROLLBACK: {
            "Unit": {"Description": f"Roll back {about}", "StartLimitIntervalSec": 0},
            "Service": {**again, "ExecStart": f"{program} rollback"},
        },
        TIMER: {
            "Unit": {"Description": f"The end of the time for {about}"},
            "Timer": {"OnActiveSec": control.confirm_within, "AccuracySec": "1s"},
        },
        BOOT: {
            "Unit": {
                "Description": f"Roll back {about} before the last boot",
                "DefaultDependencies": "no",
                "RequiresMountsFor": paths,
                "After": "systemd-remount-fs.service local-fs.target",
                "Before": f"{network_change.NETWORKD} network-pre.target sysinit.target shutdown.target",
                "Wants": "network-pre.target",
                "Conflicts": "shutdown.target",
                "StartLimitIntervalSec": 0,
            },
            "Service": {**again, "RemainAfterExit": "yes", "ExecStart": f"{program} boot"},
            "Install": {"WantedBy": "sysinit.target"},
        },
    }


def _is(path: Path, text: str, mode: int) -> bool:
    """Tell whether a file has this content and mode."""
    return path.is_file() and path.read_text() == text and stat.S_IMODE(os.stat(path).st_mode) == mode
