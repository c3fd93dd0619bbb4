"""Links are held against the files that they are to follow, as ``ip`` of iproute2 6.15 describes them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from saltern import network_links

FILES = {
    "10-bond0.netdev": "[NetDev]\nName = bond0\nKind = bond\n[Bond]\nMode = active-backup\n",
    "10-bond0.20.netdev": "[NetDev]\nName = bond0.20\nKind = vlan\n[VLAN]\nId = 20\n",
    "20-eth0.network": "[Match]\nPermanentMACAddress = 52:54:00:00:00:02\n[Network]\nBond = bond0\n",
    "20-bond0.network": "[Match]\nName = bond0\n[Link]\nMTUBytes = 9000\n[Network]\nVLAN = bond0.20\n",
    "20-bond0.20.network": "[Match]\nName = bond0.20\n[Network]\nAddress = 10.0.0.2/24\n",
    "20-eth2.network": "[Match]\nName = eth2\n[Network]\nKeepMaster = yes\n",
}
ADDRESS = {"family": "inet", "local": "10.0.0.2", "prefixlen": 24, "scope": "global"}
OTHER = {"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"}


def links() -> dict[str, dict[str, Any]]:
    found = [
        {"ifname": "eth0", "address": "52:54:00:00:00:09", "permaddr": "52:54:00:00:00:02", "master": "bond0"},
        {"ifname": "bond0", "address": "52:54:00:00:00:09", "mtu": 9000,
         "linkinfo": {"info_kind": "bond", "info_data": {"mode": "active-backup"}}},
        {"ifname": "bond0.20", "link": "bond0", "address": "52:54:00:00:00:02", "addr_info": [ADDRESS, OTHER],
         "linkinfo": {"info_kind": "vlan", "info_data": {"protocol": "802.1Q", "id": 20}}},
        {"ifname": "eth2", "address": "52:54:00:00:00:03", "master": "ovs-system"},
    ]  # fmt: skip
    return network_links.parse(json.dumps([{"flags": ["BROADCAST", "UP"], **each} for each in found]))


def test_links_that_have_all_have_no_gaps() -> None:
    assert network_links.gaps(FILES, links()) == []


@pytest.mark.parametrize(
    ("device", "key", "value", "gap"),
    [
        ("bond0.20", "addr_info", [], "bond0.20: has no address, wanted 10.0.0.2/24"),
        (
            "bond0.20",
            "addr_info",
            [OTHER, {**ADDRESS, "local": "10.0.0.9"}],
            "bond0.20: has 10.0.0.9/24, wanted 10.0.0.2/24",
        ),
        ("bond0", "mtu", 1500, "bond0: MTU 1500, wanted 9000"),
        ("eth0", "master", None, "eth0: is a device on its own, wanted part of bond0"),
        ("bond0", "master", "br0", "bond0: is part of br0, wanted a device on its own"),
        ("eth2", "flags", [], "eth2: down"),
        ("bond0", "linkinfo", {"info_data": {"mode": "802.3ad"}}, "bond0: Mode 802.3ad, wanted active-backup"),
        ("bond0.20", "linkinfo", {"info_data": {"id": 7}}, "bond0.20: Id 7, wanted 20"),
    ],
)
def test_what_differs_is_told(device: str, key: str, value: Any, gap: str) -> None:
    found = links()
    found[device][key] = value
    assert network_links.gaps(FILES, found) == [gap]


def test_devices_that_are_not_there_are_told() -> None:
    assert sorted(network_links.gaps(FILES, {})) == [
        "a device with the MAC 52:54:00:00:00:02: no such device",
        "bond0.20: no such device",
        "bond0: no such device",
        "eth2: no such device",
    ]


def test_one_more_address_is_none_of_our_business() -> None:
    found = links()
    found["bond0.20"]["addr_info"].append({**ADDRESS, "local": "10.0.0.9"})
    assert network_links.gaps(FILES, found) == []


def test_links_that_networkd_works_on_are_told() -> None:
    states = {"lo": "unmanaged", "eth0": "configured", "eth1": "configuring", "eth2": "failed"}
    text = json.dumps({"Interfaces": [{"Name": name, "AdministrativeState": each} for name, each in states.items()]})
    assert network_links.unfinished(text) == ["eth1: configuring", "eth2: failed"]
    for nothing in ("", "x", "[]", '{"Interfaces": [1]}', '{"Interfaces": [{}]}'):
        assert network_links.unfinished(nothing) == []


@pytest.mark.parametrize("text", ["", "x", "{}", "[1]", "[{}]"])
def test_what_is_not_a_list_of_links_holds_none(text: str) -> None:
    assert network_links.parse(text) == {}
