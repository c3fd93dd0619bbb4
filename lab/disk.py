"""What is on a node's disk before its first boot: who it is, its network, where packages come from."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from lab import recipe, saltconf
from lab.layout import PROXY_PORT, Lab, Node
from lab.mirror import Entry

MANAGEMENT = """\
[Match]
Name={device}
[Network]
Address={address}/{prefix}
LinkLocalAddressing=no
IPv6AcceptRA=no
LLDP=no
"""
TRUNK = """\
[Match]
Name={device}
[Network]
LinkLocalAddressing=no
IPv6AcceptRA=no
LLDP=no
"""
# libvirt-guests waits for guests that do not know ACPI: 100 s at each stop of a node.
MASKED = {"compute": ("libvirt-guests.service",)}


def files(lab: Lab, node: Node, entries: Iterable[Entry]) -> dict[str, str]:
    """Return every file of a new node's disk that differs from the base image."""
    masked = [unit for role in node.host.roles for unit in MASKED.get(role, ())]
    return {
        "etc/hostname": f"{node.id}\n",
        "etc/hosts": hosts(lab, node),
        "etc/machine-id": f"{uuid.uuid4().hex}\n",
        "etc/apt/apt.conf.d/90saltern-proxy": f'Acquire::http::Proxy "http://{lab.proxy_address}:{PROXY_PORT}";\n',
        "etc/apt/sources.list": "".join(f"{each.line()}\n" for each in entries),
        **recipe.FILES,
        **{path: f"-> {target}" for path, target in recipe.LINKS.items()},
        **network(lab, node),
        **{f"etc/systemd/system/{unit}": "-> /dev/null" for unit in masked},
        **saltconf.files(lab, node),
    }


def hosts(lab: Lab, node: Node) -> str:
    """Return /etc/hosts with the node itself; the others are the highstate's business."""
    return f"127.0.0.1 localhost\n{node.host.address} {lab.site.fqdn(node.host)} {node.id}\n"


def network(lab: Lab, node: Node) -> dict[str, str]:
    """Return systemd-networkd's files: a fixed address on management, none on the trunk."""
    result = {}
    for each in node.host.interfaces:
        text = MANAGEMENT if each.carries == "management" else TRUNK
        settings = {"device": each.device, "address": node.host.address, "prefix": lab.prefix}
        result[f"etc/systemd/network/10-saltern-{each.device}.network"] = text.format(**settings)
    return result
