"""The site file: every kind of mistake in it, as data, and what a right one becomes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from saltern import catalogue, site
from saltern.errors import Problem, Problems
from saltern.model import Interface, Management, Opening, Provider, Trunk, Tunnel

from tests.unit.site_samples import full, many, nics, smallest

REPOSITORY = Path(__file__).parents[2]
GONE = object()

MISTAKES: list[tuple[str, Any, str, str]] = [
    # what is changed, its new value, the path of the problem (without: the changed one), part of what is accepted
    ("schema", GONE, "", "required"),
    ("schema", 2, "", "1, the version"),
    ("schema", True, "", "1, the version"),
    ("schema", [1], "", "1, the version"),
    ("nmae", "x", "", "did you mean 'name'"),
    ("zzz", "x", "", "accepted: api, domain"),
    ("name", GONE, "", "required"),
    ("name", None, "", "required"),
    ("name", 7, "", "in quotes"),
    ("name", "two words", "", "letters, digits"),
    ("domain", "Lab.example", "", "in lower case"),
    ("domain", "a..b", "", "domain name"),
    ("domain", "10.20", "", "domain name"),
    ("domain", "localhost", "", "reserved"),
    ("domain", "x" * 60 + ".example", "hosts:ctl1", "at most 64"),
    ("release", "2019.1", "", "did you mean '2025.1'"),
    ("release", 2025.1, "", "in quotes"),
    ("region", "a b", "", "letters, digits"),
    ("source", "snap", "", "accepted: distro"),
    ("live_migration", "tsl", "", "did you mean 'tls'"),
    ("live_migration", ["tls"], "", "one of tls, tcp"),
    ("api", "cloud", "", "a mapping"),
    ("api:name", "-x", "", "domain name"),
    ("api:name", "cmp1.lab.example", "", "not that of hosts:cmp1"),
    ("api:name", "x" * 60 + ".example", "", "at most 64"),
    ("api:address", "10.20.0.300", "", "an IPv4 address"),
    ("api:address", "10.20.0.255", "", "other than its first and last"),
    ("api:address", "10.20.0.1", "", "other than networks:management:gateway"),
    ("api:address", "10.20.0.21", "", "a controller's address: hosts:cmp1 is none"),
    ("time:servers", "ntp.lab.example", "", "a list"),
    ("time:servers", ["a b"], "time:servers:0", "the name or the IPv4 address"),
    ("time:servers", ["1.2.3"], "time:servers:0", "the name or the IPv4 address"),
    ("time:servers", ["a", "a"], "time:servers:1", "each member once"),
    ("mirrors:debian", "ftp://x", "", "http://"),
    ("mirrors:suse", "http://x", "", "accepted: debian, fedora"),
    ("networks", GONE, "", "required"),
    ("networks", [], "", "a mapping"),
    ("networks:managment", {}, "", "did you mean 'management'"),
    ("networks:management", GONE, "", "required"),
    ("networks:management:cidr", GONE, "", "required"),
    ("networks:management:cidr", "10.20.0.0", "", "an IPv4 network"),
    ("networks:management:cidr", "10.20.0.0/33", "", "an IPv4 network"),
    ("networks:management:cidr", "fd00::/64", "", "an IPv4 network"),
    ("networks:management:cidr", 10.2, "", "an IPv4 network"),
    ("networks:management:cidr", "10.20.0.9/24", "", "10.20.0.0/24"),
    ("networks:management:cidr", "10.20.0.0/31", "", "at most /30"),
    ("networks:management:cidr", "10.99.0.0/24", "hosts:cmp1:address", "an address in 10.99.0.0/24"),
    ("networks:management:gateway", "10.99.0.1", "", "an address in 10.20.0.0/24"),
    ("networks:management:gateway", "10.20.0.0", "", "other than its first and last"),
    ("networks:management:gateway", "10.20.0.21", "hosts:cmp1:address", "networks:management:gateway has this one"),
    ("networks:management:mtu", 1279, "", "1280 to 9216"),
    ("networks:management:mtu", 9217, "", "1280 to 9216"),
    ("networks:management:mtu", "1500", "", "an integer"),
    ("networks:tunnel:cidr", "10.20.0.0/16", "", "does not overlap networks:management:cidr"),
    ("networks:tunnel:cidr", "10.20.0.128/25", "", "does not overlap networks:management:cidr (10.20.0.0/24)"),
    ("networks:tunnel:cidr", "10.30.0.0/28", "hosts:cmp1:tunnel_address", "an address in 10.30.0.0/28"),
    ("networks:tunnel:cidr", "255.255.255.248/29", "hosts:cmp1:tunnel_address", "other than its first and last"),
    ("networks:tunnel:vlan", 0, "", "1 to 4094"),
    ("networks:tunnel:vlan", 4095, "", "1 to 4094"),
    ("networks:tunnel:vlan", True, "", "1 to 4094"),
    ("networks:tunnel:vlan", 150, "", "not used by networks:trunk:vlans (100-199)"),
    ("networks:tunnel", GONE, "hosts:cmp2:tunnel_address", "a network networks:tunnel"),
    ("networks:trunk:vlans", "100-199", "", "a list"),
    ("networks:trunk:vlans", ["199-100"], "networks:trunk:vlans:0", '"100-199"'),
    ("networks:trunk:vlans", ["1-5000"], "networks:trunk:vlans:0", "a VLAN from 1 to 4094"),
    ("networks:trunk:vlans", [1, {}], "networks:trunk:vlans:1", "a VLAN from 1 to 4094"),
    ("networks:trunk:vlans", [300, 300], "networks:trunk:vlans:1", "each member once"),
    ("networks:trunk:vlans", ["300-310", "305-320"], "networks:trunk:vlans", "networks:trunk:vlans (300-310)"),
    ("networks:trunk:vlans", ["190-210"], "networks:provider:public:vlan", "networks:trunk:vlans (190-210)"),
    ("networks:trunk:bridge", "br-int", "", "not br-int"),
    ("networks:trunk:bridge", "a-name-of-16-chr", "", "at most 15"),
    ("networks:trunk:bridge", "eth0", "hosts:cmp1:interfaces:eth0", "other than the bridge"),
    ("networks:trunk:physical_network", "a:b", "", "letters, digits"),
    (
        "networks:provider:office:vlan",
        200,
        "networks:provider:public:vlan",
        "not used by networks:provider:office:vlan",
    ),
    ("networks:provider:office:vlan", GONE, "", "required"),
    ("networks:provider:office:cidr", "198.51.100.0/25", "networks:provider:public:cidr", "does not overlap"),
    ("networks:provider:public:gateway", "198.51.101.1", "", "an address in 198.51.100.0/24"),
    ("networks:provider:public:gateway", "198.51.100.150", "networks:provider:public:pool", "without the gateway"),
    ("networks:provider:public:pool", "198.51.100.9", "", "a range of addresses"),
    ("networks:provider:public:pool", "198.51.100.9-x", "", "a range of addresses"),
    ("networks:provider:public:pool", 5, "", "a range of addresses"),
    ("networks:provider:public:pool", "198.51.100.9-198.51.100.5", "", "198.51.100.5-198.51.100.9"),
    ("networks:provider:public:pool", "198.51.100.200-198.51.101.9", "", "an address in 198.51.100.0/24"),
    ("networks:provider:public:external", "yes", "", "true or false"),
    ("networks:provider:public:dns", ["dns.example"], "networks:provider:public:dns:0", "an IPv4 address"),
    ("networks:provider:a b", {"vlan": 9, "cidr": "10.9.0.0/24"}, "", "letters, digits"),
    ("hosts", GONE, "", "required"),
    ("hosts", {}, "", "at least one host"),
    ("hosts", [], "", "a mapping"),
    ("hosts", {1: {}}, "hosts:1", "in quotes"),
    ("hosts:cmp1", "x", "", "a mapping"),
    ("hosts:cmp1", None, "", "a mapping"),
    ("hosts:Cmp3", {"roles": ["deploy"], "address": "10.20.0.9"}, "", "lower-case"),
    ("hosts:cmp_3", {"roles": ["deploy"], "address": "10.20.0.9"}, "", "lower-case"),
    ("hosts:-cmp", {"roles": ["deploy"], "address": "10.20.0.9"}, "", "lower-case"),
    ("hosts:123", {"roles": ["deploy"], "address": "10.20.0.9"}, "", "not all digits"),
    ("hosts:localhost", {"roles": ["deploy"], "address": "10.20.0.9"}, "", "reserved"),
    ("hosts:ip6-loopback", {"roles": ["deploy"], "address": "10.20.0.9"}, "", "reserved"),
    ("hosts:a\nb", {"roles": ["deploy"], "address": "10.20.0.9"}, r"hosts:'a\nb'", "lower-case"),
    ("firewall:admin", ["192.0.2.1/24"], "firewall:admin:0", "a network such as 192.0.2.0/24"),
    ("firewall:open", {"x": {"ports": [0], "from": ["10.0.0.0/8"]}}, "firewall:open:x:ports:0", "from 1 to 65535"),
    ("firewall:open", {"x": {"ports": ["9-8"], "from": ["10.1.1.1"]}}, "firewall:open:x:ports:0", "lower port first"),
    ("firewall:open", {"x": {"ports": [True], "from": ["10.1.1.1"]}}, "firewall:open:x:ports:0", "from 1 to 65535"),
    ("firewall:open", {"x": {"ports": [80]}}, "firewall:open:x:from", "required"),
    ("firewall:open", {"x": {"ports": [80], "from": [7]}}, "firewall:open:x:from:0", "an IPv4 address, or"),
    ("hosts:ctl1:roles", GONE, "", "required"),
    ("hosts:ctl1:roles", [], "", "at least one of deploy, controller, compute"),
    ("hosts:ctl1:roles", "controller", "", "a list"),
    ("hosts:ctl1:roles", ["compute"], "hosts", "a host with the role controller"),
    ("hosts:ctl1:roles", ["controler"], "hosts:ctl1:roles:0", "did you mean 'controller'"),
    ("hosts:ctl1:roles", ["controller", "deploy"], "", "hosts:deploy is it already"),
    ("hosts:ctl1:address", GONE, "", "required"),
    ("hosts:ctl1:address", 10, "", "an IPv4 address"),
    ("hosts:ctl1:address", "10.20.0.011", "", "an IPv4 address"),
    ("hosts:ctl1:address", "10.20.0.0", "", "other than its first and last"),
    ("hosts:ctl1:address", "10.20.0.255", "", "other than its first and last"),
    ("hosts:ctl1:address", "10.20.0.1", "", "networks:management:gateway has this one"),
    ("hosts:ctl1:address", "10.20.0.5", "", "hosts:deploy:address has this one"),
    ("hosts:ctl1:adress", "10.20.0.5", "", "did you mean 'address'"),
    ("hosts:cmp1:interfaces", GONE, "", "a device that carries trunk"),
    ("hosts:cmp1:interfaces:eth1", GONE, "hosts:cmp1:interfaces", "a device that carries trunk"),
    ("hosts:cmp1:interfaces:eth1:carries", GONE, "", "required"),
    ("hosts:cmp1:interfaces:eth1:carries", "trunks", "", "did you mean 'trunk'"),
    ("hosts:cmp1:interfaces:eth2", {"carries": "trunk"}, "hosts:cmp1:interfaces:eth2:carries", "eth1:carries has"),
    ("hosts:cmp1:interfaces:a-name-of-16-chr", {"carries": "trunk"}, "", "at most 15"),
    ("hosts:cmp1:interfaces:e/0", {"carries": "trunk"}, "", "device's name"),
    ("hosts:cmp1:interfaces:eth0:mac", "52:54:00:00:00", "", "six pairs"),
    ("hosts:cmp1:interfaces:eth0:mac", 5254, "", "in quotes"),
    ("hosts:cmp1:interfaces:eth0:mac", "01:00:5e:00:00:01", "", "not a group address"),
    ("hosts:cmp1:interfaces:eth0:mac", "00:00:00:00:00:00", "", "not all zeros"),
    ("hosts:cmp1:interfaces:eth0:mac", "52:54:00:00:00:0a", "", "hosts:ctl1:interfaces:eth0:mac has this one"),
    ("hosts:cmp1:tunnel_address", "10.30.0.0", "", "other than its first and last"),
    ("hosts:cmp1:tunnel_address", "10.30.0.99", "hosts:cmp2:tunnel_address", "hosts:cmp1:tunnel_address has this one"),
    ("hosts:ctl1:tunnel_address", "10.30.0.11", "", "no such key on a host without the role compute"),
    ("hosts:cmp1:services", [], "", "a mapping"),
    ("services:nova:file", {}, "", "did you mean 'files'"),
    ("services:nova:files", [], "", "a mapping"),
    ("services:nova:files:nova.conf", {}, "", "absolute path"),
    ("services:nova:files:/etc/../x", {}, "", "absolute path"),
    ("services:nova:files:/x:DEFAULT:x", float("nan"), "", "text, a number"),
    ("services:nova:files:/x:DEFAULT:x", [b"1"], "services:nova:files:/x:DEFAULT:x:0", "in quotes"),
    ("services:nova:files:/x:DEFAULT", {True: 1}, "services:nova:files:/x:DEFAULT:True", "in quotes"),
    ("resources:flavors", ["m1"], "", "a mapping"),
    ("resources:flavours", {}, "", "did you mean 'flavors'"),
    ("resources:flavors:m1", ["ram"], "", "a mapping"),
    ("services:nova:files:/x:DEFAULT:x", "\ud800", "", "UTF-8"),
]


def changed(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The data with the value at a path replaced; what is on the way is made."""
    *way, last = path.split(":")
    place = data
    for key in way:
        place = place.setdefault(key, {})
    if value is GONE:
        place.pop(last, None)
    else:
        place[last] = value
    return data


