"""A boot network in a namespace of its own: dnsmasq and an HTTP server with the rendered files, and emulated machines.

A machine is QEMU with empty disks that starts from its firmware, as bare metal does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from saltern import bootfiles, dnsmasq, liveimage, profiles, site, verbs
from saltern.answers import Sources

from lab import fabric, guest_image, layout, machine
from lab.command import LabError, run
from lab.machine_disk import MachineDisk
from lab.units import wait
from tests.unit.boot_samples import KICKSTART, MIRRORS

HOST, BOOT_MAC, ADDRESS, SERVER = "cmp1", "52:54:00:21:00:21", "10.21.0.21", "10.21.0.5"
MACS = (BOOT_MAC, "52:54:00:20:00:21", "52:54:00:20:01:21")
ALONE = ("setpriv", "--pdeathsig=KILL")
HTTP = """
import functools, http.server, sys
class Files(http.server.SimpleHTTPRequestHandler):
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


@cache
def uefi() -> Path:
    """Return the directory of UEFI firmware for QEMU, from Debian's package; nothing is installed."""
    packages = guest_image.candidates(["ovmf"])
    tree = layout.CACHE / "firmware" / packages[0].digest.partition(":")[2][:12]
    if not tree.is_dir():
        [package] = guest_image.fetch_packages(["ovmf"], packages, tree.parent)
        part = tree.with_suffix(".part")
        run("dpkg-deb", "--extract", package, part)
        part.rename(tree)
    return tree / "usr/share/OVMF"


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

    def ssh(self, command: str, known: str, timeout: float = 180) -> str:
        """Run a command on the new host, whose key is the one that its console told."""
        (self.folder / "known").write_text(f"{ADDRESS} {known}\n")
        options = ["BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={self.folder}/known"]
        words = ["ip", "netns", "exec", self.namespace, "ssh", "-F", "none", "-i", str(self.key)]
        words += [word for each in (*options, "ConnectTimeout=20", "ConnectionAttempts=20") for word in ("-o", each)]
        done = subprocess.run(
            [*words, f"root@{ADDRESS}", command], capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


@dataclass
class BareMachine(machine.Machine):
    """A machine that starts from its firmware: from the network, then from the first of its disks."""

    firmware: str = "bios"
    disks: dict[str, Path] = field(default_factory=dict)
    """Whole disks by their serial numbers."""
    began: float = 0
    _before: int = 0

    def start(self) -> None:
        """Switch it on."""
        for plug in self.plugs:
            self._tap(plug)
        self._before = len(self.everything())
        self.began = time.monotonic()
        with self.console.with_suffix(".qemu").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(self.source.disk),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def everything(self) -> str:
        """What the serial console has said, without what moves a cursor."""
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", text)

    def said(self) -> str:
        """What the serial console has said since the machine was switched on."""
        return self.everything()[self._before :]

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        """Return the first match on the console; a LabError has the console's end when it does not come."""
        try:
            wait(lambda: self._seen(pattern), seconds, pattern, pause=0.3)
        except LabError as error:
            raise LabError(f"{error}\n{self.tail()}") from error
        print(f"{time.monotonic() - self.began:6.1f} s after power-on: {pattern}")
        found = self._seen(pattern)
        assert found
        return found

    def _seen(self, pattern: str) -> re.Match[str] | None:
        self._still_on()
        return re.search(pattern, self.said())

    def _command(self, disk: Path) -> list[str]:
        program = shutil.which(machine.QEMU)
        assert program, f"{machine.QEMU} is not installed; `./saltern test` installs it"
        uefi = self.firmware == "uefi"
        words = ["ip", "netns", "exec", self.namespace, *ALONE, program, "-name", self.name]
        words += ["-machine", f"q35{',smm=on' if uefi else ''}", "-accel", "tcg,thread=multi", "-cpu", "max"]
        words += ["-smp", "2", "-m", "2048", "-nodefaults", "-display", "none", "-vga", "none"]
        words += ["-chardev", f"file,id=log,append=on,path={self.console}", "-serial", "chardev:log"]
        words += ["-device", "virtio-rng-pci", *(self._flash() if uefi else ())]
        for number, plug in enumerate(self.plugs):
            words += ["-netdev", f"tap,id=net{number},ifname={plug.tap},script=no,downscript=no"]
            # The card's own iPXE starts a BIOS machine; UEFI firmware has its own.
            starts = ",romfile=" if number or uefi else ""
            starts += "" if number else ",bootindex=0"
            words += ["-device", f"virtio-net-pci,netdev=net{number},mac={plug.mac}{starts}"]
        for number, (serial, path) in enumerate(self.disks.items(), 1):
            words += ["-drive", f"file={path},if=none,id=disk{number},format=raw,cache=unsafe,discard=unmap"]
            words += ["-device", f"virtio-blk-pci,drive=disk{number},serial={serial},bootindex={number}"]
        return words

    def _flash(self) -> list[str]:
        """The firmware with Secure Boot on and Microsoft's keys, as machines are sold."""
        variables = self.folder / f"{self.name}.variables"
        if not variables.exists():
            shutil.copy(uefi() / "OVMF_VARS_4M.ms.fd", variables)
        words = ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        words += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={uefi()}/OVMF_CODE_4M.ms.fd"]
        return [*words, "-drive", f"if=pflash,format=raw,unit=1,file={variables}"]


def bare(bed: Bed, firmware: str, disks: dict[str, Path]) -> BareMachine:
    """Return a machine on the boot network, which is off; its other cards lead nowhere."""
    plugs = [
        machine.Plug(f"tap{number}", bridge, mac)
        for number, (mac, bridge) in enumerate(zip(MACS, ("eno2", "other", "other"), strict=True))
    ]
    live = bed.image / liveimage.DIRECTORY
    source = MachineDisk(next(iter(disks.values())), live / "linux", live / "initrd")
    return BareMachine("machine", source, bed.folder, bed.namespace, plugs, firmware=firmware, disks=disks)


@contextmanager
def bed(folder: Path, image: Path) -> Iterator[Bed]:
    """A boot network that goes with the block."""
    made = Bed(folder, image)
    made.up()
    try:
        yield made
    finally:
        made.down()
