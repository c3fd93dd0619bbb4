"""What a site is: frozen values that every other module reads and none changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

ROLES = ("deploy", "controller", "compute")
"""Roles a host may hold; a host may hold several."""


LAYOUTS: Mapping[str, int] = {"plain": 1, "lvm": 1, "raid1": 2}
"""Layouts of the root disk, and how many disks each takes."""


@dataclass(frozen=True)
class Member:
    """A network device of a bond."""

    device: str
    mac: str | None = None


@dataclass(frozen=True)
class Bond:
    """Several network devices as one; modes have the kernel's names."""

    mode: str
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Interface:
    """A network device of a host and the network it carries (``management``, ``provisioning`` or ``trunk``).

    With ``bridge`` the network's address is on a bridge of that name, of which the device is a port.
    """

    device: str
    carries: str
    mac: str | None = None
    bond: Bond | None = None
    bridge: str | None = None

    @property
    def members(self) -> tuple[Member, ...]:
        """The devices that have a plug: the members of a bond, or the interface itself."""
        return self.bond.members if self.bond else (Member(self.device, self.mac),)


@dataclass(frozen=True)
class Management:
    """The network on which hosts are reached, on the interface that carries it; untagged when ``vlan`` is None.

    ``routes`` are other networks, each with the router that leads there.
    """

    cidr: str
    gateway: str | None = None
    mtu: int = 1500
    vlan: int | None = None
    dns: tuple[str, ...] = ()
    routes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Provisioning:
    """The untagged network from which machines boot when they are installed.

    ``range`` holds addresses for machines that the site does not name; ``dhcp`` is ``server``, or ``proxy`` beside
    somebody else's server. ``relayed``: machines are behind a router, where the deploy host cannot see their MACs.
    """

    cidr: str
    gateway: str | None = None
    range: tuple[str, str] | None = None
    dhcp: str = "server"
    dns: tuple[str, ...] = ()
    relayed: bool = False


@dataclass(frozen=True)
class DiskHints:
    """What a disk is known by; all that is said must fit. ``size`` is the least and the most, in MiB."""

    serial: str | None = None
    wwn: str | None = None
    model: str | None = None
    name: str | None = None
    size: tuple[int, int] | None = None

    def said(self) -> dict[str, str]:
        """Return what is said, as words."""
        size = f"{self.size[0]} {self.size[1]}" if self.size else None
        found = {"serial": self.serial, "wwn": self.wwn, "model": self.model, "name": self.name, "size": size}
        return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True)
class Install:
    """How an empty machine becomes the host; ``disks`` has hints for each root disk of the layout.

    ``serial`` is the machine's own, of its firmware; None: any.
    """

    profile: str
    firmware: str
    mac: str
    disks: tuple[DiskHints, ...]
    ssh_keys: tuple[str, ...]
    layout: str = "plain"
    wipe: tuple[DiskHints, ...] = ()
    serial: str | None = None
    console: str = "ttyS0,115200n8"


@dataclass(frozen=True)
class Tunnel:
    """The network of the Geneve tunnels, on the trunk; ``vlan`` is None when untagged."""

    cidr: str
    vlan: int | None = None


@dataclass(frozen=True)
class Trunk:
    """The interface that carries VLANs: Neutron's name for it, the tenants' VLAN ranges, its OVS bridge.

    ``datapath`` is Open vSwitch's: ``system`` (the kernel's module) or ``netdev`` (in user space).
    """

    physical_network: str = "physnet1"
    vlans: tuple[tuple[int, int], ...] = ()
    bridge: str = "br-trunk"
    mtu: int = 1500
    datapath: str = "system"


@dataclass(frozen=True)
class Provider:
    """A VLAN that exists outside the cloud; its gateway is a router that is not ours."""

    name: str
    vlan: int
    cidr: str
    gateway: str | None = None
    pool: tuple[str, str] | None = None
    external: bool = False
    shared: bool = True
    dhcp: bool = True
    dns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Opening:
    """Ports that the firewall of every host opens beside what its services need: for monitoring and the like."""

    ports: tuple[str, ...]
    sources: tuple[str, ...]
    proto: str = "tcp"


@dataclass(frozen=True)
class Host:
    """A machine of the site: its id is its minion id and its short host name."""

    id: str
    roles: tuple[str, ...]
    address: str
    interfaces: tuple[Interface, ...] = ()
    tunnel_address: str | None = None
    services: Mapping[str, Any] = field(default_factory=dict)
    provisioning_address: str | None = None
    install: Install | None = None
    networking: str = "found"
    """``managed`` where the host's networks are kept as the site file says, ``found`` where they are left alone."""

    def device(self, network: str) -> str | None:
        """Return the device that carries a network (``management``, ``provisioning`` or ``trunk``), or None.

        Of a bridge's port it is the bridge.
        """
        return next((each.bridge or each.device for each in self.interfaces if each.carries == network), None)


@dataclass(frozen=True)
class Site:
    """The whole cloud as the operator described it, checked and with every default filled in."""

    name: str
    domain: str
    management: Management
    hosts: Mapping[str, Host]
    api_name: str
    api_address: str
    trunk: Trunk = Trunk()
    tunnel: Tunnel | None = None
    provisioning: Provisioning | None = None
    providers: Mapping[str, Provider] = field(default_factory=dict)
    release: str = "2025.1"
    region: str = "RegionOne"
    live_migration: str = "tls"
    ntp_servers: tuple[str, ...] = ()
    admin: tuple[str, ...] = ()
    """Whence SSH is let in, beside the management network."""
    openings: Mapping[str, Opening] = field(default_factory=dict)
    mirrors: Mapping[str, str] = field(default_factory=dict)
    confirm_within: int = 120
    """Seconds after which a change of a host's networks that was not confirmed is rolled back."""
    services: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def _by_role(self) -> Mapping[str, tuple[Host, ...]]:
        return {role: tuple(host for host in self.hosts.values() if role in host.roles) for role in ROLES}

    def having(self, role: str) -> tuple[Host, ...]:
        """Return the hosts that hold a role, in the order of the site file: the first one leads."""
        return self._by_role.get(role, ())

    @cached_property
    def names(self) -> tuple[tuple[str, str, str], ...]:
        """The address, the full name and the id of every host; files of every host hold them."""
        return tuple((host.address, self.fqdn(host), host.id) for host in self.hosts.values())

    @cached_property
    def installed(self) -> tuple[tuple[Host, Install], ...]:
        """The hosts that are installed from the network, each with how."""
        return tuple((host, host.install) for host in self.hosts.values() if host.install)

    @property
    def installing(self) -> str:
        """Whether hosts are installed from the network: ``yes`` or ``no``, as services vary by it."""
        return "yes" if self.installed else "no"

    def fqdn(self, host: Host) -> str:
        """Return a host's fully qualified name."""
        return f"{host.id}.{self.domain}"
