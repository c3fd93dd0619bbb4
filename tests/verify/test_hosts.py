"""Every host is what its plan says: one test for each package list, unit, file, certificate and port of the plan."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import expected
import pytest
from cryptography.exceptions import InvalidSignature
from saltern import host_facts, managed_file, pki, secrets

Facts = dict[str, Any]
HOSTS = list(expected.plans())
LEAST_LIFE = timedelta(days=30)


def cases(kind: str) -> list[Any]:
    """Return the parameters of all entries of a kind."""
    return [pytest.param(host, name, entry, id=f"{host}-{name}") for host, name, entry in expected.of(kind)]


def fact(facts: Facts, host: str, name: str) -> Any:
    """Return a fact of a host; a silent or broken host is named."""
    said = facts.get(host)
    assert isinstance(said, dict), f"{host}: no facts: {said or 'no answer from its minion'}"
    return said[name]


@pytest.mark.parametrize("host", HOSTS)
def test_host_answers(facts: Facts, host: str) -> None:
    assert fact(facts, host, "units") is not None


@pytest.mark.parametrize("host", HOSTS)
def test_packages_are_installed(facts: Facts, host: str) -> None:
    missing = [name for name, version in fact(facts, host, "packages").items() if not version]
    assert not missing, f"{host}: packages not installed: {', '.join(missing)}"


@pytest.mark.parametrize(("host", "name", "entry"), cases("units"))
def test_unit_runs(facts: Facts, host: str, name: str, entry: Facts) -> None:
    unit = fact(facts, host, "units").get(name, {})
    state = f"{host}: {name} is {unit.get('ActiveState')}/{unit.get('SubState')}, {unit.get('UnitFileState')}"
    assert unit.get("ActiveState") == "active", state
    if (entry or {}).get("enable", True):
        assert unit.get("UnitFileState") in ("enabled", "static", "indirect", "generated", "alias"), state


@pytest.mark.parametrize(("host", "name", "entry"), cases("masked"))
def test_unit_never_runs(facts: Facts, host: str, name: str, entry: None) -> None:
    unit = fact(facts, host, "units").get(name, {})
    assert unit.get("ActiveState") in ("inactive", "failed"), f"{host}: {name} is {unit.get('ActiveState')}"
    assert unit.get("LoadState") in ("masked", "not-found"), f"{host}: {name} is {unit.get('LoadState')}, not masked"


@pytest.mark.parametrize("host", HOSTS)
def test_no_unit_has_failed(facts: Facts, host: str) -> None:
    assert fact(facts, host, "failed") == []


@pytest.mark.parametrize(("host", "path", "entry"), cases("files"))
def test_file(facts: Facts, host: str, path: str, entry: Facts) -> None:
    found = fact(facts, host, "files").get(path)
    assert found, f"{host}: {path}: missing"
    wanted = managed_file.ManagedFile.from_plan(path, entry)
    changed = "; ".join(f"{option}: {said}" for option, said in found["changes"].items())
    changed = changed or "the master's plan is newer than the host's last run"
    access = f"{found['user']}:{found['group']} {found['mode']}"
    assert access == f"{wanted.user}:{wanted.group} {wanted.mode:04o}", f"{host}: {path}: is {access}"
    assert found["sha256"] == digest(wanted.text), f"{host}: {path}: differs from the plan: {changed}"
    if entry["secret"]:
        assert not wanted.mode & 0o007, f"{host}: {path}: holds {entry['secret']} and is open to everyone"


def digest(text: str) -> str:
    """Return a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(("host", "name", "entry"), cases("certificates"))
def test_certificate(facts: Facts, host: str, name: str, entry: Facts) -> None:
    found, where = fact(facts, host, "certificates")[name], f"{host}: certificate {name}"
    authority = pki.load_certificate(expected.authority(entry["ca"]))
    trusted = pki.load_certificate(found["ca_file"])
    assert trusted == authority, f"{where}: {entry['ca_file']} is not the {entry['ca']} authority's certificate"
    if not entry.get("cert"):
        return
    certificate = pki.load_certificate(found["cert"])
    assert certificate, f"{where}: {entry['cert']}: missing or not readable"
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert left > timedelta(0), f"{where}: expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    assert left > LEAST_LIFE, f"{where}: expires on {certificate.not_valid_after_utc:%Y-%m-%d}"
    assert issued_by(certificate, authority), f"{where}: not signed by the {entry['ca']} authority"
    assert found["paired"], f"{where}: {entry['key']} is not its key"
    said = pki.describe(certificate)
    assert set(said.names) == {pki_name(each) for each in entry["names"]}, f"{where}: names {said.names}"
    assert set(said.usage) == set(entry["usage"]), f"{where}: usage {said.usage}"


@pytest.mark.parametrize(
    ("host", "name", "entry"), [each for each in cases("certificates") if each.values[2].get("key")]
)
def test_private_key_is_closed(facts: Facts, host: str, name: str, entry: Facts) -> None:
    for kind, status in fact(facts, host, "certificates")[name]["readers"].items():
        assert status, f"{host}: {entry[kind]}: missing"
        access = f"{status['user']}:{status['group']} {status['mode']}"
        assert not int(status["mode"], 8) & 0o037, f"{host}: {entry[kind]}: is {access}"
        assert (status["user"], status["group"]) == (entry["user"], entry["group"]), (
            f"{host}: {entry[kind]}: is {access}"
        )


