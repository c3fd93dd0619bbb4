"""The kinds of API objects that Saltern keeps: one table entry each, and nothing else.

Fields carry the names that the APIs themselves use (``provider:segmentation_id``, ``enable_dhcp``); where an API wants
an id, the field says the kind it refers to and the operator writes a name. To add a kind, add an entry.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

ANYWHERE = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True)
class Field:
    """One property of a kind: its type, the path of the API's own name, and what may be done with it."""

    type: type = str
    api: str = ""
    """Dotted path of the value in the API's object; empty: the property's own name; ``*``: the object itself."""
    refers: str = ""
    """The kind whose objects the value names (each item, for a list)."""
    fixed: bool = False
    """The API never changes it once the object exists."""
    once: bool = False
    """Like ``fixed``, but it may be filled in while the object still lacks it."""
    required: bool = False
    default: Any = None
    """Taken when the property is not given; a function gets the properties that are."""
    choices: tuple[str, ...] = ()
    normal: Callable[[Any], Any] | None = None
    """Brings two spellings of one value to the same form."""
    body: Callable[[Any], Any] | None = None
    """Makes the form in which the API takes the value."""
    own: bool = False
    """Not part of the object's JSON: it takes calls of its own."""
    lenient: bool = False
    """A name that does not exist (yet) is left out with a warning."""
    secret: bool = False


@dataclass(frozen=True)
class Kind:
    """How a kind is listed, told apart, made, changed and removed."""

    name: str
    plural: str
    service: str
    path: str
    fields: Mapping[str, Field] = field(default_factory=dict)
    key: str = ""
    """JSON key of one object; empty: the kind's name."""
    keys: str = ""
    """JSON key of the list; empty: the plural."""
    lists: str = ""
    """Path of the list; empty: the path of the objects."""
    query: str = ""
    named: str = "name"
    """The API's field that holds the name; empty: the name is only a label."""
    ident: str = "id"
    identity: tuple[str, ...] = ()
    """Fields that say, beside the name, which object is meant."""
    one_of: tuple[tuple[str, ...], ...] = ()
    """Groups of properties of which exactly one is given."""
    update: str = "PATCH"
    """HTTP method of a change; empty: the API has none."""
    microversion: str | None = None
    per: str = ""
    """The reference whose objects own separate lists (a user's key pairs, a project's quota)."""
    singleton: bool = False
    """Exists with its owner: is only ever changed."""
    declared: bool = True

    @property
    def one(self) -> str:
        """Return the JSON key of one object."""
        return self.key or self.name

    @property
    def many(self) -> str:
        """Return the JSON key of a list of objects."""
        return self.keys or self.plural


def _ip(value: Any) -> str:
    return str(ipaddress.ip_address(value))


def _cidr(value: Any) -> str | None:
    """Return a network in its usual spelling; "anywhere" is None, as Neutron takes it."""
    text = str(ipaddress.ip_network(value, strict=False))
    return None if text in ANYWHERE else text


def _version(properties: Mapping[str, Any]) -> int:
    """Return the IP version of a subnet's CIDR."""
    return ipaddress.ip_network(properties["cidr"], strict=False).version


def _addresses(value: Any) -> list[dict[str, str]]:
    return [{"ip_address": each} for each in value]


def _ips(value: Any) -> list[str]:
    return sorted(_ip(each["ip_address"] if isinstance(each, Mapping) else each) for each in value)


def _pools(value: Any) -> list[tuple[str, str]]:
    return sorted((_ip(each["start"]), _ip(each["end"])) for each in value)


def _routes(value: Any) -> list[tuple[str, str]]:
    return sorted((str(ipaddress.ip_network(each["destination"])), _ip(each["nexthop"])) for each in value)


def _key(value: Any) -> str:
    """Return the algorithm and the key of a public key: a comment at its end does not make another key."""
    return " ".join(str(value).split()[:2])


def _protocol(value: Any) -> str | None:
    """Return a protocol in one spelling; any protocol is None, as Neutron takes it."""
    text = str(value).lower()
    return {"any": None, "icmpv6": "ipv6-icmp"}.get(text, text)


def _strings(value: Any) -> dict[str, str | None]:
    """Return a mapping with the values as APIs keep them: strings."""
    return {str(key): each if each is None else _word(each) for key, each in value.items()}


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_TEXT = Field()
_FLAG = Field(bool)
_NUMBER = Field(int)
_ENABLED = {"description": _TEXT, "enabled": _FLAG}
_DOMAIN = Field(api="domain_id", refers="domain", fixed=True, default="Default")
_PROJECT = Field(api="project_id", refers="project", fixed=True)
_KEPT = Field(api="project_id", refers="project", fixed=True, default="admin")
"""Whose an object of the operator is: one of the same name that a tenant made is another one."""
_SWITCHED = {"description": _TEXT, "project": _KEPT, "admin_state_up": _FLAG}
_FIXED_NUMBER = Field(int, fixed=True)
_COMPUTE_QUOTA = (
    "cores", "instances", "key_pairs", "metadata_items", "ram", "server_group_members", "server_groups",
)  # fmt: skip
_NETWORK_QUOTA = (
    "floatingip", "network", "port", "rbac_policy", "router", "security_group", "security_group_rule", "subnet",
    "subnetpool",
)  # fmt: skip


