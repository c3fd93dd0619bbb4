"""The `resources` of a site file: order and mistakes."""

import pytest
from saltern.resource_kinds import KINDS, PLURALS
from saltern.resources import check, ordered, validate

GOOD = {
    "networks": {
        "public": {"provider:network_type": "vlan", "provider:segmentation_id": 200, "router:external": True},
        "net1": {"project": "demo"},
        "old": {"absent": True},
    },
    "routers": {"r1": {"external_network": "public", "interfaces": ["net1"]}},
    "subnets": {"net1": {"network": {"name": "net1"}, "cidr": "10.0.0.0/24", "allocation_pools": None}},
    "projects": {"child": {"parent": "demo"}, "demo": None, "old": {"absent": True}},
    "users": {"demo": {"password": {"secret": "identity_demo"}, "default_project": "demo"}},
    "role_assignments": {"demo": {"role": "member", "user": "demo", "project": "demo"}},
    "images": {"disk": {"kernel_id": "kernel", "ramdisk_id": {"id": "1234"}}, "kernel": {"file": "/k"}},
    "flavors": {"tiny": {"ram": 64, "vcpus": 1, "disk": 1}},
    "aggregates": {"rack": {"hosts": ["cmp1"]}},
    "endpoints": {"x": {"service": "s3", "interface": "public", "region": "RegionOne", "url": "https://x"}},
}
KNOWN = {"service": ["s3"]}


def test_a_good_site_has_no_problems():
    assert validate(GOOD, KNOWN) == []
    assert validate({}) == []
    assert validate({"networks": None}) == []


def test_order():
    names = [f"{kind} {name}" for kind, name, _ in ordered(GOOD)]
    assert names == [
        "network old", "project old",
        "project demo", "project child", "user demo", "role_assignment demo", "endpoint x",
        "image kernel", "image disk",
        "flavor tiny", "network public", "network net1", "subnet net1", "router r1", "aggregate rack",
    ]  # fmt: skip
    assert ordered({}) == []


def test_a_circle_of_references_ends():
    circle = {"projects": {"a": {"parent": "b"}, "b": {"parent": "a"}}}
    assert sorted(name for _, name, _ in ordered(circle)) == ["a", "b"]


def test_every_reference_points_to_a_kind_that_is_made_before():
    order = list(KINDS)
    for kind in KINDS.values():
        if kind.declared:
            for field in kind.fields.values():
                assert not field.refers or field.refers in KINDS
                assert (
                    not field.refers
                    or not KINDS[field.refers].declared
                    or order.index(field.refers) <= order.index(kind.name)
                )
            assert set(kind.identity) <= set(kind.fields)


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([], ["resources: []: a mapping of kinds"]),
        ({"netwroks": {}}, ["resources:netwroks: 'netwroks': unknown; did you mean 'networks'?"]),
        ({"networks": ["a"]}, ["resources:networks: ['a']: a mapping of names"]),
        ({"networks": {"a": 1}}, ["resources:networks:a: 1: a mapping of properties"]),
        ({"networks": {"a": {"mtuu": 1}}}, ["resources:networks:a:mtuu: 'mtuu': unknown; did you mean 'mtu'?"]),
        ({"networks": {"a": {"mtu": "1500"}}}, ["resources:networks:a:mtu: '1500': a whole number"]),
        ({"networks": {"a": {"mtu": True}}}, ["resources:networks:a:mtu: True: a whole number"]),
        ({"networks": {"a": {"shared": "yes"}}}, ["resources:networks:a:shared: 'yes': true or false"]),
        ({"networks": {"a": {"absent": "yes"}}}, ["resources:networks:a:absent: 'yes': true or false"]),
        ({"flavors": {"a": {"extra_specs": ["x"]}}}, ["resources:flavors:a:extra_specs: ['x']: a mapping"]),
        (
            {"subnets": {"a": {"cidr": "10.0.0.0/33"}}},
            [
                "resources:subnets:a:cidr: '10.0.0.0/33': another form (ValueError: '10.0.0.0/33' does not appear "
                "to be an IPv4 or IPv6 network)",
                "resources:subnets:a:network: None: required",
            ],
        ),
        (
            {"images": {"a": {"visibility": "open"}}},
            ["resources:images:a:visibility: 'open': one of: public, private, shared, community"],
        ),
        # Whatever stands there instead of a secret's name may be the password: it is not shown.
        (
            {"users": {"a": {"password": "hunter2"}}},
            ["resources:users:a:password: '(hidden)': {secret: name of a secret}"],
        ),
        ({"networks": {"a": {"project": 3}}}, ["resources:networks:a:project: 3: a name, {name: …} or {id: …}"]),
        ({"networks": {"a": {"project": "demoo"}}, "projects": {"demo": {}}},
         ["resources:networks:a:project: 'demoo': unknown; did you mean 'demo'?"]),
        ({"subnets": {"a": {"cidr": "10.0.0.0/8", "network": "n"}}},
         ["resources:subnets:a:network: 'n': no network is declared"]),
        # An object that is to go is no object to refer to.
        ({"networks": {"a": {"project": "demo"}}, "projects": {"demo": {"absent": True}}},
         ["resources:networks:a:project: 'demo': unknown; accepted: admin"]),
        ({"compute_quotas": {"a": {"project": "admin", "absent": True}}},
         ["resources:compute_quotas:a:absent: True: left out: a quota goes with its project"]),
        ({"role_assignments": {"a": {"role": "admin", "user": "admin", "project": "admin", "system": True}}},
         ["resources:role_assignments:a: ['project', 'system']: exactly one of: project, domain, system"]),
        ({"role_assignments": {"a": {"role": "admin", "system": True}}},
         ["resources:role_assignments:a: []: exactly one of: user, group"]),
    ],
)  # fmt: skip
def test_mistakes(resources, expected):
    assert [str(problem) for problem in validate(resources)] == expected


def test_all_mistakes_are_told_at_once():
    bad = {"x": {}, "networks": {"a": {"mtu": "x", "foo": 1}, "b": {"shared": 1}}, "flavors": {"f": []}}
    assert len(validate(bad)) == 5


def test_one_object_by_itself():
    assert check(KINDS["network"], "a", {"mtu": 1500}) == []
    assert [str(each) for each in check(KINDS["service"], "a", {})] == ["service:a:type: None: required"]
    assert len(PLURALS) == len([kind for kind in KINDS.values() if kind.declared])