def problems_of(data: Any, names: Any = None) -> tuple[Problem, ...]:
    with pytest.raises(Problems) as caught:
        site.parse(data, names)
    return caught.value.problems


@pytest.mark.parametrize(("path", "value", "where", "accepted"), MISTAKES)
def test_mistakes(path: str, value: Any, where: str, accepted: str) -> None:
    found = problems_of(changed(full(), path, value))
    assert (where or path) in {problem.path for problem in found}
    assert any(accepted in problem.accepted for problem in found if problem.path == (where or path)), found
    assert all(problem.path and problem.accepted for problem in found)


@pytest.mark.parametrize("data", [None, [], "text", 1])
def test_no_mapping_at_all(data: Any) -> None:
    assert problems_of(data)[0].accepted.startswith("a mapping")


def test_all_problems_at_once() -> None:
    data = changed(changed(changed(full(), "release", "x"), "hosts:cmp1:address", "10.20.0.5"), "services:nvoa", {})
    data["resources"]["flavors"]["m1.tiny"] = {"vcpu": 1}
    paths = [problem.path for problem in problems_of(data, {"nova": {"/etc/nova/nova.conf"}})]
    assert paths == ["release", "hosts:cmp1:address", "services:nvoa", "resources:flavors:m1.tiny:vcpu"]


