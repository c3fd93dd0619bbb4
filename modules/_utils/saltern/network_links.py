"""Do a host's links have what systemd-networkd's files say? It follows them in its own time, and tells nobody when."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from saltern.host_network import keys

DONE = ("configured", "unmanaged")
Links = Mapping[str, Mapping[str, Any]]
"""What ``ip -json -details address show`` says, by the links' names."""


def parse(text: str) -> dict[str, dict[str, Any]]:
    """Return the links by name; none of a text that is not what ``ip`` says."""
    try:
        return {link["ifname"]: link for link in json.loads(text or "[]")}
    except (ValueError, KeyError, TypeError):
        return {}


def unfinished(text: str) -> list[str]:
    """Return the links that systemd-networkd has not brought to an end yet, by ``networkctl --json=short list``.

    What its files say of addresses and routes holds where ``AdministrativeState`` is ``configured``.
    """
    try:
        states = [
            (each["Name"], each["AdministrativeState"]) for each in json.loads(text or "{}").get("Interfaces", [])
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
    return [f"{name}: {state}" for name, state in states if state not in DONE]


def gaps(files: Mapping[str, str], links: Links) -> list[str]:
    """Return in words what the links lack of what files of ours say: devices, addresses, MTU, masters."""
    by_mac = {
        str(link.get("permaddr", link.get("address"))): name for name, link in links.items() if "link" not in link
    }
    found: list[str] = []
    for name, text in files.items():
        if name.endswith(".netdev"):
            found += _device_gaps(text, links)
        else:
            match = keys(text, "Match")
            device = match.get("Name") or by_mac.get(match["PermanentMACAddress"], "")
            wanted = device or f"a device with the MAC {match['PermanentMACAddress']}"
            found += _link_gaps(text, device, links[device]) if device in links else [f"{wanted}: no such device"]
    return found


def _device_gaps(text: str, links: Links) -> Iterator[str]:
    """Yield what is wrong with a device that is made; one that is not there is told by its own .network file."""
    said = {**keys(text, "NetDev"), **keys(text, "Bond"), **keys(text, "VLAN")}
    info = links.get(said["Name"], {}).get("linkinfo", {})
    for key, have in (("Mode", info.get("info_data", {}).get("mode")), ("Id", info.get("info_data", {}).get("id"))):
        if said["Name"] in links and key in said and str(have) != said[key]:
            yield f"{said['Name']}: {key} {have}, wanted {said[key]}"


def _link_gaps(text: str, device: str, link: Mapping[str, Any]) -> Iterator[str]:
    network, mtu = keys(text, "Network"), keys(text, "Link").get("MTUBytes")
    have = [f"{each['local']}/{each['prefixlen']}" for each in link.get("addr_info", []) if _counts(each)]
    # Others may have put one more there, for an address that moves between hosts.
    if network.get("Address", "") not in ["", *have]:
        yield f"{device}: has {', '.join(have) or 'no address'}, wanted {network['Address']}"
    if mtu and str(link.get("mtu")) != mtu:
        yield f"{device}: MTU {link.get('mtu')}, wanted {mtu}"
    master = network.get("Bond") or network.get("Bridge")
    if master != link.get("master") and "KeepMaster" not in network:
        yield f"{device}: is {_port(link.get('master'))}, wanted {_port(master)}"
    if "UP" not in link.get("flags", []):
        yield f"{device}: down"


def _counts(address: Mapping[str, Any]) -> bool:
    return bool(address.get("family") == "inet" and address.get("scope") == "global")


def _port(master: str | None) -> str:
    return f"part of {master}" if master else "a device on its own"
