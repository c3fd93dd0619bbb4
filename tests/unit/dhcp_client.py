"""Asks a dnsmasq, both in the network namespace that this program is run in, what it offers machines.

``dhcp_client.py CONFIG MAC/ARCH[/ipxe][/relay][/boot] …`` prints a JSON value for each machine: null without an answer.
Whole frames go over a cable between two devices: the kernel would not take packets from an address of its own.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

SERVER, CLIENT, RELAY, OWN = "10.21.0.5", "plug", "10.21.0.250", "10.21.0.21"
EVERYBODY, NOBODY = "255.255.255.255", "0.0.0.0"  # noqa: S104 (an address in packets; nothing binds to it)
MACS = {"server": "02:00:00:00:00:01", "client": "02:00:00:00:00:02"}
COOKIE = b"\x63\x82\x53\x63"
WAIT = 3.0
IPV4, ALL_FRAMES = 0x0800, 3


def main(config: str, machines: list[str]) -> int:
    """Start dnsmasq between two ends of a cable, ask for every machine, and stop it."""
    device = re.search(r"^interface=(\S+)", Path(config).read_text(), re.MULTILINE)
    assert device
    for command in (
        f"link add {device[1]} address {MACS['server']} type veth peer name {CLIENT} address {MACS['client']}",
        f"addr add {SERVER}/24 dev {device[1]}",
        "link set lo up",
        f"link set {device[1]} up",
        f"link set {CLIENT} up",
        f"neigh add {RELAY} lladdr {MACS['client']} dev {device[1]}",
        f"neigh add {OWN} lladdr {MACS['client']} dev {device[1]}",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    arguments = ["--keep-in-foreground", "--log-facility=-", "--user=root", "--dhcp-leasefile=/dev/null", "--no-ping"]
    daemon = subprocess.Popen(
        ["dnsmasq", f"--conf-file={config}", *arguments], stderr=subprocess.PIPE, text=True, errors="replace"
    )
    try:
        time.sleep(1.0)
        print(json.dumps([ask(*machine.split("/")) for machine in machines]))
    finally:
        daemon.terminate()
        _, log = daemon.communicate(timeout=10)
        sys.stderr.write(log)
    return 0


def ask(mac: str, arch: str, *kinds: str) -> dict[str, Any] | None:
    """Ask as firmware does, and return what is offered; ``boot`` is the second question, to a boot server alone."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_FRAMES)) as plug:
        plug.bind((CLIENT, 0))
        plug.send(frame(question(mac, int(arch), kinds), kinds))
        end = time.monotonic() + WAIT
        while (left := end - time.monotonic()) > 0:
            plug.settimeout(left)
            try:
                answer = plug.recv(2048)[14 + 20 + 8 :]
            except TimeoutError:
                break
            if answer[:1] == b"\2" and answer[4:8] == mac_bytes(mac)[2:]:
                return read(answer)
    return None


def frame(data: bytes, kinds: Collection[str]) -> bytes:
    """Return a datagram in a UDP packet in an IPv4 packet in a frame: to everybody, or to the server alone."""
    source, port = (RELAY, 67) if "relay" in kinds else (OWN, 68) if "boot" in kinds else (NOBODY, 68)
    to, mac = (EVERYBODY, "ff:ff:ff:ff:ff:ff") if source == NOBODY else (SERVER, MACS["server"])
    udp = struct.pack("!HHHH", port, 4011 if "boot" in kinds else 67, 8 + len(data), 0) + data
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0,
                       socket.inet_aton(source), socket.inet_aton(to))  # fmt: skip
    total = sum(struct.unpack("!10H", head))
    total = (total >> 16) + (total & 0xFFFF)
    head = head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[12:]
    return mac_bytes(mac) + mac_bytes(MACS["client"]) + struct.pack("!H", IPV4) + head + udp


def mac_bytes(mac: str) -> bytes:
    """Return a MAC as bytes."""
    return bytes.fromhex(mac.replace(":", ""))


def question(mac: str, arch: int, kinds: Collection[str]) -> bytes:
    """Return the datagram (RFC 2131, RFC 4578)."""
    relayed, own = "relay" in kinds, OWN if "boot" in kinds else NOBODY
    head = struct.pack("!BBBB4sHH4s4s4s4s", 1, 1, 6, int(relayed), mac_bytes(mac)[2:], 0, 0x8000, socket.inet_aton(own),
                       bytes(4), bytes(4), socket.inet_aton(RELAY if relayed else NOBODY))  # fmt: skip
    client = "HTTPClient" if arch in (15, 16) else "PXEClient"
    options = {
        53: b"\3" if "boot" in kinds else b"\1",
        55: bytes([1, 3, 6, 12, 43, 54, 60, 66, 67, 175]),
        57: struct.pack("!H", 1472),
        60: f"{client}:Arch:{arch:05}:UNDI:003001".encode(),
        93: struct.pack("!H", arch),
        94: b"\1\3\1",
        97: b"\0" + bytes(16),
    }
    if "ipxe" in kinds:
        options |= {77: b"iPXE", 175: b"\xb1\4\1\0\0\0"}
    if "boot" in kinds and not arch:
        # BIOS was offered a menu of one (PXE 2.1, option 43.71: the service's type, and of it the first file).
        options |= {43: b"\x47\4\x80\0\0\0\xff"}
    body = b"".join(bytes([code, len(value)]) + value for code, value in options.items())
    return head + mac_bytes(mac) + bytes(10 + 64 + 128) + COOKIE + body + b"\xff"


def read(answer: bytes) -> dict[str, Any]:
    """Return what matters of an offer."""
    options: dict[int, bytes] = {}
    rest = answer[240:]
    while rest and rest[0] != 255:
        code, length = (rest[0], rest[1]) if rest[0] else (0, -1)
        options[code] = rest[2 : 2 + length]
        rest = rest[2 + length :]
    words = {
        "address": socket.inet_ntoa(answer[16:20]) if any(answer[16:20]) else "",
        "server": socket.inet_ntoa(options.get(54, bytes(4))),
        "file": (options.get(67) or answer[108:236]).split(b"\0")[0].decode(),
        "router": socket.inet_ntoa(options[3]) if 3 in options else "",
        "dns": socket.inet_ntoa(options[6]) if 6 in options else "",
        "name": options.get(12, b"").decode(),
        "class": options.get(60, b"").decode(),
    }
    return {key: value for key, value in words.items() if value}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