def test_what_saltern_itself_makes_is_not_described_twice() -> None:
    data = changed(full(), "resources:users", {"nova": {"email": "n@example.org"}, "alice": None})
    data = changed(data, "resources:networks", {"public": None})
    with pytest.raises(Problems) as caught:
        site.parse(data, {"nova": {"/etc/nova/nova.conf"}})
    paths = [problem.path for problem in caught.value.problems]
    assert paths == ["resources:users:nova", "resources:networks:public"]


def test_resources_may_refer_to_what_the_site_makes_anyway() -> None:
    data = changed(full(), "resources:routers", {"r": {"external_network": "public", "project": "service"}})
    assert site.parse(changed(data, "resources:keypairs", {}), {"nova": {"/etc/nova/nova.conf"}}).resources["routers"]


def test_a_full_site() -> None:
    found = site.parse(full())
    ctl1, cmp1, cmp2 = (found.hosts[name] for name in ("ctl1", "cmp1", "cmp2"))
    assert (found.name, found.domain, found.release, found.region) == ("lab", "lab.example", "2025.1", "North")
    assert (found.api_name, found.api_address, found.live_migration) == ("cloud.lab.example", "10.20.0.11", "tcp")
    assert (found.ntp_servers, found.mirrors) == (("ntp.lab.example", "192.0.2.1"), full()["mirrors"])
    assert found.management == Management(
        "10.20.0.0/24", "10.20.0.1", 9000, 20, ("10.20.0.53",), (("10.50.0.0/16", "10.20.0.2"),)
    )
    assert found.tunnel == Tunnel("10.30.0.0/24", 4)
    assert found.trunk == Trunk("physnet2", ((100, 199), (250, 250)), "br-x", 9216)
    pool = ("198.51.100.100", "198.51.100.199")
    public = Provider("public", 200, "198.51.100.0/24", "198.51.100.1", pool, True, False, False, ("192.0.2.53",))
    assert found.providers == {"public": public, "office": Provider("office", 201, "203.0.113.0/24")}
    assert ctl1.interfaces == (
        Interface("eth0", "management", "52:54:00:00:00:0a"),
        Interface("eth1", "trunk"),
    )
    assert (ctl1.tunnel_address, cmp1.tunnel_address, cmp2.tunnel_address) == (None, "10.30.0.21", "10.30.0.99")
    assert cmp2.services == full()["hosts"]["cmp2"]["services"]
    assert (found.services, found.resources) == (full()["services"], full()["resources"])


