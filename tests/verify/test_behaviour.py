"""What the cloud does and refuses to do, seen from its hosts."""

from __future__ import annotations

import json
import time
from typing import Any

import doors
import expected
import knocking
import openstack
import pytest
import testinfra
from knocking import Met
from saltern import catalogue

MODEL = expected.model()
LEADER = MODEL.having("controller")[0].id
COMPUTES = [host.id for host in MODEL.having("compute")]
testinfra_hosts = [f"salt://{LEADER}"]
#: Neutron lists an agent once it has answered a ping, which goes out, and is answered, within 75 s (agent_down_time).
HEARTBEAT = 90
#: Seconds within which the workers of an API that was just restarted have loaded it.
STARTING = 30


def meetings(met: Met, door: str, among: set[str] | None = None) -> dict[str, str]:
    """Return what the hosts, or some of them, the door's own aside, met at a door of the leading controller."""
    return knocking.among(met, door, (set(MODEL.hosts) if among is None else among) - {LEADER})


def sources(port: int) -> set[str]:
    """Return the hosts that the leading controller's firewall lets in to a port."""
    found: set[str] = set()
    for host, _, number, opening in expected.openings():
        if host == LEADER and number == port:
            by_address = {each.address: each.id for each in MODEL.hosts.values()}
            given = opening["sources"]
            found |= {by_address[each] for each in given if each in by_address} if given else set(MODEL.hosts)
    return found


@pytest.mark.parametrize("port", sorted(doors.apis()))
def test_api_speaks_tls_only(met: Met, port: int) -> None:
    clear = {host: said for host, said in meetings(met, f"clear {port}").items() if said.startswith("HTTP/")}
    assert not clear, f"port {port} ({doors.apis()[port]}) answers in clear text: {clear}"
    inside = meetings(met, f"tls {port}", sources(port))
    bad = {host: said for host, said in inside.items() if said != "verified"}
    assert not bad, f"port {port} ({doors.apis()[port]}): no verified TLS: {bad}"


SHUT_OUT = {port: others for port in sorted(doors.apis()) if (others := set(MODEL.hosts) - sources(port) - {LEADER})}
"""API's port → hosts that have no business there; most are open to all."""


@pytest.mark.parametrize("port", SHUT_OUT)
def test_api_is_closed_to_others(met: Met, port: int) -> None:
    said = meetings(met, f"tls {port}", SHUT_OUT[port])
    let_in = {host: each for host, each in said.items() if not each.startswith("closed")}
    assert not let_in, f"port {port} ({doors.apis()[port]}) is open to {let_in}"


@pytest.mark.parametrize("door", ["memcached", "mariadb", "amqp in clear", "northbound"])
def test_inner_service_is_closed(met: Met, door: str) -> None:
    let_in = {host: said for host, said in meetings(met, door).items() if not said.startswith("closed")}
    assert not let_in, f"{door} is open to {let_in}"


def test_southbound_wants_a_certificate(met: Met) -> None:
    for host, said in meetings(met, "southbound without certificate", set(COMPUTES)).items():
        assert said.startswith("refused"), f"{host}: OVN southbound without a certificate: {said}"
    for host, said in meetings(met, "southbound as chassis", set(COMPUTES)).items():
        assert said == "verified", f"{host}: OVN southbound with the chassis certificate: {said}"


@pytest.mark.skipif(MODEL.live_migration != "tls" or len(COMPUTES) < 2, reason="one compute host, or no libvirt TLS")
@pytest.mark.parametrize("host", COMPUTES)
def test_libvirt_takes_its_own_authority_only(met: Met, host: str) -> None:
    others = set(COMPUTES) - {host}
    for other, said in knocking.among(met, f"libvirt of {host}", others).items():
        assert said == "verified", f"{other}: libvirt of {host} with libvirt's certificate: {said}"
    for other, said in knocking.among(met, f"libvirt of {host} as API", others).items():
        assert said.startswith("refused"), f"{other}: libvirt of {host} with an API certificate: {said}"
    for other, said in knocking.among(met, f"libvirt of {host} in clear", others).items():
        assert said.startswith("closed"), f"{other}: libvirt of {host} in clear text: {said}"


@pytest.mark.parametrize("name", [each.id for each in MODEL.hosts.values() if {"controller", "deploy"} & {*each.roles}])
def test_the_operators_command_works(name: str) -> None:
    said = testinfra.get_host(f"salt://{name}").run("env OS_CLOUD=saltern openstack endpoint list --format json")
    assert said.rc == 0, f"{name}: openstack: {said.stderr}"
    urls = {each["URL"] for each in json.loads(said.stdout)}
    assert any(url.startswith(f"https://{MODEL.api_name}:5000") for url in urls), f"{name}: endpoints: {urls}"


def test_database_refuses_clear_text(host: Any) -> None:
    address = MODEL.hosts[LEADER].address
    said = host.run(f"mariadb --skip-ssl --protocol=tcp --host={address} --user=nobody --execute='select 1'")
    assert said.rc != 0, "MariaDB let a stranger in"
    assert "insecure transport" in said.stderr, f"MariaDB without TLS: {said.stderr.strip()}"


