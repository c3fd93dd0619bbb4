"""Rules that join several places of the site file: what may not overlap, repeat or be missing.

Each rule takes the checked data and a report. A value that was refused already is None here, and a rule passes it by.
All rules are linear in the number of hosts, or sort once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from saltern.checks import Report, join

Data = Mapping[str, Any]
FLAT = ("management", "tunnel", "provisioning")
"""Networks of hosts; each has one range of addresses."""
MAX_FQDN = 64
"""The longest common name that a certificate can carry."""


def dig(data: Any, *keys: str) -> Any:
    """Return what stands under nested keys, or None where the way ends."""
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def hosts(data: Data) -> Iterator[tuple[str, str, Data]]:
    """Yield the path, the id and the checked data of each host."""
    for name, host in (dig(data, "hosts") or {}).items():
        yield join("hosts", name), name, host or {}


def providers(data: Data) -> Iterator[tuple[str, Data]]:
    """Yield the path and the checked data of each provider network."""
    for name, provider in (dig(data, "networks", "provider") or {}).items():
        yield join("networks:provider", name), provider or {}


def holds(host: Data, role: str) -> bool:
    """Tell whether a host has a role."""
    return role in (host.get("roles") or ())


def unique(found: Iterable[tuple[str, Any]], what: str, report: Report) -> None:
    """Report each value that an earlier path has already."""
    first: dict[Any, str] = {}
    for path, value in found:
        if value is not None and first.setdefault(value, path) != path:
            report.add(path, str(value), f"{what} of its own: {first[value]} has this one")


def usable(address: IPv4Address | None, network: IPv4Network | None, path: str, report: Report) -> None:
    """Report an address that no device in a network can have."""
    if address is None or network is None:
        return
    if address not in network:
        report.add(path, str(address), f"an address in {network}")
    elif address in (network.network_address, network.broadcast_address):
        report.add(path, str(address), f"an address in {network} other than its first and last one")


def networks_are_apart(data: Data, report: Report) -> None:
    """Report networks that share addresses."""
    found = [(f"networks:{name}:cidr", dig(data, "networks", name, "cidr")) for name in FLAT]
    found += [(f"{path}:cidr", provider.get("cidr")) for path, provider in providers(data)]
    spans = sorted(
        (int(cidr.network_address), int(cidr.broadcast_address), path, cidr) for path, cidr in found if cidr is not None
    )
    _overlaps(spans, "a network that does not overlap", report)


def _overlaps(spans: list[tuple[int, int, str, Any]], what: str, report: Report) -> None:
    """Report each span that begins before an earlier one ends; spans come sorted."""
    end, owner, held = -1, "", None
    for low, high, path, value in spans:
        if low <= end:
            report.add(path, str(value), f"{what} {owner} ({held})")
        if high > end:
            end, owner, held = high, path, value


def vlans_are_apart(data: Data, report: Report) -> None:
    """Report a VLAN that the networks of hosts, provider networks and tenant ranges use twice."""
    tenants = dig(data, "networks", "trunk", "vlans") or ()
    spans = [(low, high, "networks:trunk:vlans", _span(low, high)) for low, high in tenants]
    named = [(f"networks:{name}:vlan", dig(data, "networks", name, "vlan")) for name in ("management", "tunnel")]
    named += [(f"{path}:vlan", provider.get("vlan")) for path, provider in providers(data)]
    spans += [(vlan, vlan, path, vlan) for path, vlan in named if vlan is not None]
    _overlaps(sorted(spans, key=lambda span: span[:3]), "a VLAN that is not used by", report)


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


def gateways_are_inside(data: Data, report: Report) -> None:
    """Report gateways outside their networks and pools that are outside or hold the gateway."""
    for name in ("management", "provisioning"):
        own = dig(data, "networks", name) or {}
        usable(own.get("gateway"), own.get("cidr"), f"networks:{name}:gateway", report)
    for path, provider in providers(data):
        usable(provider.get("gateway"), provider.get("cidr"), f"{path}:gateway", report)
        _pool(provider, f"{path}:pool", report)


def _pool(provider: Data, path: str, report: Report) -> None:
    pool, cidr, gateway = (provider.get(key) for key in ("pool", "cidr", "gateway"))
    if pool is None:
        return
    for end in pool:
        usable(end, cidr, path, report)
    if gateway is not None and pool[0] <= gateway <= pool[1]:
        report.add(path, f"{pool[0]}-{pool[1]}", f"a range without the gateway {gateway}")


def addresses_fit(data: Data, report: Report) -> None:
    """Report management addresses outside the network, equal to the gateway, or used twice."""
    cidr, gateway = (dig(data, "networks", "management", key) for key in ("cidr", "gateway"))
    found: list[tuple[str, Any]] = [("networks:management:gateway", gateway)]
    for path, _, host in hosts(data):
        usable(host.get("address"), cidr, f"{path}:address", report)
        found.append((f"{path}:address", host.get("address")))
    unique(found, "an address", report)


def tunnel_address(host: Data, management: IPv4Network | None, tunnel: IPv4Network | None) -> IPv4Address | None:
    """Return a compute's tunnel address: its own, or the one with its management address's host part."""
    if host.get("tunnel_address") is not None or not holds(host, "compute"):
        own: IPv4Address | None = host.get("tunnel_address")
        return own
    return counterpart(host, management, tunnel)


def counterpart(host: Data, management: IPv4Network | None, other: IPv4Network | None) -> IPv4Address | None:
    """Return the address in another network that has the host part of a host's management address."""
    if management is None or other is None or host.get("address") is None or host["address"] not in management:
        return None
    wanted = int(other.network_address) + int(host["address"]) - int(management.network_address)
    # Where IPv4 ends the address would too; its last one is none that a host can have, and is reported.
    return IPv4Address(min(wanted, 2**32 - 1))


