"""The site file: its schema, its defaults and every mistake in it, all at once.

``load`` and ``parse`` end in a :class:`~saltern.model.Site` or in :class:`~saltern.errors.Problems`, in nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from saltern import installrules, installs, networking, yamlfile
from saltern.checks import (
    Check,
    Key,
    Report,
    address,
    boolean,
    device,
    domain_name,
    host_name,
    identifier,
    join,
    listing,
    mac,
    mapping,
    matching,
    mtu,
    network,
    one_of,
    path,
    plain,
    pool,
    port,
    record,
    scalar,
    source,
    time_source,
    url,
    vlan,
    vlans,
    word,
)
from saltern.checks import Refused as _Refused
from saltern.errors import Problem, suggestion
from saltern.model import ROLES, Host, Management, Opening, Provider, Site, Trunk, Tunnel
from saltern.resource_kinds import PLURALS
from saltern.resources import validate
from saltern.siterules import RULES, dig, hosts, tunnel_address

SCHEMA = 1
RELEASES = ("2025.1",)
SOURCES = ("distro",)
LIVE_MIGRATIONS = ("tls", "tcp")
NETWORKS = ("management", "provisioning", "trunk")
"""Networks that an interface can carry."""

Names = Mapping[str, Collection[str]]
"""Service names of the catalogue, each with the paths of the files it owns."""


def _schema_version(value: Any) -> int:
    if value != SCHEMA or isinstance(value, bool):
        raise _Refused(f"{SCHEMA}, the version of the site file that this release reads")
    return SCHEMA


OVERRIDES = mapping(word, record({"files": Key(mapping(path, plain), {})}))
"""Settings per service and file, laid over the catalogue's."""


def _object(value: Any, path: str, report: Report) -> Any:
    return None if value is None else mapping(word, plain)(value, path, report)


_RESOURCES = mapping(one_of(*PLURALS), mapping(word, _object))

Offers = Callable[[], Mapping[str, installrules.Offer]]
"""Reads the profiles by which machines are installed; called when a site installs any."""

_INTERFACE = record(
    {
        "carries": Key(one_of(*NETWORKS), required=True),
        "mac": Key(mac),
        "bond": Key(installs.BOND),
        "bridge": Key(device),
    },
)

_HOST = record(
    {
        "roles": Key(listing(one_of(*ROLES), at_least=f"at least one of {', '.join(ROLES)}"), required=True),
        "address": Key(address, required=True),
        "interfaces": Key(mapping(device, _INTERFACE), {}),
        "tunnel_address": Key(address),
        "provisioning_address": Key(address),
        "install": Key(installs.HOST_INSTALL),
        "networking": Key(networking.HOST, {}),
        "services": Key(OVERRIDES, {}),
    }
)

_PROVIDER = record(
    {
        "vlan": Key(vlan, required=True),
        "cidr": Key(network, required=True),
        "gateway": Key(address),
        "pool": Key(pool),
        "external": Key(boolean, False),
        "shared": Key(boolean, True),
        "dhcp": Key(boolean, True),
        "dns": Key(listing(address), ()),
    }
)

_OPENING = record(
    {
        "ports": Key(listing(port, at_least="one or more ports"), required=True),
        "from": Key(listing(source, at_least="one or more addresses or networks"), required=True),
        "proto": Key(one_of("tcp", "udp"), "tcp"),
    }
)

_BRIDGE = matching(r"(?!br-int$)[A-Za-z][A-Za-z0-9_.-]{0,14}", "a bridge's name of at most 15 characters, not br-int")

_NETWORKS = record(
    {
        "management": Key(
            record(
                {
                    "cidr": Key(network, required=True),
                    "gateway": Key(address),
                    "mtu": Key(mtu, 1500),
                    "vlan": Key(vlan),
                    "dns": Key(listing(address), ()),
                    "routes": Key(mapping(network, address), {}),
                }
            ),
            required=True,
        ),
        "provisioning": Key(installs.PROVISIONING),
        "tunnel": Key(record({"cidr": Key(network, required=True), "vlan": Key(vlan)})),
        "trunk": Key(
            record(
                {
                    "physical_network": Key(identifier, "physnet1"),
                    "vlans": Key(listing(vlans), ()),
                    "bridge": Key(_BRIDGE, "br-trunk"),
                    "mtu": Key(mtu, 1500),
                    "datapath": Key(one_of("system", "netdev"), "system"),
                }
            )
        ),
        "provider": Key(mapping(identifier, _PROVIDER), {}),
    }
)

SITE: Check = record(
    {
        "schema": Key(scalar(_schema_version), required=True),
        "name": Key(identifier, required=True),
        "domain": Key(domain_name, required=True),
        "release": Key(one_of(*RELEASES), RELEASES[0]),
        "region": Key(identifier, "RegionOne"),
        "source": Key(one_of(*SOURCES), SOURCES[0]),
        "live_migration": Key(one_of(*LIVE_MIGRATIONS), LIVE_MIGRATIONS[0]),
        "api": Key(record({"name": Key(domain_name), "address": Key(address)}), {}),
        "time": Key(record({"servers": Key(listing(time_source), ())}), {}),
        "firewall": Key(
            record({"admin": Key(listing(source), ()), "open": Key(mapping(identifier, _OPENING), {})}),
            {"admin": (), "open": {}},
        ),
        "mirrors": Key(record({"debian": Key(url), "fedora": Key(url)}), {}),
        "install": Key(installs.SITE_INSTALL),
        "networking": Key(networking.SITE, {}),
        "networks": Key(_NETWORKS, required=True),
        "hosts": Key(mapping(host_name, _HOST, at_least="at least one host"), required=True),
        "services": Key(OVERRIDES, {}),
        "resources": Key(_RESOURCES, {}),
    }
)
"""The whole schema; a key that is not in it is a mistake."""


