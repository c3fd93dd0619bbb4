"""Site files for tests, as plain data."""

from __future__ import annotations

from typing import Any


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
        "mirrors": {"debian": "http://mirror.lab.example/debian"},
        "networks": {
            "management": {"cidr": "10.20.0.0/24", "gateway": "10.20.0.1", "mtu": 9000},
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
            "deploy": {"roles": ["deploy"], "address": "10.20.0.5"},
            "ctl1": {"roles": ["controller"], "address": "10.20.0.11", "interfaces": nics("52:54:00:00:00:0A")},
            "cmp1": {"roles": ["compute"], "address": "10.20.0.21", "interfaces": nics()},
            "cmp2": {
                "roles": ["compute"],
                "address": "10.20.0.22",
                "interfaces": nics(),
                "tunnel_address": "10.30.0.99",
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
