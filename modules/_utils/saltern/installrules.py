"""Rules for what joins the keys about networks and installing machines with the rest of the site file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from saltern.checks import Report, join
from saltern.errors import suggestion
from saltern.installs import boot_mac, boot_network, plugs, provisioning_address, settings
from saltern.model import LAYOUTS
from saltern.siterules import Data, dig, holds, hosts, unique, usable

DEVICE_NAME = 15
"""The longest name of a network device."""


class Offer(Protocol):
    """What a profile offers, as far as a site file can ask for it."""

    @property
    def layouts(self) -> tuple[str, ...]:
        """Names of the layouts."""

    @property
    def mirror(self) -> str:
        """The key under ``mirrors`` where its packages are."""

    def minimum(self, layout: str) -> int:
        """Return the least size of a root disk, in MiB."""


def installed(data: Data) -> Iterator[tuple[str, Data, dict[str, Any]]]:
    """Yield, for each host that is to be installed, the path of its key, the host, and the settings that hold."""
    for path, _, host in hosts(data):
        if host.get("install") is not None:
            yield f"{path}:install", host, settings(data, host)


def macs_are_apart(data: Data, report: Report) -> None:
    """Report a MAC address that two devices have, or that a host boots with and another one has."""
    found, boots = [], []
    for path, _, host in hosts(data):
        own = set()
        for name, device in (host.get("interfaces") or {}).items():
            where = join(f"{path}:interfaces", name)
            for member, mac in plugs(device).items():
                own.add(mac)
                found.append((f"{join(f'{where}:bond:members', member) if member else where}:mac", mac))
        named = dig(host, "install", "mac")
        boots.append((f"{path}:install:mac", None if named in own else named))
    unique([*found, *boots], "a MAC address", report)


def bonds_hold(data: Data, report: Report) -> None:
    """Report a bond of fewer than two devices, with a MAC of its own, or of devices that do something else."""
    for path, _, host in hosts(data):
        used: list[tuple[str, Any]] = []
        devices = host.get("interfaces") or {}
        for name, device in devices.items():
            where = join(f"{path}:interfaces", name)
            used.append((where, name))
            members = dig(device, "bond", "members")
            if members is None:
                continue
            if len(members) < 2:
                report.add(f"{where}:bond:members", list(members), "two or more devices")
            if dig(device, "mac") is not None:
                report.add(f"{where}:mac", device["mac"], "no such key on a bond: its members have MACs")
            used += [(join(f"{where}:bond:members", each), each) for each in members]
        unique(used, "a device", report)


def vlan_devices_have_names(data: Data, report: Report) -> None:
    """Report a device whose name is too long to be followed by the management network's VLAN."""
    vlan = dig(data, "networks", "management", "vlan")
    for path, _, host in hosts(data) if vlan else ():
        for name, device in (host.get("interfaces") or {}).items():
            if dig(device, "carries") == "management" and len(f"{name}.{vlan}") > DEVICE_NAME:
                accepted = f"a name that leaves room for .{vlan} within {DEVICE_NAME} characters"
                report.add(join(f"{path}:interfaces", name), name, accepted)


def provisioning_fits(data: Data, report: Report) -> None:
    """Report addresses that are outside the provisioning network, used twice, or among those for unknown machines."""
    own = dig(data, "networks", "provisioning")
    cidr, gateway, limits = (dig(own, key) for key in ("cidr", "gateway", "range"))
    for end in limits or ():
        usable(end, cidr, "networks:provisioning:range", report)
    if limits and dig(own, "dhcp") == "proxy":
        report.add("networks:provisioning:range", f"{limits[0]}-{limits[1]}", "no such key with dhcp: proxy")
    if dig(own, "relayed") and dig(own, "dhcp") == "proxy":
        accepted = "false with dhcp: proxy: there, neither MAC nor address says which machine asks"
        report.add("networks:provisioning:relayed", True, accepted)
    found = [("networks:provisioning:gateway", gateway)]
    for path, _, host in hosts(data):
        found.append((f"{path}:provisioning_address", provisioning_address(data, host)))
        usable(found[-1][1], cidr, found[-1][0], report)
        if own is None:
            _without_provisioning(path, host, report)
    for path, address in found if limits else ():
        if address is not None and limits[0] <= address <= limits[1]:
            report.add(path, str(address), f"an address outside networks:provisioning:range ({limits[0]}-{limits[1]})")
    unique(found, "an address on the provisioning network", report)