def load(path: str | Path, names: Names | None = None, offers: Offers | None = None) -> Site:
    """Return the site that a file describes, or raise Problems with every mistake in it."""
    return parse(yamlfile.load(path), names, offers)


def parse(data: Any, names: Names | None = None, offers: Offers | None = None) -> Site:
    """Return the site that plain data describes, or raise Problems.

    With ``names``, overrides and resources are held against the catalogue too; with ``offers``, hosts that are to be
    installed against the profiles.
    """
    report = Report()
    checked = SITE(data, "", report)
    for rule in (*RULES, *installrules.RULES, *networking.RULES):
        rule(checked, report)
    if offers is not None and any(True for _ in installrules.installed(checked)):
        installrules.profiles_fit(checked, offers(), report)
    if names is not None:
        report.problems.extend(_unknown_overrides(_overrides(checked), names))
        report.problems.extend(_resource_problems(checked, names))
    report.finish()
    return _site(checked)


def check_overrides(site: Site, names: Names) -> tuple[Problem, ...]:
    """Return a problem for each service that the catalogue lacks, and each file that its service does not own."""
    own = {name: {"services": host.services} for name, host in site.hosts.items()}
    return tuple(_unknown_overrides(_overrides({"services": site.services, "hosts": own}), names))


def _overrides(data: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the path and the content of each ``services`` mapping that is not empty."""
    places = [("services", dig(data, "services"))]
    places += [(f"{path}:services", host.get("services")) for path, _, host in hosts(data)]
    yield from ((where, services) for where, services in places if services)


def _unknown_overrides(overrides: Iterator[tuple[str, Mapping[str, Any]]], names: Names) -> Iterator[Problem]:
    for where, services in overrides:
        for service, override in services.items():
            if service not in names:
                yield Problem(join(where, service), service, suggestion(service, names))
                continue
            for file in dig(override, "files") or {}:
                if file not in names[service]:
                    yield Problem(join(f"{join(where, service)}:files", file), file, suggestion(file, names[service]))


def _resource_problems(data: Mapping[str, Any], names: Names) -> list[Problem]:
    """Return the mistakes in ``resources``; services' users and provider networks are there without being listed."""
    networks = set(dig(data, "networks", "provider") or ())
    known = {"user": names, "project": ["service"], "network": networks, "subnet": networks}
    resources = data.get("resources") or {}
    taken = [
        Problem(f"resources:{plural}:{name}", name, "another name: Saltern itself makes the one of this name")
        for plural, named in resources.items()
        for name in named or ()
        if name in known.get(PLURALS[plural], ())
    ]
    return [*taken, *validate(resources, known)]


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _site(data: Mapping[str, Any]) -> Site:
    networks = data["networks"]
    management, tunnel, trunk = (networks[name] for name in ("management", "tunnel", "trunk"))
    found = {name: _host(name, host, data) for name, host in data["hosts"].items()}
    leader = next(host for host in found.values() if "controller" in host.roles)
    return Site(
        name=data["name"],
        domain=data["domain"],
        management=_management(management),
        hosts=found,
        api_name=data["api"].get("name") or f"api.{data['domain']}",
        api_address=_text(data["api"].get("address")) or leader.address,
        trunk=Trunk(**trunk) if trunk else Trunk(),
        tunnel=Tunnel(str(tunnel["cidr"]), tunnel["vlan"]) if tunnel else None,
        provisioning=installs.provisioning(networks["provisioning"]),
        providers={name: _provider(name, provider) for name, provider in networks["provider"].items()},
        release=data["release"],
        region=data["region"],
        live_migration=data["live_migration"],
        ntp_servers=data["time"].get("servers", ()),
        admin=data["firewall"]["admin"],
        openings={
            name: Opening(each["ports"], each["from"], each["proto"]) for name, each in data["firewall"]["open"].items()
        },
        mirrors={name: mirror for name, mirror in data["mirrors"].items() if mirror is not None},
        confirm_within=networking.confirm_within(data),
        services=data["services"],
        resources=data["resources"],
    )


def _management(data: Mapping[str, Any]) -> Management:
    dns = tuple(str(each) for each in data["dns"])
    return Management(
        str(data["cidr"]), _text(data["gateway"]), data["mtu"], data["vlan"], dns, networking.routes(data)
    )


def _host(name: str, data: Mapping[str, Any], site: Mapping[str, Any]) -> Host:
    management, tunnel = (dig(site, "networks", each, "cidr") for each in ("management", "tunnel"))
    return Host(
        id=name,
        roles=data["roles"],
        address=str(data["address"]),
        interfaces=tuple(installs.interface(each, value) for each, value in data["interfaces"].items()),
        tunnel_address=_text(tunnel_address(data, management, tunnel)),
        services=data["services"],
        provisioning_address=_text(installs.provisioning_address(site, data)),
        install=installs.install(site, data),
        networking="managed" if networking.managed(site, data) else "found",
    )


def _provider(name: str, data: Mapping[str, Any]) -> Provider:
    pool = data["pool"] and (str(data["pool"][0]), str(data["pool"][1]))
    rest = {key: data[key] for key in ("vlan", "external", "shared", "dhcp")}
    dns = tuple(str(each) for each in data["dns"])
    return Provider(name, cidr=str(data["cidr"]), gateway=_text(data["gateway"]), pool=pool, dns=dns, **rest)
