"""The lab's network: two bridges in a namespace that has no address, no route and no way out.

Bridges are transparent to VLAN tags. The only outer contact is the package proxy's listening socket in the gateway
namespace; its outgoing connections are made elsewhere, so nothing is ever forwarded.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lab.command import run
from lab.layout import Lab, Node
from lab.units import wait

NAMESPACES = Path("/run/netns")
BRIDGES = {"management": "mgmt", "trunk": "trunk"}
# Without addresses that the kernel would give by itself, and without forwarding; a kernel may be without IPv6.
SETTINGS = ("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1", "net.ipv4.ip_forward=0")


def exists(namespace: str) -> bool:
    """Tell whether a network namespace of that name is there."""
    return (NAMESPACES / namespace).exists()


def ip(namespace: str, *words: str, check: bool = True) -> str:
    """Run one `ip` command in a namespace."""
    return run("ip", "-n", namespace, *words, check=check).stdout


def has(namespace: str, device: str) -> bool:
    """Tell whether a namespace has a network device."""
    return run("ip", "-n", namespace, "link", "show", device, check=False).returncode == 0


def lacks(namespace: str, device: str) -> bool:
    """Tell whether a namespace has no such network device."""
    return not has(namespace, device)


def namespace(name: str) -> None:
    """Make a namespace without IPv6 and without forwarding, unless it is there."""
    if not exists(name):
        run("ip", "netns", "add", name)
    ip(name, "link", "set", "lo", "up")
    run("ip", "netns", "exec", name, "sysctl", "-q", "-w", *settings(Path("/proc/sys")))


def settings(kernel: Path) -> list[str]:
    """Return those settings of a namespace that the kernel has."""
    return [each for each in SETTINGS if (kernel / each.split("=")[0].replace(".", "/")).exists()]


def up(lab: Lab) -> None:
    """Make the bridges and the gateway's leg on the management network, as far as they are missing."""
    namespace(lab.fabric)
    for bridge in BRIDGES.values():
        if not has(lab.fabric, bridge):
            ip(lab.fabric, "link", "add", bridge, "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
        ip(lab.fabric, "link", "set", bridge, "up")
    namespace(lab.gateway)
    if not has(lab.fabric, "gw"):
        ip(lab.fabric, "link", "add", "gw", "type", "veth", "peer", "name", "eth0", "netns", lab.gateway)
    plug(lab, "gw", "management")
    ip(lab.gateway, "addr", "replace", f"{lab.proxy_address}/{lab.prefix}", "dev", "eth0")
    ip(lab.gateway, "link", "set", "eth0", "up")


def plug(lab: Lab, device: str, network: str) -> None:
    """Plug the outer end of a cable into a bridge."""
    ip(lab.fabric, "link", "set", device, "master", BRIDGES[network], "up")


def connect(lab: Lab, node: Node) -> None:
    """Plug in all cables of a node, waiting until the container has made them."""
    for network, cable in node.cables.items():
        wait(partial(has, lab.fabric, cable), 20, f"{node.id}'s {network} interface")
        plug(lab, cable, network)


def unplug(lab: Lab, node: Node) -> None:
    """Remove what is left of the cables of a node that is gone: the kernel takes its time, and no other could start."""
    for network, cable in node.cables.items():
        if has(lab.fabric, cable):
            ip(lab.fabric, "link", "delete", cable, check=False)
            wait(partial(lacks, lab.fabric, cable), 20, f"{node.id}'s {network} interface to be gone")


def remove(name: str) -> None:
    """Remove a namespace, and with it every device in it, if it is there."""
    if exists(name):
        run("ip", "netns", "delete", name)


def down(lab: Lab) -> None:
    """Remove the lab's own two namespaces, and with them every bridge and cable."""
    remove(lab.gateway)
    remove(lab.fabric)