def issued_by(certificate: Any, authority: Any) -> bool:
    """Tell whether an authority has signed a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def pki_name(name: str) -> str:
    """Return a name in the form in which certificates are compared."""
    return str(name).lower()


@pytest.mark.parametrize("host", HOSTS)
def test_only_expected_ports_are_open(facts: Facts, host: str) -> None:
    away = [each for each in fact(facts, host, "sockets") if not each["address"].startswith(expected.LOOPBACK)]
    extra = [each for each in away if not expected.allowed(host, each)]
    shown = [f"{each['program']} on {each['address']}:{each['port']}/{each['proto']}" for each in extra]
    assert not extra, f"{host}: listening beyond the plan: {', '.join(shown)}"


SERVED = [
    each for each in expected.openings() if each[2] not in expected.UNHEARD and each[3]["service"] not in expected.own()
]


@pytest.mark.parametrize(
    ("host", "proto", "port", "opening"), SERVED, ids=[f"{h}-{n}-{o['service']}" for h, _, n, o in SERVED]
)
def test_open_port_is_served(facts: Facts, host: str, proto: str, port: int, opening: Facts) -> None:
    heard = {(each["proto"], each["port"]) for each in fact(facts, host, "sockets")}
    assert (proto, port) in heard, f"{host}: nothing listens on {port}/{proto} for {opening['service']}"


@pytest.mark.parametrize("host", HOSTS)
def test_firewall_is_loaded(facts: Facts, host: str) -> None:
    rules = fact(facts, host, "firewall")
    assert rules["file"], f"{host}: /etc/nftables.conf cannot be loaded"
    lost = [line.strip() for line in rules["file"] if line not in rules["loaded"]]
    more = [line.strip() for line in rules["loaded"] if line not in rules["file"]]
    assert rules["loaded"] == rules["file"], f"{host}: firewall: not loaded: {lost}; loaded beyond the file: {more}"


@pytest.mark.parametrize("host", HOSTS)
def test_clock_follows_the_controller(facts: Facts, host: str) -> None:
    model, clock = expected.model(), fact(facts, host, "clock")
    controllers = {each.address for each in model.having("controller")} | {
        each.id for each in model.having("controller")
    }
    if "controller" not in model.hosts[host].roles:
        sources = {str(each) for each in clock["sources"]}
        assert sources & controllers, f"{host}: chrony asks {sorted(sources)}, expected the controller"
        assert clock["stratum"], f"{host}: chrony follows nobody"
    assert clock["offset"] is not None, f"{host}: chrony does not answer"
    assert abs(clock["offset"]) < 0.5, f"{host}: clock is {clock['offset']} s off"


@pytest.mark.parametrize("host", HOSTS)
def test_no_secret_lies_open(facts: Facts, host: str) -> None:
    exposed = fact(facts, host, "exposed")
    assert not exposed, f"{host}: everyone may read a secret in: {', '.join(exposed)}"


def test_no_secret_of_the_cloud_lies_open_on_the_deploy_host() -> None:
    """All secrets are here, also those of other hosts: this process reads them itself, no job and no argument does."""
    known = secrets.read(expected.paths()["secrets"])
    assert known
    exposed = host_facts.exposed({"secrets": known})
    assert not exposed, f"everyone may read a secret of the cloud in: {', '.join(exposed)}"


@pytest.mark.parametrize("host", HOSTS)
def test_metadata_address_does_not_leave_the_host(facts: Facts, host: str) -> None:
    route = fact(facts, host, "routes")["metadata"]
    assert " via " not in route, f"{host}: 169.254.169.254 is routed: {route}"


COMPUTES = [host.id for host in expected.model().having("compute")]


@pytest.mark.parametrize("host", COMPUTES)
def test_trunk_is_mapped(facts: Facts, host: str) -> None:
    trunk, found = expected.model().trunk, fact(facts, host, "switch")
    device = expected.model().hosts[host].device("trunk")
    mappings = str(found["settings"].get("ovn-bridge-mappings", "")).split(",")
    assert f"{trunk.physical_network}:{trunk.bridge}" in mappings, f"{host}: bridge mappings are {mappings}"
    ports = found["bridges"].get(trunk.bridge, [])
    assert device in ports, f"{host}: bridge {trunk.bridge} has the ports {ports}, not {device}"


@pytest.mark.parametrize("host", [host.id for host in expected.model().having("controller")])
def test_queues_survive(facts: Facts, host: str) -> None:
    vhosts = fact(facts, host, "messaging")
    queues = [(vhost, each) for vhost, found in vhosts.items() for each in found["queues"]]
    assert queues, f"{host}: RabbitMQ has no queue"
    weak = [
        f"{vhost}:{each['name']} ({each['type']})" for vhost, each in queues if each["type"] not in ("quorum", "stream")
    ]
    assert not weak, f"{host}: queues that are neither quorum nor stream: {', '.join(weak[:5])}"
    policies = [f"{vhost}:{each['name']}" for vhost, found in vhosts.items() for each in found["policies"]]
    assert not policies, f"{host}: RabbitMQ policies beyond the plan: {', '.join(policies)}"
