"""The API objects that the leading controller keeps: what follows from the catalogue and the site, then the site's own.

Objects of the tier ``registration`` (users, roles, endpoints) are there before the services that use them start; the
others come last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .derive import Context, api_url, apis
from .model import Provider, Site
from .resource_kinds import KINDS
from .resources import ordered

Object = dict[str, Any]
KEEPERS: Mapping[str, str] = {"identity": "keystone", "image": "glance", "compute": "nova", "network": "neutron"}
"""The service of the catalogue that keeps the objects of an API."""
SERVICE_ROLES = ("admin", "service")
"""Roles of a service's user: ``service`` where policies know it, ``admin`` where they do not yet."""


def resources(ctx: Context) -> list[Object]:
    """Return the objects in the order in which they are made, each as ``{service, tier, kind, name, properties}``."""
    return [*_registered(ctx), *_provider_networks(ctx.site), *_site_resources(ctx)]


def _object(kind: str, name: str, tier: str = "resources", /, **properties: Any) -> Object:
    service = KEEPERS[KINDS[kind].service]
    return {"service": service, "tier": tier, "kind": kind, "name": name, "properties": properties}


def _registered(ctx: Context) -> Iterator[Object]:
    """Yield the users, roles, services and endpoints of the APIs; keystone's own come from its bootstrap."""
    yield _object("project", "service", "registration", description="Users of the services")
    for api in apis(ctx.catalogue).values():
        if "type" not in api or api["type"] == "identity":
            continue
        name = api["name"]
        ctx.secret(f"identity_{name}")
        password = {"secret": f"identity_{name}"}
        yield _object("user", name, "registration", default_project="service", password=password)
        for role in SERVICE_ROLES:
            label = f"{name} is {role} in service"
            yield _object("role_assignment", label, "registration", role=role, user=name, project="service")
        yield _object("service", name, "registration", type=api["type"])
        for interface in ("public", "internal"):
            yield _object(
                "endpoint",
                f"{name} {interface}",
                "registration",
                service=name,
                interface=interface,
                region=ctx.site.region,
                url=api_url(ctx, api["type"]),
            )


def _provider_networks(site: Site) -> Iterator[Object]:
    """Yield a network and a subnet for each provider network of the site."""
    for provider in site.providers.values():
        segment = {
            "provider:network_type": "vlan",
            "provider:physical_network": site.trunk.physical_network,
            "provider:segmentation_id": provider.vlan,
            "router:external": provider.external,
        }
        yield _object("network", provider.name, project="admin", shared=provider.shared, mtu=site.trunk.mtu, **segment)
        # a tenant may have a network of this name, too
        network = {"name": provider.name, "project": "admin"}
        yield _object("subnet", provider.name, project="admin", network=network, **_subnet(provider))


def _subnet(provider: Provider) -> dict[str, Any]:
    """Return the properties of a provider network's subnet; its gateway is a router outside the cloud."""
    pools = {"allocation_pools": [dict(zip(("start", "end"), provider.pool, strict=True))]} if provider.pool else {}
    dns = {"dns_nameservers": list(provider.dns)} if provider.dns else {}
    return {
        "cidr": provider.cidr,
        "enable_dhcp": provider.dhcp,
        "gateway_ip": provider.gateway,
        **pools,
        **dns,
    }


def _site_resources(ctx: Context) -> Iterator[Object]:
    """Yield the objects that the operator listed, those to be absent first, then in the order of dependence.

    Whoever is to be absent needs no password any more.
    """
    for kind, name, properties in ordered(ctx.site.resources):
        hidden = {key for key, field in KINDS[kind].fields.items() if field.secret and properties.get(key)}
        if properties.get("absent"):
            yield _object(kind, name, **{key: value for key, value in properties.items() if key not in hidden})
            continue
        for key in hidden:
            ctx.secret(str(properties[key]["secret"]))
        yield _object(kind, name, **properties)
