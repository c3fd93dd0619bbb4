"""What a site file says of keeping hosts' networks: the schema of these keys, and their rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from saltern.checks import Key, Report, boolean, integer, join, record
from saltern.siterules import Data, dig, holds, hosts, usable

CONFIRM_WITHIN = 120
"""Seconds that a change has; a bond with LACP behind a switch with spanning tree takes up to 50."""
BRIDGED = ("management", "provisioning")
"""Networks that may be on a bridge; Open vSwitch makes the trunk's."""

HOST = record({"managed": Key(boolean)})
SITE = record({"managed": Key(boolean, False), "confirm_within": Key(integer(60, 600), CONFIRM_WITHIN)})


def managed(data: Data, host: Data) -> bool:
    """Return whether a host's networks are kept: its own word, else the site's."""
    own = dig(host, "networking", "managed")
    return bool(dig(data, "networking", "managed") if own is None else own)


def confirm_within(data: Data) -> int:
    """Return the seconds after which a change that was not confirmed is rolled back."""
    return int(dig(data, "networking", "confirm_within") or CONFIRM_WITHIN)


def routes(management: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return other networks, each with the router that leads there."""
    return tuple((str(to), str(via)) for to, via in management["routes"].items())


def managed_hosts_can_be_judged(data: Data, report: Report) -> None:
    """Report a host whose networks are kept although nothing says how it is reached, or whence."""
    anyone = False
    for path, _, host in hosts(data):
        if managed(data, host):
            anyone = True
            carried = [dig(each, "carries") for each in (host.get("interfaces") or {}).values()]
            if "management" not in carried:
                accepted = "a device that carries management: the networks of this host are managed"
                report.add(f"{path}:interfaces", list(host.get("interfaces") or {}), accepted)
    if anyone and not any(holds(host, "deploy") for _, _, host in hosts(data)):
        report.add("hosts", "no deploy host", "a host with the role deploy: managed networks are judged by reaching it")


def routes_lead_out(data: Data, report: Report) -> None:
    """Report a route whose router is not on the management network, or to what is reached without one."""
    own = dig(data, "networks", "management", "cidr")
    for to, via in (dig(data, "networks", "management", "routes") or {}).items():
        path = join("networks:management:routes", str(to))
        usable(via, own, path, report)
        if own is not None and to.overlaps(own):
            report.add(path, str(to), f"a network that does not overlap networks:management:cidr ({own})")


def bridges_fit(data: Data, report: Report) -> None:
    """Report a bridge on the trunk, and one that is named like another device of the host."""
    for path, _, host in hosts(data):
        devices = host.get("interfaces") or {}
        taken = {name for each, device in devices.items() for name in (each, *(dig(device, "bond", "members") or ()))}
        for name, device in devices.items():
            bridge, where = dig(device, "bridge"), f"{join(f'{path}:interfaces', name)}:bridge"
            if bridge is None:
                continue
            if dig(device, "carries") not in BRIDGED:
                report.add(where, bridge, f"no such key on a device that does not carry {' or '.join(BRIDGED)}")
            if bridge in taken:
                report.add(where, bridge, "a name that no other device of the host has")
            taken.add(bridge)


RULES: tuple[Callable[[Data, Report], None], ...] = (managed_hosts_can_be_judged, routes_lead_out, bridges_fit)
