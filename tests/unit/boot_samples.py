"""Sites that install machines, for tests; as plain data."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saltern import profiles, site
from saltern.answers import Sources

KICKSTART = Path(__file__).resolve().parents[2] / "kickstart"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG1ha2Vfbm9fbWlzdGFrZV90aGlzX2lzX25vX2tleQ admin@example.org"
MIRRORS = {
    "debian": "http://mirror.example.org/debian",
    "security": "http://mirror.example.org/debian-security",
    "fedora": "https://mirror.example.org/fedora/linux",
}
IMAGES = {"debian-13-live/root.tar.zst": "5a" * 32}
PROFILES = ("debian-13-live", "debian-13", "fedora-43", "fedora-44")
FIRMWARES = ("bios", "uefi")
LAYOUTS = ("plain", "lvm", "raid1")
CASES = [*itertools.product(PROFILES, FIRMWARES, LAYOUTS)]
DISKS: dict[str, list[dict[str, str]]] = {
    "plain": [{"serial": "S3Z8 NX0K 100"}],
    "lvm": [{"model": "it's a disk", "size": "480 GB"}],
    "raid1": [{"wwn": "0x5000C500A1B2C3D4"}, {"name": "/dev/disk/by-path/pci-0000:00:1f.2-ata-2"}],
}


def installed(profile: str = "debian-13", firmware: str = "uefi", layout: str = "plain") -> dict[str, Any]:
    """A site with one machine that is installed so, with a network of its own for it, bonds and a VLAN."""
    return {
        "schema": 1,
        "name": "rack1",
        "domain": "cloud.example",
        "mirrors": {"debian": MIRRORS["debian"], "fedora": MIRRORS["fedora"]},
        "time": {"servers": ["ntp1.example.org", "ntp2.example.org"]},
        "install": {"ssh_keys": [KEY], "console": "ttyS1,115200n8"},
        "networks": {
            "management": {
                "cidr": "10.20.0.0/24", "gateway": "10.20.0.1", "mtu": 9000, "vlan": 20, "dns": ["10.20.0.53"],
            },
            "provisioning": {
                "cidr": "10.21.0.0/24", "gateway": "10.21.0.1", "range": "10.21.0.100-10.21.0.199",
                "dns": ["10.21.0.53"],
            },
            "trunk": {"vlans": ["100-199"], "mtu": 9000},
        },
        "hosts": {
            "deploy": {
                "roles": ["deploy", "controller"], "address": "10.20.0.5",
                "interfaces": {"eno1": {"carries": "management"}, "eno2": {"carries": "provisioning"}},
            },
            "cmp1": {
                "roles": ["compute"],
                "address": "10.20.0.21",
                "interfaces": {
                    "bond0": {"carries": "management", "bond": {"mode": "802.3ad", "members": members(0x21)}},
                    "eno3": {"carries": "trunk", "mac": "52:54:00:21:00:21"},
                },
                "install": {
                    "profile": profile, "firmware": firmware, "layout": layout, "disks": DISKS[layout],
                    "wipe": [{"serial": "S3Z8 NX0K 100"}, {"wwn": "eui.0025385b71b00001"}],
                },
            },
        },
    }  # fmt: skip


def members(number: int) -> dict[str, Any]:
    """Two devices of a bond."""
    return {name: {"mac": f"52:54:00:20:0{index}:{number:02x}"} for index, name in enumerate(("eno1", "eno2"))}


def simple() -> dict[str, Any]:
    """A site without a provisioning network, one machine of each firmware, all else said for the whole site."""
    shared = {"profile": "debian-13", "firmware": "bios", "disks": [{"name": "sda"}], "ssh_keys": [KEY]}
    wired = {"eth0": {"carries": "management"}}
    return {
        "schema": 1,
        "name": "small",
        "domain": "small.example",
        "install": {**shared, "console": "tty0"},
        "networks": {"management": {"cidr": "10.0.0.0/24"}},
        "hosts": {
            "deploy": {"roles": ["deploy"], "address": "10.0.0.2", "interfaces": wired},
            "ctl1": {
                "roles": ["controller"],
                "address": "10.0.0.3",
                "interfaces": {"eth0": {"carries": "management", "mac": "52:54:00:00:00:03"}},
                "install": {},
            },
            "cmp1": {
                "roles": ["compute"],
                "address": "10.0.0.4",
                "interfaces": {"eth1": {"carries": "trunk"}, **wired},
                "install": {"firmware": "uefi", "mac": "52:54:00:00:00:04"},
            },
        },
    }


def sources(data: Mapping[str, Any], mirrors: Mapping[str, str] | None = None) -> Sources:
    """What boot files of a site are made from."""
    kickstart = profiles.load(KICKSTART)
    model = site.parse(data, offers=lambda: kickstart.profiles)
    return Sources(model, kickstart, MIRRORS if mirrors is None else mirrors, IMAGES)