def tunnel_addresses_fit(data: Data, report: Report) -> None:
    """Report tunnel addresses that are outside the network, used twice, or of no use."""
    management, tunnel = (dig(data, "networks", name, "cidr") for name in ("management", "tunnel"))
    found = []
    for path, _, host in hosts(data):
        path = f"{path}:tunnel_address"
        address = tunnel_address(host, management, tunnel)
        if address is not None and dig(data, "networks", "tunnel") is None:
            report.add(path, str(address), "a network networks:tunnel, or no such key")
        elif address is not None and host.get("roles") and not holds(host, "compute"):
            report.add(path, str(address), "no such key on a host without the role compute")
        usable(address, tunnel, path, report)
        found.append((path, address))
    unique(found, "a tunnel address", report)


def devices_fit(data: Data, report: Report) -> None:
    """Report two devices for one network, a compute without a trunk, a bridge named like a device."""
    bridge = dig(data, "networks", "trunk", "bridge") or "br-trunk"
    for path, _, host in hosts(data):
        path = f"{path}:interfaces"
        devices = host.get("interfaces") or {}
        carriers = [(join(path, name), dig(device, "carries")) for name, device in devices.items()]
        unique(((f"{where}:carries", network) for where, network in carriers), "a network", report)
        if holds(host, "compute") and "trunk" not in (network for _, network in carriers):
            report.add(path, list(devices), "a device that carries trunk: a compute host needs one")
        if bridge in devices:
            report.add(join(path, bridge), bridge, "a device other than the bridge networks:trunk:bridge")


def roles_are_held(data: Data, report: Report) -> None:
    """Report a site without a controller, with two of them, or with two deploy hosts."""
    if not any(True for _ in hosts(data)):
        return
    if not any(holds(host, "controller") for _, _, host in hosts(data)):
        report.add("hosts", "no controller", "a host with the role controller")
    for role in ("deploy", "controller"):
        holders = [path for path, _, host in hosts(data) if holds(host, role)]
        for path in holders[1:]:
            report.add(f"{path}:roles", role, f"one {role} host: {holders[0]} is it already")


def api_fits(data: Data, report: Report) -> None:
    """Report an address of the APIs that is no controller's, and a name that is another host's."""
    address, name, domain = dig(data, "api", "address"), dig(data, "api", "name"), data.get("domain")
    cidr, gateway = (dig(data, "networks", "management", key) for key in ("cidr", "gateway"))
    if address is not None and cidr is not None and address in cidr:
        usable(address, cidr, "api:address", report)
    if address is not None and address == gateway:
        report.add("api:address", str(address), "an address other than networks:management:gateway")
    leader = next((host.get("address") for _, _, host in hosts(data) if holds(host, "controller")), None)
    for path, host_id, host in hosts(data):
        if address is not None and address == host.get("address") and not holds(host, "controller"):
            report.add("api:address", str(address), f"a controller's address: {path} is none")
        if domain and f"{host_id}.{domain}" == (name or f"api.{domain}") and host.get("address") != (address or leader):
            report.add("api:name", name or f"api.{domain}", f"a name that is not that of {path}")


def names_are_short(data: Data, report: Report) -> None:
    """Report full names that are too long for a certificate."""
    domain = data.get("domain")
    accepted = f"a name of at most {MAX_FQDN} characters together with the domain"
    for path, host_id, _ in hosts(data):
        if domain and len(f"{host_id}.{domain}") > MAX_FQDN:
            report.add(path, f"{host_id}.{domain}", accepted)
    name = dig(data, "api", "name") or f"api.{domain or ''}"
    if len(name) > MAX_FQDN:
        report.add("api:name", name, accepted)


RULES: tuple[Callable[[Data, Report], None], ...] = (
    networks_are_apart,
    vlans_are_apart,
    gateways_are_inside,
    addresses_fit,
    tunnel_addresses_fit,
    devices_fit,
    roles_are_held,
    api_fits,
    names_are_short,
)