def test_database_does_not_end_transactions_that_nobody_repeats(host: Any) -> None:
    said = host.run("mariadb --skip-column-names --execute='select @@global.innodb_snapshot_isolation'")
    assert said.rc == 0, said.stderr
    assert said.stdout.strip() == "0", "MariaDB: innodb_snapshot_isolation is on: deletions of instances get stuck"


def test_chassis_are_the_compute_hosts(host: Any) -> None:
    said = host.run("ovn-sbctl --format=json --columns=name,hostname,other_config list Chassis")
    assert said.rc == 0, said.stderr
    rows = json.loads(said.stdout)["data"]
    assert sorted(row[0] for row in rows) == sorted(COMPUTES)
    plain = [row[0] for row in rows if "enable-chassis-as-gw" not in dict(row[2][1]).get("ovn-cms-options", "")]
    assert not plain, f"no gateway chassis: {', '.join(plain)}"


def test_every_worker_of_neutron_hears_ovn(host: Any) -> None:
    """An event of OVN is one worker's business, chosen among those listed: a deaf one loses it, and a port stays down.

    neutron.common.ovn.hash_ring_manager; a worker in life is touched every 30 s (HASH_RING_TOUCH_INTERVAL).
    """
    wanted = {each.id: (neutron_workers(each.id),) * 2 for each in MODEL.having("controller")}
    end = time.monotonic() + STARTING
    while (seen := hash_ring(host)) != wanted and time.monotonic() < end:
        time.sleep(1)
    assert seen == wanted, f"neutron's workers in OVN's hash ring, (listed, alive): {seen}, not {wanted}"


def neutron_workers(name: str) -> int:
    """Return how many processes neutron's API has on a controller, by uWSGI's settings and by neutron's own."""
    files = expected.plans()[name]["services"]["neutron"]["files"]
    processes = int(files[catalogue.uwsgi_path("neutron-api")]["settings"]["uwsgi"]["processes"])
    known = int(files["/etc/neutron/neutron.conf"]["settings"]["DEFAULT"]["api_workers"])
    assert processes == known, f"{name}: neutron's API has {processes} processes, its api_workers is {known}"
    return processes


def hash_ring(host: Any) -> dict[str, tuple[int, int]]:
    """Return controller → how many of its workers are listed, and how many of them were touched within a minute."""
    query = (
        "select hostname, count(*), sum(updated_at >= utc_timestamp() - interval 60 second) "
        "from neutron.ovn_hash_ring group by hostname"
    )
    said = host.run(f"mariadb --skip-column-names --execute='{query}'")
    assert said.rc == 0, said.stderr
    rows = [line.split("\t") for line in said.stdout.splitlines()]
    return {name: (int(listed), int(touched)) for name, listed, touched in rows}


@pytest.fixture(scope="module")
def cloud() -> Any:
    """The cloud seen by its operator."""
    return openstack.connect(cloud="saltern")


def test_compute_services_are_up(cloud: Any) -> None:
    services = list(cloud.compute.services())
    down = [f"{each.binary} on {each.host}" for each in services if each.state != "up" or each.status != "enabled"]
    assert not down, f"not up and enabled: {', '.join(down)}"
    assert sorted(each.host for each in services if each.binary == "nova-compute") == sorted(COMPUTES)


def test_network_agents_are_alive(cloud: Any) -> None:
    kinds = ("OVN Controller Gateway agent", "OVN Metadata agent")
    end = time.monotonic() + HEARTBEAT
    while True:
        agents = list(cloud.network.agents())
        alive = {
            kind: sorted(each.host for each in agents if each.agent_type == kind and each.is_alive) for kind in kinds
        }
        if alive == dict.fromkeys(kinds, sorted(COMPUTES)) or time.monotonic() > end:
            break
        time.sleep(1)
    dead = [f"{each.agent_type} on {each.host}" for each in agents if not each.is_alive]
    assert not dead, f"not alive: {', '.join(dead)}"
    assert alive == dict.fromkeys(kinds, sorted(COMPUTES))


def test_every_endpoint_is_https(cloud: Any) -> None:
    clear = [each.url for each in cloud.identity.endpoints() if not each.url.startswith("https://")]
    assert not clear, f"endpoints in clear text: {', '.join(clear)}"


@pytest.mark.parametrize("name", sorted(MODEL.providers))
def test_provider_network_is_there(cloud: Any, name: str) -> None:
    provider, network = MODEL.providers[name], cloud.network.find_network(name)
    assert network, f"no network {name}"
    seen = (network.provider_network_type, network.provider_physical_network, network.provider_segmentation_id)
    assert seen == ("vlan", MODEL.trunk.physical_network, provider.vlan)
    subnets = [cloud.network.get_subnet(each) for each in network.subnet_ids]
    assert [(each.cidr, each.gateway_ip) for each in subnets] == [(provider.cidr, provider.gateway)]
