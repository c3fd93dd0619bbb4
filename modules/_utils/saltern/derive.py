"""What follows from the site file: single facts, and groups of settings that services ask for by name.

A catalogue file never computes. It names a fact (``facts: {my_ip: address}``) or a group (``uses: [messaging]``);
both are listed here, each with one function, so that every URL, address and password is put together in one place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import dnsmasq, host_network, networkd
from .catalogue import Catalogue
from .errors import Problem, Problems, suggestion
from .layers import Secret
from .model import Host, Site

CA_FILE = "/etc/saltern/pki/services-ca.crt"
"""The certificate of the CA that signs everything but libvirt and QEMU, on every host."""

PLACEHOLDER = "<secret "
"""How the stand-in of a secret begins, in plans that are made without the secrets file."""

SECRET_FORMS: Mapping[str, str] = {"nova_ssh_key": "ssh_key", "nova_ssh_host_key": "ssh_key"}
"""Secrets that are not plain passwords, and their forms."""

Part = Mapping[str, Any]


@dataclass(frozen=True)
class Context:
    """What a fact may look at: the site, one host of it, the host's services, and the secrets by name."""

    site: Site
    host: Host
    catalogue: Catalogue
    parts: Mapping[str, Part]
    secret: Callable[[str], Secret]
    service: str = ""

    @property
    def controller(self) -> Host:
        """The controller that leads: the first one of the site file."""
        return self.site.having("controller")[0]

    def fqdn(self, host: Host | None = None) -> str:
        """Return the full name of a host, of this one unless another is given."""
        return self.site.fqdn(host or self.host)


def api_url(ctx: Context, kind: str) -> str:
    """Return the URL under which the API of a service type is reached, by everyone."""
    for api in apis(ctx.catalogue).values():
        if api.get("type") == kind:
            return f"https://{ctx.site.api_name}:{api['port']}{api.get('path', '')}"
    raise Problems([Problem("catalogue:apis", kind, "accepted: a service type that an API of the catalogue has")])


def apis(catalogue: Catalogue) -> dict[str, Mapping[str, Any]]:
    """Return every API of the catalogue by name."""
    parts = (part for service in catalogue.values() for part in service.parts())
    return {name: api for part in parts for name, api in part.get("apis", {}).items()}


def _own_names(ctx: Context) -> list[str]:
    return [ctx.fqdn(), ctx.host.id, ctx.host.address]


def _trunk_port(ctx: Context) -> dict[str, Any]:
    ports: dict[str, Any] = {str(ctx.host.device("trunk")): {"mtu": ctx.site.trunk.mtu}}
    if ctx.site.tunnel and ctx.host.tunnel_address:
        tag = {"tag": ctx.site.tunnel.vlan} if ctx.site.tunnel.vlan else {}
        ports["tunnel0"] = {"type": "internal", **tag}
    return ports


def _tunnel_ports(ctx: Context) -> dict[str, Any]:
    if not ctx.site.tunnel or not ctx.host.tunnel_address:
        return {}
    prefix = ctx.site.tunnel.cidr.partition("/")[2]
    return {"tunnel0": {"address": f"{ctx.host.tunnel_address}/{prefix}", "mtu": ctx.site.trunk.mtu}}


def _vlan_ranges(ctx: Context) -> list[str]:
    """Return what tenants' networks may use of the trunk; its bare name lets provider networks use it all the same."""
    name = ctx.site.trunk.physical_network
    return [f"{name}:{low}:{high}" for low, high in ctx.site.trunk.vlans] or [name]


def _chassis_mac(ctx: Context) -> str:
    """Return the MAC under which this host sends routed frames into VLANs, the same at each run.

    A router that is on every host at once has one MAC; switches between the hosts must not see it in two places.
    Source: ovn-controller(8), ovn-chassis-mac-mappings.
    """
    digest = hashlib.sha256(f"{ctx.site.name}/{ctx.host.id}".encode()).hexdigest()
    octets = ["0e", *(digest[at : at + 2] for at in range(0, 10, 2))]
    return f"{ctx.site.trunk.physical_network}:{':'.join(octets)}"


