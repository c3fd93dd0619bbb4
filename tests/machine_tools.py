"""A rack for tests of one machine's networks: a switch, and beside it a Salt master, a gateway and another host.

All of it is in network namespaces that are made here and removed here; nothing in them has a way out.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lab import fabric
from lab.layout import REPOSITORY
from lab.machine import Machine, Plug
from lab.machine_disk import MachineDisk
from lab.units import wait

SWITCH = "saltern-rack"
MASTER, GATEWAY, PEER = "10.77.0.1", "10.77.0.254", "10.77.0.12"
OTHERS = {"saltern-rack-m": MASTER, "saltern-rack-g": GATEWAY, "saltern-rack-p": PEER}
HOST = "10.77.0.21"
VLAN = 20
# Ports as a Salt master has them: whoever connects is heard.
LISTENER = """
import selectors, socket
with selectors.DefaultSelector() as ready:
    for port in (4505, 4506):
        ready.register(socket.create_server(("", port)), selectors.EVENT_READ)
    print("listens", flush=True)
    while True:
        for key, _ in ready.select():
            key.fileobj.accept()[0].close()
"""
# What is read back from the host over the network: that it is the host, and no other one with its address.
BANNER = {
    "/etc/systemd/system/banner.socket": "[Socket]\nListenStream=22\nAccept=yes\n[Install]\nWantedBy=sockets.target\n",
    "/etc/systemd/system/banner@.service": "[Service]\nExecStart=/bin/echo h1\nStandardOutput=socket\n",
}
RUN = """
import json, sys
from saltern import host_network, network_control, networkd, site
from saltern.network_probes import Probes
order = json.load(open("/run/order.json"))
model = site.parse(order["site"])
files = networkd.files(model, model.hosts["h1"])
for name, old, new in order.get("edits", ()):
    files[name] = files.get(name, "# Managed by Saltern\\n").replace(old, new) if old else new
files = {name: text for name, text in files.items() if name not in order.get("without", ())}
probes = Probes.from_data(host_network.probes(model, model.hosts["h1"]))
report = network_control.Control(order["within"]).converge(files, probes, order.get("test", False))
print("REPORT " + json.dumps([report.result, report.words, report.changes]))
"""


@dataclass
class Rack:
    """The switch's namespace, the others on it, and the machine."""

    machine: Machine
    helpers: list[subprocess.Popen[str]] = field(default_factory=list)

    def mtu(self, bytes_: int) -> None:
        """Set the MTU of everything on the management network but the machine itself."""
        for namespace in OTHERS:
            fabric.ip(namespace, "link", "set", "eth0", "mtu", str(bytes_))

    def also(self, network: str) -> None:
        """Give the others an address in one more network."""
        for namespace, address in OTHERS.items():
            moved = f"{network}{address.rpartition('.')[2]}/24"
            fabric.ip(namespace, "address", "add", moved, "dev", "eth0")

    def tag(self, vlan: int, network: str) -> None:
        """Have the others in a network on a VLAN alone."""
        for number, (namespace, address) in enumerate(OTHERS.items()):
            cable = f"v{number}"
            words = ["-m", "lab.tagger", f"/run/netns/{SWITCH}", cable, f"/run/netns/{namespace}", "eth1", str(vlan)]
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", sys.executable, *words], cwd=REPOSITORY, text=True
            )
            self.helpers.append(process)
            wait(partial(fabric.has, namespace, "eth1"), 20, f"{namespace}'s VLAN")
            fabric.ip(SWITCH, "link", "set", cable, "mtu", "9216", "master", "mgmt", "up")
            fabric.ip(namespace, "address", "flush", "dev", "eth0")
            moved = f"{network}{address.rpartition('.')[2]}/24"
            fabric.ip(namespace, "address", "add", moved, "dev", "eth1")
            fabric.ip(namespace, "link", "set", "eth1", "mtu", "9000", "up")

    def reaches(self, address: str = HOST) -> bool:
        """Tell whether the master's side gets the host's own word over TCP."""
        code = f"import socket; s = socket.create_connection(({address!r}, 22), 2); s.settimeout(5); print(s.recv(99))"
        words = ["ip", "netns", "exec", "saltern-rack-m", sys.executable, "-c", code]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
        return "h1" in done.stdout

    def order(self, site: Mapping[str, Any], within: int = 60, **more: Any) -> str:
        """Tell the machine what its next run is to bring about; return the command that starts it."""
        text = json.dumps({"site": site, "within": within, **more})
        self.machine.run(f"cat >/run/order.json <<'END'\n{text}\nEND")
        return "PYTHONPATH=/srv/saltern /opt/saltern/salt/bin/python -P /srv/run.py"

    def converge(
        self, site: Mapping[str, Any], within: int = 60, **more: Any
    ) -> tuple[bool | None, str, dict[str, Any]]:
        """Have the machine's networks changed as the state does it; return result, words and changes."""
        said = self.machine.run(self.order(site, within, **more), timeout=within + 180, check=False)
        lines = [line for line in said.splitlines() if line.startswith("REPORT ")]
        assert lines, said
        result, words, changes = json.loads(lines[-1].removeprefix("REPORT "))
        return result, words, changes


