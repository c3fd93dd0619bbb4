"""Finding, comparing and changing API objects, as tables of cases; objects look as the APIs list them."""

import pytest
from saltern.errors import SalternError
from saltern.resource_kinds import KINDS
from saltern.resource_plan import (
    PRETENDED,
    Unresolved,
    candidates,
    differences,
    match,
    pretended,
    reference,
    refuse_fixed,
    resolve,
    shown,
)
from saltern.resource_requests import Request, change, creation, removal

from tests.unit.resource_samples import objects


def compare(kind, name, properties):
    """Return what is wanted, what was found and the differences."""
    wanted = resolve(KINDS[kind], name, properties, objects)
    raw = match(wanted.kind, name, wanted.values, candidates(wanted, objects))
    return wanted, raw, None if raw is None else differences(wanted, raw)


# (kind, name, properties, differences as {property: (old, new)}; {} is the no-op)
COMPARED = [
    ("region", "RegionOne", {}, {}),
    ("domain", "lab", {}, {}),
    ("role", "admin", {}, {}),
    ("project", "demo", {"domain": "Default", "tags": ["a", "b"]}, {}),
    ("project", "demo", {"tags": ["a"]}, {"tags": (["a", "b"], ["a"])}),
    ("group", "ops", {}, {}),
    ("user", "nova", {"enabled": True, "password": {"secret": "x"}}, {}),
    ("user", "nova", {"email": "a@b", "enabled": False}, {"email": (None, "a@b"), "enabled": (True, False)}),
    ("role_assignment", "any label", {"role": "admin", "user": "nova", "project": "admin"}, {}),
    ("role_assignment", "x", {"role": "reader", "group": "ops", "domain": "lab"}, {}),
    ("role_assignment", "x", {"role": "reader", "user": "nova", "system": True}, {}),
    ("service", "nova", {"type": "compute"}, {}),
    ("endpoint", "x", {"service": "nova", "interface": "public", "region": "RegionOne", "url": "https://a"}, {}),
    (
        "endpoint", "x", {"service": "nova", "interface": "internal", "region": "RegionOne", "url": "https://b"},
        {"url": ("https://a", "https://b")},
    ),
    ("image", "disk", {"kernel_id": "kernel", "min_ram": 64, "properties": {"os_distro": "debian", "gone": None}}, {}),
    (
        "image", "disk", {"kernel_id": None, "properties": {"os_distro": "fedora", "hw_x": True}},
        {"kernel_id": ("i-kernel", None),
         "properties": ({"os_distro": "debian", "hw_x": None}, {"os_distro": "fedora", "hw_x": "true"})},
    ),
    ("flavor", "tiny", {"ram": 64, "vcpus": 1, "disk": 1, "swap": 0, "extra_specs": {"a": 1, "b": True}}, {}),
    ("flavor", "tiny", {"extra_specs": {"a": None, "c": 2}},
     {"extra_specs": ({"a": "1", "c": None}, {"a": None, "c": "2"})}),
    ("compute_quota", "demo", {"project": {"name": "demo", "domain": "Default"}, "cores": 20}, {}),
    ("compute_quota", "demo", {"project": "admin", "cores": 4}, {"cores": (20, 4)}),
    ("network", "public", {"provider:segmentation_id": 200, "mtu": 1500}, {}),
    ("network", "net1", {"project": {"id": "p-demo"}, "shared": True, "description": "x"},
     {"shared": (False, True), "description": ("", "x")}),
    (
        "subnet", "net1",
        {"network": {"name": "net1", "project": {"id": "p-demo"}}, "cidr": "10.1.0.0/24", "gateway_ip": None,
         "dns_nameservers": ["1.1.1.1", "9.9.9.9"],
         "allocation_pools": [{"end": "10.1.0.254", "start": "10.1.0.2"}],
         "host_routes": [{"nexthop": "10.1.0.9", "destination": "10.5.0.0/16"}]},
        {},
    ),
    ("subnet", "net6", {"network": {"id": "n-1"}, "cidr": "2001:0DB8::/64"}, {}),
    ("router", "r1", {"external_network": "public", "external_addresses": ["198.51.100.5"], "enable_snat": True,
                      "interfaces": ["net1"]}, {}),
    ("router", "r1", {"interfaces": ["net6"]}, {"interfaces": (["sub-1"], ["sub-6"])}),
    ("router", "bare", {"external_network": None}, {}),
    ("security_group", "web", {}, {}),
    ("security_group_rule", "http", {"security_group": "web", "protocol": "TCP", "port_range_min": 80,
                                     "port_range_max": 80, "remote_ip_prefix": "0.0.0.0/0"}, {}),
    ("security_group_rule", "out", {"security_group": "web", "direction": "egress", "protocol": "any"}, {}),
    ("keypair", "op", {"public_key": "ssh-ed25519 AAAA another comment"}, {}),
    ("aggregate", "rack", {"hosts": ["cmp1"], "metadata": {"ssd": True}}, {}),
    ("aggregate", "rack", {"hosts": ["cmp2", "cmp1", "cmp9"]}, {"hosts": (["cmp1"], ["cmp1", "cmp2"])}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "properties", "expected"), COMPARED)
