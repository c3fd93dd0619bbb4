"""What a lab is made of: names, addresses and places, all derived from the site file."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import netaddr
from saltern.model import Host, Provider, Site

REPOSITORY = Path(__file__).resolve().parent.parent
STATE = Path(os.environ.get("SALTERN_STATE", "/var/lib/saltern/lab"))
CACHE = STATE / "cache"
PROXY_PORT = 3142


@dataclass(frozen=True)
class Node:
    """A host of the site as a container."""

    host: Host

    @property
    def id(self) -> str:
        """Return the host's id, which is the container's and the minion's too."""
        return self.host.id

    @property
    def cables(self) -> dict[str, str]:
        """Return network → name of the cable's outer end, for each network that the host is on.

        An interface's name has 15 characters at most; and a host keeps its own when others come to the site or go.
        """
        short = f"{zlib.crc32(self.id.encode()):08x}"
        return {each.carries: f"n{short}-{each.carries[:5]}" for each in self.host.interfaces}


@dataclass(frozen=True)
class Lab:
    """One site as a lab. All its interfaces are in a network namespace of its own, so that labs cannot collide."""

    site: Site
    source: Path

    @property
    def name(self) -> str:
        """Return the site's name."""
        return self.site.name

    @property
    def state(self) -> Path:
        """Return the directory that holds all of this lab, readable by root only."""
        return STATE / self.name

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Return the nodes in the order of the site file."""
        return tuple(map(Node, self.site.hosts.values()))

    @property
    def deploy(self) -> Node:
        """Return the node that runs the salt-master."""
        return next(node for node in self.nodes if "deploy" in node.host.roles)

    def node(self, name: str) -> Node | None:
        """Return the node of that name, or None."""
        return next((node for node in self.nodes if node.id == name), None)

    @property
    def fabric(self) -> str:
        """Return the network namespace that holds the bridges and the nodes' cables, and no address."""
        return f"saltern-{self.name}"

    @property
    def gateway(self) -> str:
        """Return the network namespace in which the package proxy listens."""
        return f"saltern-{self.name}-gw"

    @property
    def proxy_address(self) -> str:
        """Return the proxy's address: the last one of the management network that no host has."""
        network = netaddr.IPNetwork(self.site.management.cidr)
        taken = {host.address for host in self.site.hosts.values()} | {self.site.api_address}
        return next(str(each) for each in reversed(list(network.iter_hosts())) if str(each) not in taken)

    @property
    def prefix(self) -> int:
        """Return the length of the management network's prefix."""
        return int(netaddr.IPNetwork(self.site.management.cidr).prefixlen)

    @property
    def routers(self) -> tuple[Provider, ...]:
        """Return the provider networks whose gateway, a router outside the cloud, the lab must play."""
        return tuple(each for each in self.site.providers.values() if each.gateway)

    def place(self, node: Node) -> Path:
        """Return the directory that holds a node's disk, logs and process id."""
        return self.state / "nodes" / node.id