def site(**management: Any) -> dict[str, Any]:
    """A site of three hosts, the machine being ``h1``; keys of its management network."""
    wired = {"eth0": {"carries": "management"}}
    return {
        "schema": 1,
        "name": "rack",
        "domain": "rack.example",
        "networking": {"managed": True},
        "networks": {"management": {"cidr": "10.77.0.0/24", "gateway": GATEWAY, **management}, "trunk": {"mtu": 1500}},
        "hosts": {
            "deploy": {"roles": ["deploy"], "address": MASTER, "interfaces": wired},
            "ctl1": {"roles": ["controller"], "address": PEER, "interfaces": wired},
            "h1": {"roles": ["compute"], "address": HOST, "interfaces": {**wired, "eth2": {"carries": "trunk"}}},
        },
    }


def with_interfaces(data: dict[str, Any], devices: Mapping[str, Any]) -> dict[str, Any]:
    """The site with other network devices of the machine."""
    host = {**data["hosts"]["h1"], "interfaces": dict(devices)}
    return {**data, "hosts": {**data["hosts"], "h1": host}}


def package() -> dict[str, str]:
    """The pure package's files as they lie on a machine, and what Salt takes to have the state."""
    source = REPOSITORY / "modules"
    pure = {path.name: path.read_text() for path in (source / "_utils/saltern").glob("*.py")}
    places = ("/srv/saltern/saltern", "/srv/states/_utils/saltern")
    found = {f"{place}/{name}": text for place in places for name, text in pure.items()}
    return {**found, "/srv/states/_states/host_network.py": (source / "_states/host_network.py").read_text()}


@contextmanager
def rack(disk: MachineDisk, folder: Path, seed: Mapping[str, str]) -> Iterator[Rack]:
    """Give a rack whose machine is on; whatever happens, nothing of it is left. Of two at once the second one waits."""
    with Path("/run/saltern-rack.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _remove()
        yield from _rack(disk, folder, seed)


def _rack(disk: MachineDisk, folder: Path, seed: Mapping[str, str]) -> Iterator[Rack]:
    macs = [f"52:54:00:77:0{number}:21" for number in range(4)]
    plugs = [Plug(f"tap{number}", "trunk" if number == 2 else "mgmt", mac) for number, mac in enumerate(macs)]
    machine = Machine("h1", disk, folder, SWITCH, plugs, {**seed, **package(), **BANNER, "/srv/run.py": RUN})
    found = Rack(machine)
    try:
        _wire()
        found.helpers.append(_listen())
        machine.start()
        machine.run("systemctl enable --now banner.socket")
        yield found
    finally:
        machine.power_cut()
        for process in found.helpers:
            process.kill()
            process.wait()
        _remove()


def _wire() -> None:
    """Make the switch with its two networks, and the others with a cable into the first one."""
    fabric.namespace(SWITCH)
    for bridge in ("mgmt", "trunk"):
        fabric.ip(SWITCH, "link", "add", bridge, "mtu", "9216", "type", "bridge", "mcast_snooping", "0")
        fabric.ip(SWITCH, "link", "set", bridge, "up")
    for number, (namespace, address) in enumerate(OTHERS.items()):
        fabric.namespace(namespace)
        fabric.ip(
            SWITCH, "link", "add", f"c{number}", "mtu", "9216", "type", "veth", "peer", "eth0", "netns", namespace
        )
        fabric.ip(SWITCH, "link", "set", f"c{number}", "master", "mgmt", "up")
        fabric.ip(namespace, "address", "add", f"{address}/24", "dev", "eth0")
        fabric.ip(namespace, "link", "set", "eth0", "up")


def _listen(namespace: str = "saltern-rack-m") -> subprocess.Popen[str]:
    words: Sequence[str] = ["ip", "netns", "exec", namespace, "setpriv", "--pdeathsig=KILL", sys.executable]
    process = subprocess.Popen([*words, "-c", LISTENER], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "listens\n"
    return process


def _remove() -> None:
    for namespace in (*OTHERS, SWITCH):
        fabric.remove(namespace)