def _without_provisioning(path: str, host: Data, report: Report) -> None:
    """Report what needs the network that the site has not."""
    accepted = "a network networks:provisioning, or no such key"
    if host.get("provisioning_address") is not None:
        report.add(f"{path}:provisioning_address", str(host["provisioning_address"]), accepted)
    for name, device in (host.get("interfaces") or {}).items():
        if dig(device, "carries") == "provisioning":
            report.add(f"{join(f'{path}:interfaces', name)}:carries", "provisioning", accepted)


def machines_can_boot(data: Data, report: Report) -> None:
    """Report what keeps machines from booting from the network: a tagged one, or nobody there who answers."""
    if not any(True for _ in installed(data)):
        return
    network = boot_network(data)
    if dig(data, "networks", network, "vlan") is not None:
        accepted = "a network networks:provisioning: firmware boots from an untagged network"
        report.add("networks:management:vlan", dig(data, "networks", network, "vlan"), accepted)
    servers = [(path, host) for path, _, host in hosts(data) if holds(host, "deploy")]
    if not servers:
        report.add("hosts", "no deploy host", "a host with the role deploy: machines boot from it")
    for path, host in servers:
        carried = [dig(each, "carries") for each in (host.get("interfaces") or {}).values()]
        if network not in carried:
            accepted = f"a device that carries {network}: machines boot from there"
            report.add(f"{path}:interfaces", list(host.get("interfaces") or {}), accepted)


def installs_are_complete(data: Data, report: Report) -> None:
    """Report a host that is to be installed and does not say all that this takes, or what contradicts itself."""
    for path, host, chosen in installed(data):
        for key in ("profile", "firmware", "disks", "ssh_keys"):
            if chosen.get(key) is None:
                report.add(f"{path}:{key}", None, "this key is required, here or at install of the site")
        if boot_mac(host) is None:
            accepted = "a MAC address, here or at the interface that carries provisioning or management"
            report.add(f"{path}:mac", None, accepted)
        if holds(host, "deploy"):
            report.add(path, "deploy", "no such key on the deploy host: the others are installed from it")
        layout, disks = chosen.get("layout") or "plain", chosen.get("disks")
        if disks and len(disks) != LAYOUTS[layout]:
            many = f"{len(disks)} disk{'s' * (len(disks) > 1)}"
            report.add(
                f"{path}:disks", many, f"hints of {LAYOUTS[layout]} for the layout {layout}, of each disk its own"
            )


def profiles_fit(data: Data, offers: Mapping[str, Offer], report: Report) -> None:
    """Report a profile that does not exist, a layout that it lacks, a disk too small for it, a mirror not named."""
    for path, _, chosen in installed(data):
        name, layout = chosen.get("profile"), chosen.get("layout") or "plain"
        if name is None:
            continue
        if name not in offers:
            report.add(f"{path}:profile", name, suggestion(name, offers))
            continue
        offer = offers[name]
        if offer.mirror != "debian" and not dig(data, "mirrors", offer.mirror):
            report.add(f"mirrors:{offer.mirror}", None, f"this key is required: {path} has the profile {name}")
        if layout not in offer.layouts:
            report.add(f"{path}:layout", layout, f"with profile {name}: {', '.join(offer.layouts)}")
            continue
        for number, disk in enumerate(chosen.get("disks") or ()):
            if disk.size and disk.size[1] < offer.minimum(layout):
                accepted = f"{offer.minimum(layout)} MiB or more for the layout {layout}"
                report.add(f"{path}:disks:{number}:size", f"about {sum(disk.size) // 2} MiB", accepted)


RULES: tuple[Callable[[Data, Report], None], ...] = (
    macs_are_apart,
    bonds_hold,
    vlan_devices_have_names,
    provisioning_fits,
    machines_can_boot,
    installs_are_complete,
)
