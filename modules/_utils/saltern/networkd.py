"""A host's networks as files for systemd-networkd (systemd.network(5), systemd.netdev(5)).

Devices whose MAC the site file says are known by their permanent one: bonds and VLANs on top have the same current MAC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network
from typing import Any

from saltern.model import Host, Interface, Management, Member, Site
from saltern.render import render

DIRECTORY = "/etc/systemd/network"
_BOND = {"MIIMonitorSec": "100ms"}
BONDS: Mapping[str, Mapping[str, str]] = {
    "active-backup": _BOND,
    "802.3ad": {**_BOND, "TransmitHashPolicy": "layer3+4", "LACPTransmitRate": "fast"},
    "balance-xor": {**_BOND, "TransmitHashPolicy": "layer3+4"},
}
"""What is set beside the mode; of the other modes nothing but the monitor."""
_QUIET = {"LinkLocalAddressing": "no", "IPv6AcceptRA": "no"}
# Open vSwitch makes the trunk's device a port: networkd would take it out of there again.
_SWITCHED = {**_QUIET, "KeepMaster": "yes"}
_ROUTE = re.compile(r"^\[Route [0-9]+\]$", re.MULTILINE)

Sections = Mapping[str, Mapping[str, Any]]


def files(site: Site, host: Host) -> dict[str, str]:
    """Return the files by their names."""
    return {
        name: _ROUTE.sub("[Route]", render("ini", sections))
        for each in host.interfaces
        for name, sections in _interface(site, host, each)
    }


def _interface(site: Site, host: Host, each: Interface) -> Iterator[tuple[str, Sections]]:
    mtu = {"management": site.management.mtu, "trunk": site.trunk.mtu}.get(each.carries)
    # The trunk has no address, and nobody waits for it.
    link = {"MTUBytes": mtu, "RequiredForOnline": "no" if each.carries == "trunk" else None}
    link = {key: value for key, value in link.items() if value is not None}
    vlan = site.management.vlan if each.carries == "management" else None
    top = f"{each.device}.{vlan}" if vlan else each.device
    settings = {"trunk": _SWITCHED}.get(each.carries) or _addressed(site, host, each.carries)
    if each.bond:
        extra = BONDS.get(each.bond.mode, _BOND)
        netdev = {"Name": each.device, "Kind": "bond"}
        yield f"10-{each.device}.netdev", {"NetDev": netdev, "Bond": {"Mode": each.bond.mode, **extra}}
        for member in each.bond.members:
            joined = {"Bond": each.device, **_QUIET}
            yield f"20-{member.device}.network", _network(_match(member), {"MTUBytes": mtu} if mtu else {}, joined)
    match = {"Name": each.device} if each.bond else _match(each.members[0])
    if vlan:
        yield f"10-{top}.netdev", {"NetDev": {"Name": top, "Kind": "vlan"}, "VLAN": {"Id": vlan}}
        yield f"20-{each.device}.network", _network(match, link, {"VLAN": top, **_QUIET})
        match = {"Name": top}
    if each.bridge:
        yield f"10-{each.bridge}.netdev", {"NetDev": {"Name": each.bridge, "Kind": "bridge"}}
        yield f"20-{top}.network", _network(match, link, {"Bridge": each.bridge, **_QUIET})
        top, match = each.bridge, {"Name": each.bridge}
    routes = site.management.routes if each.carries == "management" else ()
    yield f"20-{top}.network", {**_network(match, link, settings), **_routes(routes)}


def _match(device: Member) -> dict[str, str]:
    return {"PermanentMACAddress": device.mac} if device.mac else {"Name": device.device}


def _network(match: Mapping[str, str], link: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {"Match": match, **({"Link": link} if link else {}), "Network": settings}


def _routes(routes: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return a section for each route; all of them have one name in the end."""
    return {f"Route {number}": {"Destination": to, "Gateway": via} for number, (to, via) in enumerate(routes)}


def _addressed(site: Site, host: Host, network: str) -> dict[str, Any]:
    """Return the address of a host on the management or the provisioning network; the way out is the former's."""
    if network == "management":
        return {**_address(host.address, site.management.cidr), **_way_out(site.management), **_QUIET}
    cidr = site.provisioning.cidr if site.provisioning else ""
    return {**_address(str(host.provisioning_address), cidr), **_QUIET}


def _address(address: str, cidr: str) -> dict[str, str]:
    return {"Address": f"{address}/{IPv4Network(cidr).prefixlen}"}


def _way_out(network: Management) -> dict[str, Any]:
    gateway = {"Gateway": network.gateway} if network.gateway else {}
    return {**gateway, **({"DNS": list(network.dns)} if network.dns else {})}
