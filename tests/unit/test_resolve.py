"""The plan of a host: what it holds, what it must not hold, and what is refused."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from saltern import derive, groups, registration, resolve
from saltern.errors import Problems

from tests.sample import Recognisable, plan, real_catalogue, sample_data, sample_site

NOVA = "/etc/nova/nova.conf"
COMPUTE = ("identity_nova", "metadata_proxy", "nova_ssh_host_key", "nova_ssh_key", "rabbitmq_nova")
"""What a compute host is given."""


def overridden(host: Any = None, **files: Any) -> dict[str, Any]:
    data = sample_data()
    target = data["hosts"][host] if host else data
    target["services"] = {"nova": {"files": files}}
    return data


def test_an_override_wins_and_null_brings_back_upstreams_default() -> None:
    data = overridden(**{NOVA: {"libvirt": {"virt_type": "qemu"}, "vnc": {"enabled": None}}})
    data["hosts"]["cmp1"]["services"] = {"nova": {"files": {NOVA: {"libvirt": {"virt_type": "lxc"}}}}}
    first, second = (plan(host, data).services["nova"].files[NOVA] for host in ("cmp1", "cmp2"))
    assert (first.settings["libvirt"]["virt_type"], second.settings["libvirt"]["virt_type"]) == ("lxc", "qemu")
    assert "enabled" not in first.settings["vnc"]
    assert first.layers["libvirt", "virt_type"] == [("catalogue", "kvm"), ("site", "qemu"), ("host", "lxc")]


def test_a_compute_host_is_given_no_secret_of_others() -> None:
    given = set(plan("cmp1").as_data()["secrets"])
    assert given == set(COMPUTE)
    assert "canary-mariadb" not in str(plan("cmp1").as_data())


def test_the_deploy_host_gets_the_administrators_password_only() -> None:
    assert set(plan("deploy").as_data()["secrets"]) == {"identity_admin"}


def test_options_with_secrets_are_marked() -> None:
    conf = plan("ctl1").services["nova"].files[NOVA]
    assert {"api_database.connection", "DEFAULT.transport_url", "placement.password"} <= set(conf.secret)
    assert all("canary" not in str(conf.settings[section][option]) or f"{section}.{option}" in conf.secret
               for section in conf.settings for option in conf.settings[section])  # fmt: skip


def test_all_missing_secrets_are_named_at_once() -> None:
    with pytest.raises(Problems) as caught:
        resolve.resolve(sample_site(), real_catalogue(), {}, "cmp1")
    assert [problem.path for problem in caught.value.problems] == [f"secrets:{name}" for name in COMPUTE]


def test_an_override_may_name_a_secret_which_only_hosts_that_use_it_are_given() -> None:
    data = overridden(**{NOVA: {"vendordata": {"password": {"secret": "all"}, "user": {"secret": "most"}}}})
    own = {NOVA: {"vendordata": {"password": {"secret": "own"}, "user": None}}}
    data["hosts"]["cmp2"]["services"] = {"nova": {"files": own}}
    plans = {host: plan(host, data) for host in data["hosts"]}
    ours = {"all", "most", "own"}
    given = {host: ours & set(each.as_data()["secrets"]) for host, each in plans.items()}
    assert given == {"deploy": set(), "ctl1": {"all", "most"}, "cmp1": {"all", "most"}, "cmp2": {"own"}}
    first, second = (plans[host].services["nova"].files[NOVA] for host in ("cmp1", "cmp2"))
    assert first.settings["vendordata"] == {"password": "canary-all", "user": "canary-most"}
    assert second.settings["vendordata"] == {"password": "canary-own"}
    assert {"vendordata.password", "vendordata.user"} <= set(first.secret)
    assert "vendordata.password" in second.secret
    assert ours <= set(resolve.required_secrets(sample_site(data), real_catalogue()))


def test_a_secret_that_an_override_names_and_that_is_not_there_is_told() -> None:
    data = overridden("cmp2", **{NOVA: {"vendordata": {"password": {"secret": "mine"}}}})
    known = dict.fromkeys(resolve.required_secrets(sample_site(), real_catalogue()), "x")
    known |= dict.fromkeys(derive.SECRET_FORMS, "<secret x>")
    assert resolve.resolve(sample_site(data), real_catalogue(), known, "cmp1")
    with pytest.raises(Problems, match="secrets:mine: None: missing"):
        resolve.resolve(sample_site(data), real_catalogue(), known, "cmp2")


def test_an_unknown_host_is_refused_with_a_suggestion() -> None:
    with pytest.raises(Problems, match="did you mean 'cmp1'"):
        resolve.resolve(sample_site(), real_catalogue(), {}, "cmp11")


def test_required_secrets_are_those_of_all_hosts() -> None:
    names = resolve.required_secrets(sample_site(), real_catalogue())
    asked = {name for host in sample_site().hosts for name in plan(host).secrets}
    assert set(names) == asked
    assert names == sorted(names)


def test_an_api_listens_on_the_loopback_and_haproxy_in_front() -> None:
    services = plan("ctl1").services
    ini = services["nova"].files["/etc/saltern/uwsgi/nova-api.ini"].settings["uwsgi"]
    assert ini["http-socket"] == "127.0.0.1:8774"
    assert (
        "    bind 10.20.0.11:8774 ssl crt /etc/saltern/pki/api.pem"
        in services["haproxy"].files["/etc/haproxy/haproxy.cfg"].settings
    )
    assert services["nova"].part["units"]["nova-api.service"]["probe"]["url"] == "http://127.0.0.1:8774/"
    assert not any(path.startswith("/etc/saltern/uwsgi/novncproxy") for path in services["nova"].files)


def test_the_firewall_lets_in_only_whom_a_port_is_for() -> None:
    opened = {(each["service"], port): each["sources"] for each in plan("ctl1").openings for port in each["ports"]}
    assert opened["mariadb", 3306] == ["10.20.0.11"]
    assert opened["rabbitmq", 5671] == ["10.20.0.11", "10.20.0.21", "10.20.0.22"]
    assert opened["nova", 8775] == ["10.20.0.21", "10.20.0.22"]
    assert opened["keystone", 5000] == []
    tunnels = {port: each["sources"] for each in plan("cmp1").openings for port in each["ports"]}
    assert tunnels[6081] == ["10.30.0.21", "10.30.0.22"]


def test_without_a_tunnel_network_tunnels_run_over_management() -> None:
    data = sample_data()
    del data["networks"]["tunnel"]
    steps = plan("cmp1", data).services["openvswitch"].part["steps"]
    settings = steps[0]["arguments"]["settings"]
    assert settings["external_ids"]["ovn-encap-ip"] == "10.20.0.21"
    assert "tunnel0" not in str(settings["bridges"])


def test_a_tunnel_port_carries_its_vlan_unless_untagged() -> None:
    settings = plan("cmp1").services["openvswitch"].part["steps"][0]["arguments"]["settings"]
    assert settings["bridges"]["br-trunk"]["ports"]["tunnel0"] == {"type": "internal", "tag": 4}
    data = sample_data()
    del data["networks"]["tunnel"]["vlan"]
    settings = plan("cmp1", data).services["openvswitch"].part["steps"][0]["arguments"]["settings"]
    assert settings["bridges"]["br-trunk"]["ports"]["tunnel0"] == {"type": "internal"}


@pytest.mark.parametrize(("mode", "native"), [("tls", True), ("tcp", False)])
def test_live_migration_is_by_the_scheme_of_the_site(mode: str, native: bool) -> None:
    libvirt = plan("cmp1", {**sample_data(), "live_migration": mode}).services["nova"].files[NOVA].settings["libvirt"]
    assert (libvirt["live_migration_scheme"], libvirt["live_migration_with_native_tls"]) == (mode, native)


def test_time_flows_from_the_sites_servers_through_the_controllers() -> None:
    data = {**sample_data(), "time": {"servers": ["192.0.2.7"]}}
    controller = plan("ctl1", data).services["chrony"].files["/etc/chrony/chrony.conf"].settings
    compute = plan("cmp1", data).services["chrony"].files["/etc/chrony/chrony.conf"].settings
    assert controller["server"] == ["192.0.2.7 iburst"]
    assert compute["server"] == ["10.20.0.11 iburst minpoll 4 maxpoll 6"]
    assert "allow" not in compute


def context(host: str = "ctl1") -> derive.Context:
    site = sample_site()
    return derive.Context(
        site, site.hosts[host], real_catalogue(), {}, lambda name: resolve.Secret(f"p@{name}"), "nova"
    )


def test_passwords_are_quoted_in_urls() -> None:
    assert "nova:p%40mariadb_nova@" in groups.database(context(), {"name": "nova"})["database"]["connection"]
    assert "nova:p%40rabbitmq_nova@" in groups.messaging(context(), {})["DEFAULT"]["transport_url"]


def test_a_password_hash_is_rabbitmqs_and_stays_the_same() -> None:
    import base64
    import hashlib

    raw = base64.b64decode(groups.rabbitmq_hash("secret"))
    assert raw[4:] == hashlib.sha256(raw[:4] + b"secret").digest()
    assert groups.rabbitmq_hash("secret") == groups.rabbitmq_hash("secret")


@pytest.mark.parametrize(("name", "expected"), [("adress", "did you mean 'address'"), ("url.computer", "service type")])
def test_an_unknown_fact_is_refused(name: str, expected: str) -> None:
    with pytest.raises(Problems, match=expected):
        derive.fact(context(), name)


def test_facts_are_filled_at_any_depth() -> None:
    data = {"a": [{"facts": {"host": "name"}}], "facts": {"key": "secret.x"}, "b": 1}
    assert derive.filled(context(), data) == {"a": [{"host": "ctl1.cloud.example"}], "b": 1, "key": "p@x"}


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(Problems, match="did you mean 'messaging'"):
        resolve._used(context(), ["mesaging"], {})


def test_provider_networks_and_the_sites_objects_follow_the_registration() -> None:
    data = {**sample_data(), "resources": {"flavors": {"small": {"ram": 512}}, "projects": {"demo": None}}}
    objects = plan("ctl1", data).resources
    tiers = [each["tier"] for each in objects]
    assert tiers == sorted(tiers, key=["registration", "resources"].index)
    named = {(each["kind"], each["name"]): each for each in objects}
    assert named["network", "public"]["properties"]["provider:segmentation_id"] == 200
    assert named["subnet", "public"]["properties"]["allocation_pools"] == [
        {"start": "198.51.100.100", "end": "198.51.100.199"}
    ]
    assert named["subnet", "plain"]["properties"]["dns_nameservers"] == ["203.0.113.53"]
    assert named["flavor", "small"] == {
        "service": "nova", "tier": "resources", "kind": "flavor", "name": "small", "properties": {"ram": 512},
    }  # fmt: skip
    assert ("user", "placement") in named
    assert ("user", "keystone") not in named
    assert registration.KEEPERS["identity"] == "keystone"
    assert plan("cmp1", data).resources == []


def test_a_password_in_the_sites_objects_is_a_secret_like_any_other() -> None:
    users = {"alice": {"password": {"secret": "alice"}}, "bob": {"password": {"secret": "bob"}, "absent": True}}
    data = {**sample_data(), "resources": {"users": users}}
    given = plan("ctl1", data).as_data()["secrets"]
    assert given["alice"] == "canary-alice"
    assert "bob" not in given
    bob = next(each for each in plan("ctl1", data).resources if each["name"] == "bob")
    assert bob["properties"] == {"absent": True}


def test_a_word_of_the_operators_that_reads_secret_is_none() -> None:
    images = {"i": {"file": "/x", "properties": {"secret": "of the sea"}}}
    objects = plan("ctl1", {**sample_data(), "resources": {"images": images}})
    assert "of the sea" not in objects.as_data()["secrets"]
    assert next(each for each in objects.resources if each["kind"] == "image")["properties"] == images["i"]


def test_a_provider_networks_subnet_is_that_of_the_operators_network() -> None:
    subnets = [each for each in plan("ctl1").resources if each["kind"] == "subnet"]
    assert [each["properties"]["network"]["project"] for each in subnets] == ["admin", "admin"]


@pytest.mark.parametrize(
    ("vlans", "tunnel", "ranges", "kinds"),
    [
        (["100-199", 250], True, ["physnet1:100:199", "physnet1:250:250"], ["vlan", "geneve"]),
        ([300], False, ["physnet1:300:300"], ["vlan"]),
        ([], True, ["physnet1"], ["geneve"]),
        ([], False, ["physnet1"], ["vlan"]),
    ],
)
def test_tenants_networks_are_of_the_kinds_that_the_site_has(
    vlans: list[Any], tunnel: bool, ranges: list[str], kinds: list[str]
) -> None:
    data = sample_data()
    data["networks"]["trunk"] = {"vlans": vlans, "mtu": 9000}
    if not tunnel:
        del data["networks"]["tunnel"]
    files = plan("ctl1", data).services["neutron"].files
    ml2 = files["/etc/neutron/plugins/ml2/ml2_conf.ini"].settings
    assert (ml2["ml2_type_vlan"]["network_vlan_ranges"], ml2["ml2"]["tenant_network_types"]) == (ranges, kinds)
    assert files["/etc/neutron/neutron.conf"].settings["DEFAULT"]["global_physnet_mtu"] == 9000
    step = plan("cmp1", data).services["openvswitch"].part["steps"][0]
    assert step["arguments"]["settings"]["bridges"]["br-trunk"]["ports"]["eth1"] == {"mtu": 9000}


def test_libvirt_lets_no_name_in_that_qemu_may_show() -> None:
    libvirt = plan("cmp1").services["libvirt"]
    known = libvirt.files["/etc/libvirt/libvirtd.conf"].settings["tls_allowed_dn_list"]
    names = {name: f"CN={each['common_name']}" for name, each in libvirt.certificates.items()}
    assert names["libvirt-client"] in known
    assert not {names["qemu-client"], names["qemu-server"]} & set(known)


def test_the_sites_own_openings_are_on_every_host() -> None:
    opening = {"ports": [9100], "from": ["192.0.2.9"]}
    data = {**sample_data(), "firewall": {"admin": ["192.0.2.0/24"], "open": {"exporter": opening}}}
    for host in sample_site().hosts:
        openings = {each["service"]: each for each in plan(host, data).openings}
        assert openings["exporter"]["sources"] == ["192.0.2.9"]
        ssh = next(each for each in plan(host, data).openings if each["ports"] == [22])
        assert ssh["sources"] == ["10.20.0.0/24", "192.0.2.0/24"]


def test_a_plan_is_plain_data() -> None:
    def check(value: Any) -> None:
        assert type(value) in (dict, list, str, int, float, bool, type(None)), type(value)
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
            check(each)

    for host in sample_site().hosts:
        check(plan(host).as_data())


def test_certificates_name_the_host_they_are_for() -> None:
    assert plan("cmp1").services["ovn"].certificates["ovn-chassis"]["common_name"] == "cmp1"
    assert "mariadb-server" in plan("ctl1").services["mariadb"].packages
    assert Recognisable()["x"] == "canary-x"


def test_a_key_pairs_public_half_is_derived_and_a_broken_key_refused() -> None:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert groups.ssh_public("nova_ssh_key", private) == public
    with pytest.raises(Problems) as caught:
        groups.ssh_public("nova_ssh_key", "rubbish")
    assert "nova_ssh_key" in str(caught.value)
    assert "rubbish" not in str(caught.value)


def test_only_compute_hosts_may_use_novas_key() -> None:
    files = plan("cmp1").services["migration"].files
    assert files["/var/lib/nova/.ssh/authorized_keys"].settings[0].startswith('from="10.20.0.21,10.20.0.22",restrict ')
    assert files["/var/lib/nova/.ssh/id_saltern"].secret == ("",)


def test_a_port_for_a_role_that_nobody_holds_stays_shut() -> None:
    data = sample_data()
    del data["hosts"]["cmp1"], data["hosts"]["cmp2"]
    ports = {port for each in plan("ctl1", data).openings for port in each["ports"]}
    assert not ports & {8775, 6642}
    assert 5000 in ports


def test_each_host_sends_routed_frames_under_a_mac_of_its_own() -> None:
    macs = {derive.fact(context(host), "chassis_mac") for host in ("cmp1", "cmp2")}
    assert len(macs) == 2
    assert all(mac.startswith("physnet1:0e:") and len(mac.split(":")) == 7 for mac in macs)