def test_differences(kind, name, properties, expected):
    _, raw, found = compare(kind, name, properties)
    assert raw is not None
    assert found == expected


# A wanted rule that is narrower or wider than one that is there is another rule.
@pytest.mark.parametrize(
    ("kind", "properties"),
    [
        ("security_group_rule", {"security_group": "web", "protocol": "tcp"}),
        (
            "security_group_rule",
            {"security_group": "web", "protocol": "tcp", "port_range_min": 80, "port_range_max": 81},
        ),
        ("security_group_rule", {"security_group": "web", "protocol": "ICMPv6", "ethertype": "IPv6"}),
        ("role_assignment", {"role": "reader", "user": "nova", "project": "admin"}),
        ("role_assignment", {"role": "admin", "user": "nova", "system": True}),
        ("role_assignment", {"role": "reader", "group": "ops", "system": True}),
        ("endpoint", {"service": "nova", "interface": "admin", "region": "RegionOne", "url": "https://a"}),
        ("network", {}),
        ("image", {}),
    ],
)
def test_not_there(kind, properties):
    assert compare(kind, "no such", properties)[1] is None


def test_what_a_tenant_made_is_another_object():
    assert compare("image", "theirs", {"visibility": "public"})[1] is None
    assert compare("image", "theirs", {"owner": "demo", "visibility": "private"})[2] == {}
    assert compare("network", "public", {"project": {"id": "p-demo"}})[1]["id"] == "n-3"
    assert compare("security_group", "web", {})[1]["id"] == "sg"


@pytest.mark.parametrize(
    ("kind", "name", "properties", "words"),
    [
        (
            "subnet",
            "x",
            {"network": "nett", "cidr": "10.0.0.0/8", "project": "nobody"},
            ["network 'nett'", "project 'nobody'"],
        ),
        ("network", "x", {"project": "twice"}, ["p-twice-lab, p-twice-two", "{name: twice, domain: …}"]),
        ("router", "x", {"interfaces": ["a", "b"]}, ["subnet 'a'", "subnet 'b'", "there is none"]),
        ("network", "twin", {}, ["2 have this name", "{name: twin, project: …}"]),
    ],
)
def test_names_that_do_not_resolve_are_all_told(kind, name, properties, words):
    with pytest.raises(Unresolved) as caught:
        compare(kind, name, properties)
    assert [word for word in words if word not in str(caught.value)] == []


def test_references():
    assert reference("project", {"name": "demo", "domain": "lab"}, objects) == "p-demo-lab"
    assert reference("network", {"id": 7}, objects) == "7"
    assert reference("project", "demo", objects) == "p-demo"
    assert reference("project", "only-lab", objects) == "p-lab"
    assert reference("network", "public", objects) == "n-pub"
    assert reference("image", "theirs", objects) == "i-only"
    assert reference("compute_host", "cmp2", objects) == "cmp2"


def test_names_that_do_not_exist_yet_are_left_out_where_that_is_allowed():
    wanted, _, _ = compare("aggregate", "rack", {"hosts": ["cmp1", "cmp9"]})
    assert wanted.values["hosts"] == ["cmp1"]
    assert wanted.warnings == ("compute_host 'cmp9': there is none of this name: left out until it exists",)


@pytest.mark.parametrize(
    ("kind", "name", "properties", "words"),
    [
        (
            "flavor",
            "tiny",
            {"ram": 128, "vcpus": 2},
            ["ram is 64, wanted 128", "vcpus is 1, wanted 2", "the compute service"],
        ),
        ("network", "public", {"provider:segmentation_id": 201, "mtu": 1400}, ["segmentation_id is 200, wanted 201"]),
        ("keypair", "op", {"public_key": "ssh-rsa BBBB"}, ["public_key is 'ssh-ed25519 AAAA', wanted 'ssh-rsa BBBB'"]),
        ("image", "kernel", {"file": "/other"}, ["file is 'abc', wanted '/other'", "use another name"]),
    ],
)
def test_what_never_changes_is_refused(kind, name, properties, words):
    wanted, _, found = compare(kind, name, properties)
    with pytest.raises(SalternError) as caught:
        refuse_fixed(wanted, found)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "mtu" not in str(caught.value)


