"""Site files for tests, as plain data."""

from __future__ import annotations

from typing import Any

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG1ha2Vfbm9fbWlzdGFrZV90aGlzX2lzX25vX2tleQ admin@example.org"


def full() -> dict[str, Any]:
    """A site that uses every key."""
    return {
        "schema": 1,
        "name": "lab",
        "domain": "lab.example",
        "release": "2025.1",
        "region": "North",
        "source": "distro",
        "live_migration": "tcp",
        "api": {"name": "cloud.lab.example", "address": "10.20.0.11"},
        "time": {"servers": ["ntp.lab.example", "192.0.2.1"]},
        "mirrors": {"debian": "http://mirror.lab.example/debian", "fedora": "https://mirror.lab.example/fedora/linux"},
        "install": {"profile": "debian-13", "firmware": "uefi", "ssh_keys": [KEY], "console": "ttyS0,115200n8"},
        "networking": {"managed": False, "confirm_within": 90},
        "networks": {
            "management": {
                "cidr": "10.20.0.0/24",
                "gateway": "10.20.0.1",
                "mtu": 9000,
                "vlan": 20,
                "dns": ["10.20.0.53"],
                "routes": {"10.50.0.0/16": "10.20.0.2"},
            },
            "provisioning": {
                "cidr": "10.21.0.0/24",
                "gateway": "10.21.0.1",
                "range": "10.21.0.100-10.21.0.199",
                "dhcp": "server",
                "dns": ["10.21.0.53"],
            },
            "tunnel": {"cidr": "10.30.0.0/24", "vlan": 4},
            "trunk": {"physical_network": "physnet2", "vlans": ["100-199", 250], "bridge": "br-x", "mtu": 9216},
            "provider": {
                "public": {
                    "vlan": 200,
                    "cidr": "198.51.100.0/24",
                    "gateway": "198.51.100.1",
                    "pool": "198.51.100.100-198.51.100.199",
                    "external": True,
                    "shared": False,
                    "dhcp": False,
                    "dns": ["192.0.2.53"],
                },
                "office": {"vlan": 201, "cidr": "203.0.113.0/24"},
            },
        },
        "hosts": {
            "deploy": {
                "roles": ["deploy"],
                "address": "10.20.0.5",
                "interfaces": {"eth2": {"carries": "provisioning"}},
                "provisioning_address": "10.21.0.2",
            },
            "ctl1": {"roles": ["controller"], "address": "10.20.0.11", "interfaces": nics("52:54:00:00:00:0A")},
            "cmp1": {"roles": ["compute"], "address": "10.20.0.21", "interfaces": nics()},
            "cmp2": {
                "roles": ["compute"],
                "address": "10.20.0.22",
                "interfaces": {
                    "bond0": {"carries": "management", "bond": bond(), "bridge": "br0"},
                    "eth2": {"carries": "trunk"},
                },
                "install": {
                    "profile": "fedora-43",
                    "firmware": "bios",
                    "mac": "52:54:00:00:00:0c",
                    "layout": "raid1",
                    "disks": [
                        {"serial": "S1", "wwn": "0x5000c500a1b2c3d4", "size": "480 GB"},
                        {"model": "Fast 1", "name": "sdb"},
                    ],
                    "wipe": [{"serial": "S1"}, {"wwn": "eui.0025385b71b00001"}],
                    "ssh_keys": [KEY],
                    "console": "tty0",
                },
                "tunnel_address": "10.30.0.99",
                "networking": {"managed": True},
                "services": {
                    "nova": {"files": {"/etc/nova/nova.conf": {"DEFAULT": {"reserved_host_memory_mb": 1024}}}}
                },
            },
        },
        "services": {
            "nova": {"files": {"/etc/nova/nova.conf": {"DEFAULT": {"cpu_allocation_ratio": 8.0, "debug": None}}}}
        },
        "resources": {"flavors": {"m1.tiny": {"ram": 512, "vcpus": 1}}, "roles": {"auditor": None}},
    }


def smallest() -> dict[str, Any]:
    """A site with no optional key."""
    return {
        "schema": 1,
        "name": "one",
        "domain": "one.example",
        "networks": {"management": {"cidr": "10.0.0.0/24"}},
        "hosts": {"a": {"roles": ["controller", "compute"], "address": "10.0.0.2", "interfaces": nics()}},
    }


def nics(mac: str | None = None) -> dict[str, Any]:
    """Two interfaces, the first with a MAC."""
    return {"eth0": {"carries": "management", **({"mac": mac} if mac else {})}, "eth1": {"carries": "trunk"}}


def bond() -> dict[str, Any]:
    """A bond of two devices, the first with a MAC."""
    return {"mode": "802.3ad", "members": {"eth0": {"mac": "52:54:00:00:00:0d"}, "eth1": {}}}


def many(hosts: int) -> dict[str, Any]:
    """A site with this many hosts: a deploy host, a controller, and computes."""
    site = full() | {"networks": full()["networks"] | {"management": {"cidr": "10.20.0.0/16"}}}
    site["networks"]["tunnel"] = {"cidr": "10.30.0.0/16", "vlan": 4}
    computes = {
        f"cmp{number}": {
            "roles": ["compute"],
            "address": f"10.20.{number // 250 + 1}.{number % 250 + 1}",
            "interfaces": nics(f"52:54:00:00:{number // 256:02x}:{number % 256:02x}"),
        }
        for number in range(1, hosts - 1)
    }
    site["hosts"] = {
        "deploy": site["hosts"]["deploy"],
        "ctl1": {**site["hosts"]["ctl1"], "interfaces": nics()},
    } | computes
    return site
