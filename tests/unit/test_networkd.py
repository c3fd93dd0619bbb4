"""Networks of a host as systemd-networkd reads them.

systemd has no program that checks such files: sections and keys are held against those of its manual pages, with the
values that they take.
"""

from __future__ import annotations

import configparser
import re
from typing import Any

import pytest
from saltern import networkd, site

from tests.unit.boot_samples import installed
from tests.unit.site_samples import full, smallest
from tests.unit.test_site import changed

NAME = r"[^\s/:%]{1,15}"
MAC = r"[0-9a-f]{2}(:[0-9a-f]{2}){5}"
ADDRESS = r"([0-9]{1,3}\.){3}[0-9]{1,3}"
MATCH = {"PermanentMACAddress": MAC, "Name": NAME}
MODES = "balance-rr|active-backup|balance-xor|broadcast|802.3ad|balance-tlb|balance-alb"
# systemd.network(5) and systemd.netdev(5) of systemd 257
KNOWN: dict[str, dict[str, dict[str, str]]] = {
    "network": {
        "Match": MATCH,
        "Link": {"MTUBytes": r"[0-9]{4}", "RequiredForOnline": "no"},
        "Network": {
            "Address": rf"{ADDRESS}/[0-9]{{1,2}}",
            "Gateway": ADDRESS,
            "DNS": ADDRESS,
            "Bond": NAME,
            "VLAN": NAME,
            "LinkLocalAddressing": "no",
            "IPv6AcceptRA": "no",
            "Bridge": NAME,
            "KeepMaster": "yes",
        },
        "Route": {"Destination": rf"{ADDRESS}/[0-9]{{1,2}}", "Gateway": ADDRESS},
    },
    "netdev": {
        "NetDev": {"Name": NAME, "Kind": "bond|vlan|bridge"},
        "Bond": {
            "Mode": MODES,
            "MIIMonitorSec": "100ms",
            "TransmitHashPolicy": r"layer3\+4",
            "LACPTransmitRate": "fast",
        },
        "VLAN": {"Id": r"[1-9][0-9]{0,3}"},
    },
}


def read(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


def files(data: dict[str, Any], host: str) -> dict[str, dict[str, dict[str, str]]]:
    model = site.parse(data)
    return {name: read(text) for name, text in networkd.files(model, model.hosts[host]).items()}


@pytest.mark.parametrize("mode", MODES.split("|"))
def test_sections_keys_and_values_are_those_of_the_manual(mode: str) -> None:
    data = changed(installed(), "hosts:cmp1:interfaces:bond0:bond:mode", mode)
    data = changed(data, "hosts:deploy:interfaces:eno1:bridge", "br0")
    data = changed(data, "networks:management:routes", {"10.50.0.0/16": "10.20.0.2"})
    found = {f"{host}/{name}": each for host in ("cmp1", "deploy") for name, each in files(data, host).items()}
    assert len(found) == 13
    for name, sections in found.items():
        known = KNOWN[name.rpartition(".")[2]]
        assert list(sections) == [each for each in known if each in sections], name
        for section, keys in sections.items():
            for key, value in keys.items():
                assert re.fullmatch(known[section][key], value), (name, key, value)


def test_a_bond_with_a_vlan_on_it() -> None:
    found = files(installed(), "cmp1")
    quiet = {"LinkLocalAddressing": "no", "IPv6AcceptRA": "no"}
    assert found["10-bond0.netdev"]["NetDev"] == {"Name": "bond0", "Kind": "bond"}
    assert found["20-eno2.network"] == {
        "Match": {"PermanentMACAddress": "52:54:00:20:01:21"},
        "Link": {"MTUBytes": "9000"},
        "Network": {"Bond": "bond0", **quiet},
    }
    assert found["20-bond0.network"]["Network"] == {"VLAN": "bond0.20", **quiet}
    assert found["10-bond0.20.netdev"] == {"NetDev": {"Name": "bond0.20", "Kind": "vlan"}, "VLAN": {"Id": "20"}}
    way_out = {"Address": "10.20.0.21/24", "Gateway": "10.20.0.1", "DNS": "10.20.0.53"}
    assert found["20-bond0.20.network"]["Network"] == {**way_out, **quiet}
    trunk = {"MTUBytes": "9000", "RequiredForOnline": "no"}
    assert found["20-eno3.network"] == {
        "Match": {"PermanentMACAddress": "52:54:00:21:00:21"},
        "Link": trunk,
        "Network": {**quiet, "KeepMaster": "yes"},
    }


def test_a_device_on_the_provisioning_network_has_its_address_there_and_no_way_out() -> None:
    found = files(full(), "deploy")
    quiet = {"LinkLocalAddressing": "no", "IPv6AcceptRA": "no"}
    assert found == {"20-eth2.network": {"Match": {"Name": "eth2"}, "Network": {"Address": "10.21.0.2/24", **quiet}}}


def test_a_plain_device() -> None:
    found = files(smallest(), "a")
    assert list(found) == ["20-eth0.network", "20-eth1.network"]
    assert found["20-eth0.network"]["Match"] == {"Name": "eth0"}
    assert found["20-eth0.network"]["Network"]["Address"] == "10.0.0.2/24"
    assert "Gateway" not in found["20-eth0.network"]["Network"]