def test_what_may_change_is_not_refused():
    for kind, name, properties in (
        ("network", "public", {"mtu": 1400}),
        ("image", "half", {"file": "/disk"}),
        ("compute_quota", "demo", {"project": "admin", "cores": 1}),
        ("keypair", "op", {"public_key": "ssh-ed25519 AAAA"}),
    ):
        wanted, _, found = compare(kind, name, properties)
        refuse_fixed(wanted, found)


def made(kind, name, properties, password=None):
    return creation(resolve(KINDS[kind], name, properties, objects), password)


def test_creation():
    assert made("region", "Two", {"parent_region": "RegionOne"})[0].body == {
        "region": {"id": "Two", "parent_region_id": "RegionOne"}
    }
    assert made("network", "n", {"project": "admin", "router:external": True}) == [
        Request("POST", "/networks", {"network": {"name": "n", "project_id": "p-admin", "router:external": True}})
    ]
    assert made("subnet", "s", {"network": "public", "cidr": "2001:db8::/64", "gateway_ip": None})[0].body == {
        "subnet": {"name": "s", "network_id": "n-pub", "cidr": "2001:db8::/64", "gateway_ip": None, "ip_version": 6}
    }
    assert made("security_group_rule", "label", {"security_group": "web", "protocol": "any"})[0].body == {
        "security_group_rule": {
            "security_group_id": "sg", "direction": "ingress", "ethertype": "IPv4", "protocol": None,
        }
    }  # fmt: skip
    assert made("role_assignment", "x", {"role": "admin", "user": "nova", "project": "admin"}) == [
        Request("PUT", "/projects/p-admin/users/u-nova/roles/r-admin")
    ]
    assert made("role_assignment", "x", {"role": "admin", "group": "ops", "domain": "lab"})[0].path == (
        "/domains/d-lab/groups/g-ops/roles/r-admin"
    )
    assert made("role_assignment", "x", {"role": "admin", "group": "ops", "system": True})[0].path == (
        "/system/groups/g-ops/roles/r-admin"
    )


def test_creation_with_calls_of_its_own():
    assert made("flavor", "f", {"ram": 1, "vcpus": 1, "disk": 1, "extra_specs": {"a": True, "b": None}})[1:] == [
        Request("POST", "/flavors/{id}/os-extra_specs", {"extra_specs": {"a": "true"}})
    ]
    router = made(
        "router", "r", {"external_network": "public", "external_addresses": ["198.51.100.9"], "interfaces": ["net6"]}
    )
    assert router[0].body["router"]["external_gateway_info"] == {
        "network_id": "n-pub", "external_fixed_ips": [{"ip_address": "198.51.100.9"}],
    }  # fmt: skip
    assert router[1] == Request("PUT", "/routers/{id}/add_router_interface", {"subnet_id": "sub-6"})
    image = made("image", "i", {"file": "file:///disk.img", "properties": {"hw_x": True, "gone": None}})
    assert image[0].body == {
        "name": "i", "disk_format": "qcow2", "container_format": "bare", "hw_x": "true", "owner": "p-admin",
    }  # fmt: skip
    assert (image[1].path, image[1].upload) == ("/images/{id}/file", "/disk.img")
    aggregate = made("aggregate", "a", {"hosts": ["cmp1"], "metadata": {"ssd": True}})
    assert [request.body for request in aggregate[1:]] == [
        {"add_host": {"host": "cmp1"}}, {"set_metadata": {"metadata": {"ssd": "true"}}},
    ]  # fmt: skip


def test_a_password_goes_into_the_body_only_and_is_not_shown():
    request = made("user", "demo", {"password": {"secret": "identity_demo"}}, "s3cret")[0]
    assert request.body["user"] == {"name": "demo", "domain_id": "default", "password": "s3cret"}
    assert request.secret
    assert "s3cret" not in repr(request)
    wanted, raw, found = compare("user", "nova", {"password": {"secret": "x"}})
    assert change(wanted, raw, found, "s3cret") == [
        Request("PATCH", "/users/u-nova", {"user": {"password": "s3cret"}}, secret=True)
    ]


