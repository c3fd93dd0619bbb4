"""The routers outside the cloud: one namespace for each provider network, which answers and forwards nothing."""

from __future__ import annotations

import sys

import netaddr

from lab import fabric, layout
from lab.command import LabError
from lab.layout import Lab
from lab.units import Unit, wait


def namespace(lab: Lab, vlan: int) -> str:
    """Return the name of a router's network namespace."""
    return f"{lab.fabric}-r{vlan}"


def unit(lab: Lab, vlan: int) -> Unit:
    """Return the process that tags the router's frames."""
    return Unit(f"saltern-{lab.name}.router{vlan}", lab.state)


def up(lab: Lab, vlan: int, address: str) -> None:
    """Play the router of a VLAN with an address like ``198.51.100.1/24``; afterwards it answers on the trunk."""
    name, process, port = namespace(lab, vlan), unit(lab, vlan), f"r{vlan}"
    fabric.namespace(name)
    fabrics = (str(fabric.NAMESPACES / lab.fabric), port, str(fabric.NAMESPACES / name), "eth0")
    python = ("env", f"PYTHONPATH={layout.REPOSITORY}", sys.executable, "-P")
    process.start(*python, "-m", "lab.tagger", *fabrics, str(vlan))
    try:
        wait(lambda: fabric.has(lab.fabric, port) and fabric.has(name, "eth0"), 10, f"the router of VLAN {vlan}")
    except LabError as error:
        raise LabError(f"{error}\n{process.words()}") from error
    fabric.plug(lab, port, "trunk")
    fabric.ip(name, "addr", "replace", address, "dev", "eth0")
    fabric.ip(name, "link", "set", "eth0", "up")


def up_all(lab: Lab) -> None:
    """Play every router that the site's provider networks name."""
    for each in lab.routers:
        up(lab, each.vlan, f"{each.gateway}/{netaddr.IPNetwork(each.cidr).prefixlen}")


def down(lab: Lab, vlan: int) -> None:
    """Take a router away; its VLAN stays without one."""
    unit(lab, vlan).kill()
    fabric.remove(namespace(lab, vlan))


def there(lab: Lab) -> list[int]:
    """Return the VLANs whose routers are there, also of networks that have left the site file."""
    before = f"{lab.fabric}-r"
    ends = [path.name.removeprefix(before) for path in fabric.NAMESPACES.glob(f"{before}*")]
    # Another lab's name may begin in the same way.
    return [int(end) for end in ends if end.isdecimal()]


def down_all(lab: Lab) -> None:
    """Take every router away that is there."""
    for vlan in there(lab):
        down(lab, vlan)
