"""Machines that are emulated as a whole, with a kernel of their own, on networks that no one else sees.

A machine is QEMU in a network namespace, its plugs TAP devices there. A test speaks with it through a console that has
nothing to do with its networks, so it learns what went on in a machine that has cut itself off. QEMU dies with the
process that started it; nothing of a machine is left but the files in its folder.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from lab import fabric
from lab.command import LabError, last_words, run
from lab.machine_disk import MachineDisk
from lab.units import wait

QEMU = "qemu-system-x86_64"
MEMORY = 640
"""MiB; Salt itself takes 150 of them."""
BOOT = 150
"""Seconds that a machine may take until it answers: 20 on an idle computer."""
COMMAND_LINE = "root=/dev/vda rw console=ttyS0 net.ifnames=0 systemd.show_status=0 panic=-1"


@dataclass(frozen=True)
class Plug:
    """A network device of a machine, and the TAP device and bridge of its namespace that it is plugged into."""

    tap: str
    bridge: str
    mac: str
    mtu: int = 9216


@dataclass
class Machine:
    """A machine; its disk begins as the given one and keeps what is written, from start to start."""

    name: str
    source: MachineDisk
    folder: Path
    namespace: str
    plugs: Sequence[Plug] = ()
    seed: Mapping[str, str] = field(default_factory=dict)
    """Files that are written at the first boot before networks start, by their paths."""
    _process: subprocess.Popen[bytes] | None = None
    _agent: socket.socket | None = None

    @property
    def console(self) -> Path:
        """The serial console's log, of all starts."""
        return self.folder / f"{self.name}.console"

    def start(self) -> None:
        """Switch the machine on and wait until it takes commands."""
        if self._process is not None and self._process.poll() is None:
            raise LabError(f"{self.name}: runs already")
        self.folder.mkdir(parents=True, exist_ok=True)
        disk = self.folder / f"{self.name}.qcow2"
        if not disk.exists():
            run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", self.source.disk, disk)
        self._seed_file().write_bytes(_tar(self.seed))
        for plug in self.plugs:
            self._tap(plug)
        with self.console.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(disk), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._connect(BOOT)

    def run(self, command: str, timeout: float = 60, check: bool = True) -> str:
        """Run a shell command as root in the machine and return what it said; raises LabError when it failed."""
        if self._agent is None:
            raise LabError(f"{self.name}: is not on")
        self._agent.sendall(base64.b64encode(command.encode()) + b"\n")
        status, _, said = self._line(timeout, command).partition(" ")
        text = base64.b64decode(said).decode(errors="replace")
        if check and status != "0":
            raise LabError(f"{self.name}: {command}: exit code {status}\n{last_words(text)}")
        return text

    def reboot(self) -> None:
        """Restart the machine in an orderly way."""
        with suppress(LabError):
            self.run("systemctl reboot", timeout=5)
        process, self._process = self._process, None
        self._hang_up()
        if process is not None:
            process.wait(timeout=BOOT)
        self.start()

    def power_cut(self) -> None:
        """Take the power away: what the machine has not written to its disk is lost."""
        self._hang_up()
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def tail(self) -> str:
        """Return the last lines of the console."""
        return last_words(self.console.read_text(errors="replace"), 40) if self.console.exists() else ""

    def _seed_file(self) -> Path:
        return self.folder / f"{self.name}.seed"

    def _socket_file(self) -> Path:
        return self.folder / f"{self.name}.agent"

    def _tap(self, plug: Plug) -> None:
        if not fabric.has(self.namespace, plug.tap):
            fabric.ip(self.namespace, "tuntap", "add", plug.tap, "mode", "tap")
        fabric.ip(self.namespace, "link", "set", plug.tap, "mtu", str(plug.mtu), "master", plug.bridge, "up")

    def _command(self, disk: Path) -> list[str]:
        program = shutil.which(QEMU)
        if program is None:
            raise LabError(f"{QEMU}: not installed; its package is qemu-system-x86")
        command = ["ip", "netns", "exec", self.namespace, "setpriv", "--pdeathsig=KILL", program]
        command += ["-name", self.name, "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1"]
        command += ["-m", str(MEMORY), "-nodefaults", "-display", "none", "-no-reboot"]
        command += ["-kernel", str(self.source.kernel), "-initrd", str(self.source.ramdisk), "-append", COMMAND_LINE]
        command += ["-drive", f"file={disk},if=virtio,cache=unsafe"]
        command += ["-drive", f"file={self._seed_file()},if=virtio,format=raw,read-only=on"]
        command += ["-chardev", f"file,id=log,append=on,path={self.console}", "-serial", "chardev:log"]
        command += ["-chardev", f"socket,id=agent,server=on,wait=off,path={self._socket_file()}"]
        command += ["-device", "virtio-serial-pci", "-device", "virtconsole,chardev=agent", "-device", "virtio-rng-pci"]
        for number, plug in enumerate(self.plugs):
            command += ["-netdev", f"tap,id=net{number},ifname={plug.tap},script=no,downscript=no"]
            command += ["-device", f"virtio-net-pci,netdev=net{number},mac={plug.mac},romfile="]
        return command

    def _connect(self, timeout: float) -> None:
        """Reach the machine's console, and wait for its first word."""
        self._agent = socket.socket(socket.AF_UNIX)
        wait(self._reached, 10, f"{self.name}'s console")
        while self._line(timeout, "boot") != "ready":
            pass

    def _reached(self) -> bool:
        assert self._agent is not None  # noqa: S101
        self._still_on()
        with suppress(ConnectionRefusedError, FileNotFoundError):
            self._agent.connect(str(self._socket_file()))
            return True
        return False

    def _still_on(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            raise LabError(f"{self.name}: is off: {self.tail()}")

    def _line(self, timeout: float, what: str) -> str:
        """Return the next line that the machine says."""
        assert self._agent is not None  # noqa: S101
        end, text = time.monotonic() + timeout, b""
        while not text.endswith(b"\n"):
            self._still_on()
            self._agent.settimeout(min(1.0, max(0.01, end - time.monotonic())))
            with suppress(TimeoutError):
                text += self._agent.recv(65536)
            if time.monotonic() > end:
                raise LabError(f"{self.name}: no answer within {timeout:.0f} s: {what}\n{self.tail()}")
        return re.sub(r"[^ -~]", "", text.decode(errors="replace"))

    def _hang_up(self) -> None:
        if self._agent is not None:
            self._agent.close()
            self._agent = None
        self._socket_file().unlink(missing_ok=True)


def _tar(files: Mapping[str, str]) -> bytes:
    """Return files as an archive, as large as whole sectors; programs are what begins with ``#!``."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            content = text.encode()
            entry.size, entry.mode, entry.mtime = len(content), 0o755 if text.startswith("#!") else 0o644, 0
            archive.addfile(entry, BytesIO(content))
    return buffer.getvalue()