def changed(kind, name, properties):
    return change(*compare(kind, name, properties))


def test_change():
    assert changed("network", "public", {"mtu": 1500}) == []
    assert changed("network", "public", {"mtu": 1400}) == [
        Request("PUT", "/networks/n-pub", {"network": {"mtu": 1400}})
    ]
    assert changed("compute_quota", "demo", {"project": "admin", "cores": 4}) == [
        Request("PUT", "/os-quota-sets/p-admin", {"quota_set": {"cores": 4}})
    ]
    assert changed("router", "r1", {"external_network": None, "interfaces": ["net6"]}) == [
        Request("PUT", "/routers/rt", {"router": {"external_gateway_info": None}}),
        Request("PUT", "/routers/rt/remove_router_interface", {"subnet_id": "sub-1"}),
        Request("PUT", "/routers/rt/add_router_interface", {"subnet_id": "sub-6"}),
    ]
    # The gateway is only ever replaced whole.
    assert changed("router", "r1", {"external_network": "public", "enable_snat": False})[0].body == {
        "router": {"external_gateway_info": {"enable_snat": False, "network_id": "n-pub"}}
    }
    assert changed("flavor", "tiny", {"extra_specs": {"a": None, "c": 2}}) == [
        Request("POST", "/flavors/1/os-extra_specs", {"extra_specs": {"c": "2"}}),
        Request("DELETE", "/flavors/1/os-extra_specs/a"),
    ]
    assert changed("aggregate", "rack", {"hosts": ["cmp2"]}) == [
        Request("POST", "/os-aggregates/3/action", {"remove_host": {"host": "cmp1"}}),
        Request("POST", "/os-aggregates/3/action", {"add_host": {"host": "cmp2"}}),
    ]


def test_change_of_an_image_is_a_json_patch():
    request = changed("image", "disk", {"min_ram": 32, "properties": {"os_distro": None, "a/b~c": 1}})[0]
    assert request.content_type.endswith("json-patch")
    assert request.body == [
        {"op": "replace", "path": "/min_ram", "value": 32},
        {"op": "remove", "path": "/os_distro"},
        {"op": "add", "path": "/a~1b~0c", "value": "1"},
    ]
    upload = changed("image", "half", {"file": "/disk"})
    assert [(each.method, each.path, each.upload) for each in upload] == [("PUT", "/images/i-half/file", "/disk")]


@pytest.mark.parametrize(
    ("kind", "name", "properties", "calls"),
    [
        ("network", "public", {}, [("DELETE", "/networks/n-pub")]),
        ("router", "r1", {}, [("PUT", "/routers/rt/remove_router_interface"), ("DELETE", "/routers/rt")]),
        ("aggregate", "rack", {}, [("POST", "/os-aggregates/3/action"), ("DELETE", "/os-aggregates/3")]),
        ("domain", "lab", {}, [("PATCH", "/domains/d-lab"), ("DELETE", "/domains/d-lab")]),
        ("keypair", "op", {}, [("DELETE", "/os-keypairs/op")]),
        ("keypair", "op", {"user": "nova"}, [("DELETE", "/os-keypairs/op?user_id=u-nova")]),
        ("role_assignment", "x", {"role": "admin", "user": "nova", "project": "admin"},
         [("DELETE", "/projects/p-admin/users/u-nova/roles/r-admin")]),
    ],
)  # fmt: skip
def test_removal(kind, name, properties, calls):
    wanted, raw, _ = compare(kind, name, properties)
    assert [(request.method, request.path) for request in removal(wanted, raw)] == calls


def test_changes_are_shown_with_names():
    wanted, _, found = compare("router", "r1", {"external_network": None, "interfaces": ["net6"], "enable_snat": False})
    assert shown(wanted, found, objects) == {
        "enable_snat": {"old": True, "new": False},
        "external_network": {"old": "public", "new": None},
        "interfaces": {"old": ["net1"], "new": ["net6"]},
    }


def test_a_pretended_object_can_be_found_and_owns_nothing_yet():
    for kind, name, properties in (
        ("subnet", "s", {"network": "public", "cidr": "10.9.0.0/24"}),
        ("role_assignment", "x", {"role": "reader", "user": "nova", "project": "admin"}),
        ("project", "new", {"domain": "lab"}),
    ):
        wanted = resolve(KINDS[kind], name, properties, objects)
        raw = pretended(wanted)
        assert match(wanted.kind, name, wanted.values, [raw]) is raw
    assert str(raw["id"]).startswith(PRETENDED)