def test_the_smallest_site_gets_every_default() -> None:
    found = site.parse(smallest())
    assert (found.api_name, found.api_address) == ("api.one.example", "10.0.0.2")
    assert (found.release, found.region, found.live_migration) == ("2025.1", "RegionOne", "tls")
    assert (found.trunk, found.tunnel, found.hosts["a"].tunnel_address) == (Trunk(), None, None)
    assert (found.providers, found.ntp_servers, found.mirrors, found.services, found.resources) == ({}, (), {}, {}, {})


def test_null_stands_for_a_key_that_is_left_out() -> None:
    data = changed(changed(full(), "networks:management:mtu", None), "networks:provider", None)
    found = site.parse(changed(data, "mirrors", {"debian": None}))
    assert (found.management.mtu, found.providers, found.mirrors) == (1500, {}, {})


def test_a_default_tunnel_address_can_be_out_of_reach() -> None:
    data = changed(full(), "networks:tunnel:cidr", "10.30.0.0/28")
    assert "hosts:cmp1:tunnel_address" in {problem.path for problem in problems_of(data)}


def test_the_apis_are_on_the_controller_wherever_it_stands() -> None:
    data = smallest()
    data["hosts"] = {"d": {"roles": ["deploy"], "address": "10.0.0.9"}} | data["hosts"]
    assert site.parse(data).api_address == "10.0.0.2"


