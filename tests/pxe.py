"""A boot network in a namespace of its own: dnsmasq and an HTTP server with the rendered files, and emulated machines.

A machine is QEMU with empty disks that starts from its firmware, as bare metal does. Its processes die with this one.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from saltern import bootfiles, dnsmasq, liveimage, profiles, site, verbs
from saltern.answers import Sources

from lab import fabric
from lab.units import wait
from tests.unit.boot_samples import KICKSTART, MIRRORS

HOST, BOOT_MAC, ADDRESS, SERVER = "cmp1", "52:54:00:21:00:21", "10.21.0.21", "10.21.0.5"
MACS = (BOOT_MAC, "52:54:00:20:00:21", "52:54:00:20:01:21")
FIRMWARE = Path("/usr/share/OVMF")
ALONE = ("setpriv", "--pdeathsig=KILL")
HTTP = """
import functools, http.server, sys
class Files(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with open(sys.argv[2], "a") as stream:
            stream.write(text + "\\n")
        self.send_response(204)
        self.end_headers()
server = http.server.ThreadingHTTPServer((sys.argv[3], int(sys.argv[4])),
                                         functools.partial(Files, directory=sys.argv[1]))
server.serve_forever()
"""


def data(firmware: str, layout: str, disks: list[dict[str, str]], key: str) -> dict[str, Any]:
    """A site with one machine that is installed live: a bond with a VLAN, and the network that it boots from."""
    members = {"eno1": {"mac": MACS[1]}, "eno2": {"mac": MACS[2]}}
    return {
        "schema": 1, "name": "rack1", "domain": "cloud.example",
        "mirrors": {"debian": MIRRORS["debian"]},
        "time": {"servers": ["ntp1.example.org"]},
        "install": {"ssh_keys": [key], "profile": "debian-13-live", "firmware": firmware, "layout": layout},
        "networks": {
            "management": {"cidr": "10.20.0.0/24", "gateway": "10.20.0.1", "mtu": 9000, "vlan": 20},
            "provisioning": {"cidr": "10.21.0.0/24"},
        },
        "hosts": {
            "deploy": {
                "roles": ["deploy"], "address": "10.20.0.5",
                "interfaces": {"eno1": {"carries": "management"}, "eno2": {"carries": "provisioning"}},
            },
            HOST: {
                "roles": ["controller"], "address": "10.20.0.21",
                "interfaces": {
                    "bond0": {"carries": "management", "bond": {"mode": "active-backup", "members": members}},
                    "eno3": {"carries": "provisioning", "mac": BOOT_MAC},
                },
                "install": {"disks": disks},
            },
        },
    }  # fmt: skip


@dataclass
class Bed:
    """The boot network: its namespace, the tree that is served, and what machines have reported."""

    folder: Path
    image: Path
    """The directory in which ``live-image`` has built."""
    namespace: str = field(default_factory=lambda: f"pxe-{os.getpid()}")
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def key(self) -> Path:
        """The key that may log in on what is installed."""
        return self.folder / "key"

    @property
    def served(self) -> Path:
        """The tree that HTTP and TFTP serve."""
        return self.folder / "out/boot"

    def reports(self) -> list[str]:
        """What machines have reported, in their order."""
        path = self.folder / "reports"
        return path.read_text().splitlines() if path.exists() else []

    def up(self) -> None:
        """Lay the network; nothing of it is outside the namespace."""
        self.folder.mkdir(exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        subprocess.run(["ip", "netns", "add", self.namespace], check=True)
        for words in (
            "link set lo up",
            "link add eno2 type bridge",
            f"addr add {SERVER}/24 dev eno2",
            "link set eno2 up",
            "link add other type bridge",
            "link set other up",
        ):
            fabric.ip(self.namespace, *words.split())
        self.served.mkdir(parents=True)
        shutil.copytree(self.image, self.served, dirs_exist_ok=True, copy_function=os.link)

    def down(self) -> None:
        """Take away what was started and the namespace."""
        for process in self.processes:
            process.kill()
            process.wait()
        subprocess.run(["ip", "netns", "del", self.namespace], check=False)

    def serve(self, firmware: str = "bios", layout: str = "plain", disks: Sequence[dict[str, str]] = ()) -> None:
        """Render the files for the machine, and start the two servers with them."""
        kickstart = profiles.load(KICKSTART)
        key = self.key.with_suffix(".pub").read_text().strip()
        found = data(firmware, layout, list(disks) or [{"serial": "ROOT1"}], key)
        model = site.parse(found, offers=lambda: kickstart.profiles)
        images = liveimage.sums(self.served, kickstart.profiles.values())
        files = bootfiles.tree(Sources(model, kickstart, MIRRORS, images))
        verbs.write_tree(self.folder / "out", files)
        conf = self.folder / "dnsmasq.conf"
        conf.write_text(files["dnsmasq.conf"].replace(dnsmasq.DIRECTORY, str(self.served)))
        for process in self.processes:
            process.kill()
            process.wait()
        server = ("dnsmasq", "--keep-in-foreground", f"--conf-file={conf}", "--user=root", "--log-facility=-")
        http = (sys.executable, "-c", HTTP, str(self.served), str(self.folder / "reports"), SERVER, str(dnsmasq.PORT))
        self.processes = [
            self.start("dnsmasq", *server, f"--dhcp-leasefile={self.folder}/leases"),
            self.start("http", *http),
        ]

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Start a program in the namespace; its words go to a file of this name."""
        with (self.folder / f"{name}.log").open("ab") as log:
            words = ["ip", "netns", "exec", self.namespace, *ALONE, *command]
            return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def node(self, firmware: str) -> tuple[Path, Path]:
        """Where the machine looks, and what is put there to install it."""
        suffix, mac = ("cfg", BOOT_MAC) if firmware == "uefi" else ("ipxe", BOOT_MAC.replace(":", "-"))
        return self.served / f"nodes/{mac}.{suffix}", self.served / f"hosts/{HOST}/install.{suffix}"

    def arm(self, firmware: str) -> None:
        """Have the machine install itself when it starts from the network; one time, see ``disarm``."""
        node, install = self.node(firmware)
        node.rename(node.with_suffix(".local"))
        shutil.copy(install, node)

    def disarm(self, firmware: str) -> None:
        """Have the machine start from its disk again."""
        node, _ = self.node(firmware)
        node.with_suffix(".local").rename(node)

    def ssh(self, command: str, known: str, timeout: float = 60) -> str:
        """Run a command on the new host, whose key is the one that its console told."""
        (self.folder / "known").write_text(f"{ADDRESS} {known}\n")
        options = ["BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={self.folder}/known"]
        words = ["ip", "netns", "exec", self.namespace, "ssh", "-F", "none", "-i", str(self.key)]
        words += [word for each in (*options, "ConnectTimeout=5") for word in ("-o", each)]
        done = subprocess.run(
            [*words, f"root@{ADDRESS}", command], capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


@dataclass
class Machine:
    """An emulated machine with disks, by their serial numbers."""

    bed: Bed
    firmware: str
    disks: dict[str, Path]
    process: subprocess.Popen[bytes] | None = None
    began: float = 0

    @property
    def console(self) -> str:
        """What the serial console said since the last start."""
        path = self.bed.folder / "machine.console"
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", path.read_text(errors="replace")) if path.exists() else ""

    def on(self) -> None:
        """Switch it on: it starts from the network, then from its first disk."""
        (self.bed.folder / "machine.console").unlink(missing_ok=True)
        self.began = time.monotonic()
        self.process = self.bed.start("qemu", *self.command())

    def off(self) -> None:
        """Take the power away."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def command(self) -> list[str]:
        """QEMU's command line."""
        words = ["qemu-system-x86_64", "-machine", f"q35{',smm=on' if self.firmware == 'uefi' else ''}"]
        words += ["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048", "-vga", "none", "-nodefaults"]
        words += ["-display", "none", "-serial", f"file:{self.bed.folder}/machine.console"]
        words += ["-device", "virtio-rng-pci", *(self.flash() if self.firmware == "uefi" else ())]
        for number, (mac, bridge) in enumerate(zip(MACS, ("eno2", "other", "other"), strict=True)):
            tap = f"tap{number}"
            if not fabric.has(self.bed.namespace, tap):
                fabric.ip(self.bed.namespace, "tuntap", "add", tap, "mode", "tap")
            fabric.ip(self.bed.namespace, "link", "set", tap, "master", bridge, "up")
            words += ["-netdev", f"tap,id=net{number},ifname={tap},script=no,downscript=no"]
            extra = ",romfile=" if number or self.firmware == "uefi" else ""
            boots = "" if number else ",bootindex=1"
            words += ["-device", f"virtio-net-pci,netdev=net{number},mac={mac}{boots}{extra}"]
        for number, (serial, path) in enumerate(self.disks.items()):
            words += ["-drive", f"file={path},if=none,id=disk{number},format=raw,cache=unsafe,discard=unmap"]
            words += ["-device", f"virtio-blk-pci,drive=disk{number},serial={serial},bootindex={number + 2}"]
        return words

    def flash(self) -> list[str]:
        """The firmware with Secure Boot on and Microsoft's keys, as machines are sold."""
        variables = self.bed.folder / "variables.fd"
        if not variables.exists():
            shutil.copy(FIRMWARE / "OVMF_VARS_4M.ms.fd", variables)
        code = FIRMWARE / "OVMF_CODE_4M.ms.fd"
        words = ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        words += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={code}"]
        return [*words, "-drive", f"if=pflash,format=raw,unit=1,file={variables}"]

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        """Return the first match on the console; fail with its end when it does not come."""
        try:
            wait(lambda: re.search(pattern, self.console) or not self.alive, seconds, pattern, pause=0.3)
        except Exception as error:
            pytest.fail(f"{error}; reports: {self.bed.reports()}; console: {self.console[-3000:]}")
        found = re.search(pattern, self.console)
        assert found, f"QEMU ended: {(self.bed.folder / 'qemu.log').read_text()[-1000:]}"
        print(f"{time.monotonic() - self.began:6.1f} s after power-on: {pattern}")
        return found

    @property
    def alive(self) -> bool:
        """Whether the machine is on."""
        return self.process is not None and self.process.poll() is None


@contextmanager
def bed(folder: Path, image: Path) -> Iterator[Bed]:
    """A boot network that goes with the block."""
    made = Bed(folder, image)
    made.up()
    try:
        yield made
    finally:
        made.down()