def _quota(service: str, path: str, key: str, limits: tuple[str, ...]) -> Kind:
    return Kind(
        f"{service}_quota", f"{service}_quotas", service, path, key=key, named="", ident="", update="PUT",
        per="project", singleton=True,
        fields={"project": Field(api="project_id", refers="project", required=True), **dict.fromkeys(limits, _NUMBER)},
    )  # fmt: skip


_TABLE = (
    Kind("region", "regions", "identity", "/regions", named="id", fields={
        "description": _TEXT, "parent_region": Field(api="parent_region_id", refers="region"),
    }),
    Kind("domain", "domains", "identity", "/domains", fields=_ENABLED),
    Kind("role", "roles", "identity", "/roles", identity=("domain",), fields={
        "description": _TEXT, "domain": Field(api="domain_id", refers="domain", fixed=True),
    }),
    Kind("project", "projects", "identity", "/projects", identity=("domain",), fields={
        **_ENABLED, "domain": _DOMAIN, "parent": Field(api="parent_id", refers="project", fixed=True),
        "tags": Field(list, normal=sorted),
    }),
    Kind("group", "groups", "identity", "/groups", identity=("domain",), fields={
        "description": _TEXT, "domain": _DOMAIN,
    }),
    Kind("user", "users", "identity", "/users", identity=("domain",), fields={
        **_ENABLED, "domain": _DOMAIN, "email": _TEXT, "password": Field(dict, secret=True),
        "default_project": Field(api="default_project_id", refers="project"),
    }),
    Kind("role_assignment", "role_assignments", "identity", "/role_assignments", named="", ident="", update="",
         identity=("role", "user", "group", "project", "domain", "system"),
         one_of=(("user", "group"), ("project", "domain", "system")), fields={
        "role": Field(api="role.id", refers="role", required=True),
        "user": Field(api="user.id", refers="user"), "group": Field(api="group.id", refers="group"),
        "project": Field(api="scope.project.id", refers="project"),
        "domain": Field(api="scope.domain.id", refers="domain"), "system": Field(bool, api="scope.system.all"),
    }),
    Kind("service", "services", "identity", "/services", fields={**_ENABLED, "type": Field(required=True)}),
    Kind("endpoint", "endpoints", "identity", "/endpoints", named="", identity=("service", "interface", "region"),
         fields={
        "service": Field(api="service_id", refers="service", required=True),
        "interface": Field(choices=("public", "internal", "admin"), required=True),
        "region": Field(api="region_id", refers="region", required=True), "url": Field(required=True), "enabled": _FLAG,
    }),
    Kind("image", "images", "image", "/images", key="*", query="limit=1000&visibility=all", identity=("owner",),
         fields={
        "file": Field(api="os_hash_value", once=True, own=True), "disk_format": Field(fixed=True, default="qcow2"),
        "container_format": Field(fixed=True, default="bare"), "visibility": Field(
            choices=("public", "private", "shared", "community")),
        "min_disk": _NUMBER, "min_ram": _NUMBER, "protected": _FLAG, "os_hidden": _FLAG,
        "owner": Field(refers="project", fixed=True, default="admin"),
        "kernel_id": Field(refers="image"), "ramdisk_id": Field(refers="image"),
        "properties": Field(dict, api="*", normal=_strings, body=_strings),
    }),
    Kind("flavor", "flavors", "compute", "/flavors", lists="/flavors/detail", query="is_public=None", update="PUT",
         microversion="2.61", fields={
        "id": Field(fixed=True), "ram": _FIXED_NUMBER, "vcpus": _FIXED_NUMBER, "disk": _FIXED_NUMBER,
        "swap": Field(int, fixed=True, normal=lambda value: value or 0),
        "ephemeral": Field(int, api="OS-FLV-EXT-DATA:ephemeral", fixed=True), "description": _TEXT,
        "is_public": Field(bool, api="os-flavor-access:is_public", fixed=True),
        "extra_specs": Field(dict, own=True, normal=_strings),
    }),
    _quota("compute", "/os-quota-sets/{owner}", "quota_set", _COMPUTE_QUOTA),
    _quota("network", "/quotas/{owner}", "quota", _NETWORK_QUOTA),
    Kind("network", "networks", "network", "/networks", identity=("project",), update="PUT", fields={
        **_SWITCHED, "shared": _FLAG, "router:external": _FLAG, "mtu": _NUMBER, "port_security_enabled": _FLAG,
        "dns_domain": _TEXT, "provider:network_type": Field(fixed=True),
        "provider:physical_network": Field(fixed=True), "provider:segmentation_id": _FIXED_NUMBER,
    }),
    Kind("subnet", "subnets", "network", "/subnets", identity=("network", "project"), update="PUT", fields={
        "network": Field(api="network_id", refers="network", fixed=True, required=True), "project": _PROJECT,
        "cidr": Field(fixed=True, normal=_cidr, required=True), "ip_version": Field(int, fixed=True, default=_version),
        "gateway_ip": Field(normal=_ip), "enable_dhcp": _FLAG, "description": _TEXT,
        "allocation_pools": Field(list, normal=_pools), "dns_nameservers": Field(list, normal=_ips),
        "host_routes": Field(list, normal=_routes), "ipv6_address_mode": Field(fixed=True),
        "ipv6_ra_mode": Field(fixed=True),
    }),
    Kind("router", "routers", "network", "/routers", identity=("project",), update="PUT", fields={
        **_SWITCHED, "distributed": Field(bool, fixed=True), "ha": Field(bool, fixed=True),
        "external_network": Field(api="external_gateway_info.network_id", refers="network"),
        "enable_snat": Field(bool, api="external_gateway_info.enable_snat"),
        "external_addresses": Field(list, api="external_gateway_info.external_fixed_ips", normal=_ips, body=_addresses),
        "interfaces": Field(list, refers="subnet", own=True, normal=sorted),
    }),
    Kind("security_group", "security_groups", "network", "/security-groups", identity=("project",), update="PUT",
         fields={"description": _TEXT, "project": _KEPT, "stateful": _FLAG}),
    Kind("security_group_rule", "security_group_rules", "network", "/security-group-rules", named="", update="",
         identity=("security_group", "direction", "ethertype", "protocol", "port_range_min", "port_range_max",
                   "remote_ip_prefix", "remote_group"), fields={
        "security_group": Field(api="security_group_id", refers="security_group", required=True),
        "direction": Field(default="ingress", choices=("ingress", "egress")),
        "ethertype": Field(default="IPv4", choices=("IPv4", "IPv6")),
        "protocol": Field(normal=_protocol, body=_protocol),
        "port_range_min": _NUMBER, "port_range_max": _NUMBER, "remote_ip_prefix": Field(normal=_cidr),
        "remote_group": Field(api="remote_group_id", refers="security_group"),
    }),
    Kind("keypair", "keypairs", "compute", "/os-keypairs", ident="name", per="user", microversion="2.10", update="",
         fields={
        "public_key": Field(fixed=True, required=True, normal=_key), "type": Field(fixed=True, choices=("ssh", "x509")),
        "user": Field(api="user_id", refers="user"),
    }),
    Kind("aggregate", "aggregates", "compute", "/os-aggregates", update="PUT", fields={
        "availability_zone": _TEXT, "hosts": Field(list, refers="compute_host", own=True, lenient=True, normal=sorted),
        "metadata": Field(dict, own=True, normal=_strings),
    }),
    Kind("compute_host", "compute_hosts", "compute", "/os-services", query="binary=nova-compute", keys="services",
         named="host", ident="host", declared=False),
    # Keystone (2025.1) keeps its list of role assignments in a cache that a new grant on the system does not refresh;
    # these two lists are not cached.
    Kind("system_user_role", "system_user_roles", "identity", "/system/users/{owner}/roles", keys="roles", per="user",
         declared=False),
    Kind("system_group_role", "system_group_roles", "identity", "/system/groups/{owner}/roles", keys="roles",
         per="group", declared=False),
    Kind("router_port", "router_ports", "network", "/ports", keys="ports", declared=False,
         query="device_owner=network:router_interface&device_owner=network:router_interface_distributed"
               "&fields=device_id&fields=fixed_ips"),
)  # fmt: skip

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _TABLE}
"""Every kind by its name, in dependency order: what an object refers to stands before it."""

PLURALS: Mapping[str, str] = {kind.plural: kind.name for kind in _TABLE if kind.declared}
"""The keys of a site's ``resources`` and the kinds that they hold."""

BUILT_IN: Mapping[str, frozenset[str]] = {
    "domain": frozenset({"Default"}),
    "project": frozenset({"admin"}),
    "role": frozenset({"admin", "manager", "member", "reader", "service"}),
    "user": frozenset({"admin"}),
    "service": frozenset({"keystone"}),
    "security_group": frozenset({"default"}),
}
"""Objects that exist in every cloud once the identity service is bootstrapped."""