@pytest.mark.parametrize("role", ["controller", "deploy"])
def test_one_host_holds_the_roles_that_others_depend_on(role: str) -> None:
    data = smallest()
    data["hosts"]["b"] = {"roles": [role, "controller"], "address": "10.0.0.3", "interfaces": nics()}
    data["hosts"]["c"] = {"roles": [role, "compute"], "address": "10.0.0.4", "interfaces": nics()}
    with pytest.raises(Problems, match=f"hosts:c:roles: '{role}': one {role} host: hosts:"):
        site.parse(data)


def test_the_firewall_is_open_for_the_operator_too() -> None:
    data = smallest()
    opening = {"ports": [9100, "9200-9210"], "from": ["192.0.2.9", "0.0.0.0/0"]}
    data["firewall"] = {"admin": ["192.0.2.0/24"], "open": {"exporter": opening}}
    found = site.parse(data)
    assert found.admin == ("192.0.2.0/24",)
    assert found.openings == {"exporter": Opening(("9100", "9200-9210"), ("192.0.2.9", "0.0.0.0/0"), "tcp")}


OVERRIDES = [
    # where, what, the path of the problem, part of what is accepted
    ("services", {"nvoa": {}}, "services:nvoa", "did you mean 'nova'"),
    (
        "services",
        {"nova": {"files": {"/etc/nova/nova.con": {}}}},
        "services:nova:files:/etc/nova/nova.con",
        "nova.conf",
    ),
    ("hosts:cmp1:services", {"x": {}}, "hosts:cmp1:services:x", "accepted: nova"),
    (
        "hosts:cmp1:services",
        {"nova": {"files": {"/x": {}}}},
        "hosts:cmp1:services:nova:files:/x",
        "/etc/nova/nova.conf",
    ),
]


@pytest.mark.parametrize(("where", "value", "path", "accepted"), OVERRIDES)
def test_overrides_are_held_against_the_catalogue(where: str, value: Any, path: str, accepted: str) -> None:
    names = {"nova": {"/etc/nova/nova.conf"}}
    data = changed(full(), where, value)
    found = site.check_overrides(site.parse(data), names)
    assert [problem.path for problem in found] == [path]
    assert accepted in found[0].accepted
    assert problems_of(data, names) == found


def test_right_overrides_pass() -> None:
    assert site.check_overrides(site.parse(full()), {"nova": {"/etc/nova/nova.conf"}}) == ()


def test_sites_of_the_repository_are_valid() -> None:
    files = [*(REPOSITORY / "pillar/sites").glob("*.yaml"), REPOSITORY / "pillar/site.example.yaml"]
    assert len(files) >= 3
    assert [site.load(file).name for file in files]


@pytest.mark.no_cover
def test_a_thousand_hosts(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(yaml.safe_dump(many(1000), sort_keys=False))
    found = site.load(file)
    assert len(found.hosts) == 1000
    assert len({host.tunnel_address for host in found.having("compute")}) == 998


def test_what_the_example_only_mentions_is_accepted_too() -> None:
    text = (REPOSITORY / "pillar/site.example.yaml").read_text()
    blocks = {}
    for word in ("firewall", "resources"):
        rest = text[text.index(f"# {word}:") :].splitlines()
        block = [line[2:] for line in itertools.takewhile(lambda line: line.startswith("# "), rest)]
        blocks |= yaml.safe_load("\n".join(block))
    names = {name: service.paths() for name, service in catalogue.load(REPOSITORY / "pillar/services").items()}
    found = site.parse({**yaml.safe_load(text), **blocks}, names)
    assert found.admin
    assert found.openings
    assert len(found.resources) > 8
