"""Addresses of the switch's internal ports, put on again whenever the switch starts.

A small unit of systemd does it, bound to ovs-vswitchd. A file of systemd-networkd would have to see the port come and
go: with the datapath in user space each restart of ovs-vswitchd makes the port anew, without its address, and in a
container without udev networkd never takes it over. The unit works the same there and on real hosts, at boot and
after a crash of the switch (``PartOf`` passes restarts on).
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from saltern import atomic
from saltern.errors import Problem, Problems, SalternError
from saltern.ovs import ENVIRONMENT, Switch

UNIT = "saltern-switch-addresses.service"
DIRECTORY = Path("/etc/systemd/system")
TEMPLATE = """\
[Unit]
Description=Addresses of the Open vSwitch ports
PartOf=ovs-vswitchd.service
After=ovs-vswitchd.service

[Service]
Type=oneshot
RemainAfterExit=yes
{commands}

[Install]
WantedBy=ovs-vswitchd.service
"""


def wanted(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the address with its prefix length of each port that has one; raise Problems for what is none."""
    found, problems = {}, []
    for port, entry in (settings.get("addresses") or {}).items():
        try:
            found[port] = str(ipaddress.ip_interface(entry["address"]))
        except (KeyError, ValueError):
            problems.append(Problem(f"addresses:{port}", entry, "accepted: {address: 10.30.0.21/24}"))
    if problems:
        raise Problems(problems)
    return found


def unit(switch: Switch, addresses: Mapping[str, str]) -> str:
    """Return the unit's text: devices on the bridges come up, ports get their one address."""
    ports = [port for bridge in switch.bridges.values() for port in bridge.ports.values()]
    commands = [f"ExecStart=ip link set dev {port.name} up" for port in ports]
    for port, address in addresses.items():
        commands += [f"ExecStart=ip address flush dev {port} scope global"]
        commands += [f"ExecStart=ip address add {address} dev {port}"]
    return TEMPLATE.format(commands="\n".join(commands).replace("=ip ", "=/usr/sbin/ip "))


def gaps(text: str, switch: Switch, addresses: Mapping[str, str]) -> dict[str, str]:
    """Return what is missing according to ``ip -json address``: devices that are down, addresses that differ."""
    links = {link["ifname"]: link for link in json.loads(text or "[]")}
    result = {}
    for port in (port for bridge in switch.bridges.values() for port in bridge.ports):
        link = links.get(port)
        if link is None:
            result[port] = "no such device"
            continue
        have = _globals(link)
        want = [addresses[port]] if port in addresses else have
        if have != want:
            result[port] = f"has {', '.join(have) or 'no address'}, wanted {', '.join(want)}"
        elif "UP" not in link["flags"]:
            result[port] = "down"
    return result


def occupied(text: str, devices: Iterable[str]) -> list[str]:
    """Return the devices that carry an IPv4 address: on a bridge they would lose the host's own traffic."""
    links = {link["ifname"]: link for link in json.loads(text or "[]")}
    return [
        f"{device} carries {each['local']}; a device of the trunk carries no address of its own"
        for device in devices
        for each in links.get(device, {}).get("addr_info", [])
        if each["family"] == "inet" and each["scope"] == "global"
    ]


def read_links() -> str:
    """Return what ``ip -json address`` says."""
    try:
        done = subprocess.run(
            ["ip", "-json", "address", "show"], capture_output=True, text=True, timeout=20, env=ENVIRONMENT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SalternError(f"ip: {error}") from error
    return done.stdout


def unit_differs(text: str) -> bool:
    """Return whether the unit on disk is another one."""
    path = DIRECTORY / UNIT
    return not path.exists() or path.read_text(errors="replace") != text


def unit_starts_with_the_switch() -> bool:
    """Return whether the unit is enabled: a run may have been killed between its file and that."""
    return (DIRECTORY / "ovs-vswitchd.service.wants" / UNIT).is_symlink()


def write_unit(text: str) -> None:
    """Put the unit on disk."""
    atomic.write(str(DIRECTORY / UNIT), text, 0o644)


def _globals(link: Mapping[str, Any]) -> list[str]:
    """Return a link's global addresses with their prefix lengths; what a router's announcements give comes and goes."""
    mine = (each for each in link["addr_info"] if not (each["family"] == "inet6" and each.get("dynamic")))
    return [f"{each['local']}/{each['prefixlen']}" for each in mine if each["scope"] == "global"]
