"""What a site is: frozen values that every other module reads and none changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

ROLES = ("deploy", "controller", "compute")
"""Roles a host may hold; a host may hold several."""


@dataclass(frozen=True)
class Interface:
    """A network device of a host and the network it carries (``management`` or ``trunk``)."""

    device: str
    carries: str
    mac: str | None = None


@dataclass(frozen=True)
class Management:
    """The network on which hosts are reached, untagged on the interface that carries it."""

    cidr: str
    gateway: str | None = None
    mtu: int = 1500


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

    def device(self, network: str) -> str | None:
        """Return the device that carries a network (``management`` or ``trunk``), or None."""
        return next((each.device for each in self.interfaces if each.carries == network), None)


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
    providers: Mapping[str, Provider] = field(default_factory=dict)
    release: str = "2025.1"
    region: str = "RegionOne"
    live_migration: str = "tls"
    ntp_servers: tuple[str, ...] = ()
    admin: tuple[str, ...] = ()
    """Whence SSH is let in, beside the management network."""
    openings: Mapping[str, Opening] = field(default_factory=dict)
    mirrors: Mapping[str, str] = field(default_factory=dict)
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

    def fqdn(self, host: Host) -> str:
        """Return a host's fully qualified name."""
        return f"{host.id}.{self.domain}"