FACTS: Mapping[str, Callable[[Context], Any]] = {
    "address": lambda ctx: ctx.host.address,
    "amqps_listener": lambda ctx: f"{ctx.host.address}:5671",
    "api_address": lambda ctx: ctx.site.api_address,
    "api_name": lambda ctx: ctx.site.api_name,
    "api_names": lambda ctx: [ctx.site.api_name, ctx.site.api_address, ctx.fqdn(ctx.controller)],
    "boot_addresses": lambda ctx: [dnsmasq.boot_address(ctx.site, ctx.host)],
    "bridge_mappings": lambda ctx: f"{ctx.site.trunk.physical_network}:{ctx.site.trunk.bridge}",
    "ca_file": lambda ctx: CA_FILE,
    "chassis_mac": _chassis_mac,
    "confirm_within": lambda ctx: ctx.site.confirm_within,
    "controller_address": lambda ctx: ctx.controller.address,
    "controller_name": lambda ctx: ctx.fqdn(ctx.controller),
    "dashboard_hosts": lambda ctx: [ctx.site.api_name, ctx.site.api_address, "127.0.0.1"],
    "erlang_address": lambda ctx: "{" + ctx.host.address.replace(".", ",") + "}",
    "erlang_options": lambda ctx: f"-kernel inet_dist_use_interface {FACTS['erlang_address'](ctx)}",
    "host": lambda ctx: ctx.host.id,
    "libvirt_tls_socket": lambda ctx: ["", f"{ctx.host.address}:16514"],
    "libvirt_tcp_socket": lambda ctx: ["", f"{ctx.host.address}:16509"],
    "management_cidr": lambda ctx: ctx.site.management.cidr,
    "metadata_secret": lambda ctx: ctx.secret("metadata_proxy"),
    "memcache_secret": lambda ctx: ctx.secret("memcache"),
    "name": lambda ctx: ctx.fqdn(),
    "names": _own_names,
    "network_files": lambda ctx: networkd.files(ctx.site, ctx.host),
    "network_probes": lambda ctx: host_network.probes(ctx.site, ctx.host),
    "node_name": lambda ctx: f"rabbit@{ctx.host.id}",
    "novnc_url": lambda ctx: f"https://{ctx.site.api_name}:6080/vnc_lite.html",
    "qemu_name": lambda ctx: f"qemu.{ctx.host.id}",
    "ovn_northbound_listeners": lambda ctx: [{"target": "pssl:6641:127.0.0.1"}],
    # Chassis are bound to their own rows (RBAC); Neutron writes everywhere, from this host only.
    "ovn_southbound_listeners": lambda ctx: [
        {"target": f"pssl:6642:{ctx.host.address}", "role": "ovn-controller"},
        {"target": "pssl:6643:127.0.0.1"},
    ],
    "ovn_northbound": lambda ctx: "ssl:127.0.0.1:6641",
    "ovn_southbound_local": lambda ctx: "ssl:127.0.0.1:6643",
    "ovn_southbound": lambda ctx: f"ssl:{ctx.controller.address}:6642",
    "region": lambda ctx: ctx.site.region,
    "vlan_ranges": _vlan_ranges,
    "tenant_networks": lambda ctx: [
        *(["vlan"] if ctx.site.trunk.vlans or not ctx.site.tunnel else []),
        *(["geneve"] if ctx.site.tunnel else []),
    ],
    "trunk_mtu": lambda ctx: ctx.site.trunk.mtu,
    "trunk_bridge": lambda ctx: ctx.site.trunk.bridge,
    "trunk_bridges": lambda ctx: {
        ctx.site.trunk.bridge: {"datapath_type": ctx.site.trunk.datapath, "ports": _trunk_port(ctx)}
    },
    # Guests on a datapath in user space get no TCP through without it: their frames carry partial checksums.
    "userspace_offload": lambda ctx: "true" if ctx.site.trunk.datapath == "netdev" else None,
    "datapath": lambda ctx: ctx.site.trunk.datapath,
    "tunnel_ports": _tunnel_ports,
    "tunnel_address": lambda ctx: ctx.host.tunnel_address or ctx.host.address,
}
"""Facts by name; ``url.TYPE`` (the URL of an API) and ``secret.NAME`` are facts as well."""


def fact(ctx: Context, name: str) -> Any:
    """Return a fact; raises Problems when there is none of that name."""
    if name.startswith("url."):
        return api_url(ctx, name.removeprefix("url."))
    if name.startswith("secret."):
        return ctx.secret(name.removeprefix("secret."))
    if name not in FACTS:
        raise Problems([Problem(f"{ctx.service}:facts", name, suggestion(name, FACTS))])
    return FACTS[name](ctx)


def filled(ctx: Context, value: Any) -> Any:
    """Return data of the catalogue with every ``facts: {key: fact}`` replaced by the keys and what they are here."""
    if isinstance(value, list):
        return [filled(ctx, each) for each in value]
    if not isinstance(value, Mapping):
        return value
    result = {key: filled(ctx, each) for key, each in value.items() if key != "facts"}
    return result | {key: fact(ctx, name) for key, name in value.get("facts", {}).items()}


def split_facts(ctx: Context, value: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return settings of the catalogue as two: what facts give (derived), and what the file itself says."""
    derived: dict[str, Any] = {key: fact(ctx, name) for key, name in value.get("facts", {}).items()}
    written: dict[str, Any] = {}
    for key, each in value.items():
        if key == "facts":
            continue
        if isinstance(each, Mapping):
            below, own = split_facts(ctx, each)
            derived |= {key: below} if below else {}
            written |= {key: own} if own or not below else {}
        else:
            written[key] = each
    return derived, written
