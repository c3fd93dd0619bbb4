"""What goes wrong on the finished lab does no harm, and what a run says of it can be believed.

Each test that writes the master's site file gets the old one back, applied, however it ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from saltern import catalogue
from saltern.layers import overlaid

from lab import nodes, sites
from lab.layout import Lab
from tests.lab_tools import (
    Answer,
    Slip,
    answering,
    file_of,
    mislaid,
    nothing_to_do,
    override,
    plan,
    salt,
    site_text,
    starts,
    write_site,
)
from tests.sample import SERVICES

LAB = sites.load(os.environ.get("SALTERN_SITE", "lab"))
CONTROLLER = LAB.site.having("controller")[0].id
EVERYONE = [node.id for node in LAB.nodes]
SALT_CALL = ("salt-call", "--out=json", "--log-level=error", "--retcode-passthrough")
GLANCE = "/etc/glance/glance-api.conf"
UWSGI = "/etc/saltern/uwsgi/glance-api.ini"
UNIT = "glance-api.service"
SLIPS: list[tuple[str, str, str, Slip, str]] = [
    ("glance", "controller", GLANCE, {"DEFAULT": {"image_size_capp": 1}}, "did you mean 'image_size_cap'"),
    ("glance", "controller", UWSGI, {"uwsgi": {"proceses": 2}}, "unknown config directive: proceses"),
    ("mariadb", "controller", "/etc/mysql/mariadb.conf.d/90-saltern.cnf", {"mariadbd": {"max_connectoins": 1}},
     "unknown variable 'max_connectoins"),
    ("rabbitmq", "controller", "/etc/rabbitmq/rabbitmq.conf", {"cluster_partition_handlnig": "ignore"},
     "unknown variable: cluster_partition_handlnig"),
    ("chrony", "controller", "/etc/chrony/chrony.conf", {"maekstep": "1 3"}, "maekstep 1 3"),
    ("haproxy", "controller", "/etc/haproxy/haproxy.cfg", ("timeout client", "timeout clinet"), "got 'clinet'"),
    ("firewall", "compute", "/etc/nftables.conf", ("dport", "dprot"), "dprot"),
    ("libvirt", "compute", "/etc/libvirt/libvirtd.conf", {"max_cleints": 9}, "max_cleints = 9"),
    ("libvirt", "compute", "/etc/libvirt/qemu.conf", {"vnc_tsl": 1}, "vnc_tsl = 1"),
    ("migration", "compute", "/etc/saltern/nova-ssh/sshd_config", {"AlowUsers": "nova"}, "AlowUsers"),
    ("migration", "compute", "/var/lib/nova/.ssh/config", {"BatchMoed": "yes"}, "BatchMoed"),
]  # fmt: skip
"""Service, role, file, an override with a slip, and what must be told of it."""


@pytest.fixture(scope="module")
def lab() -> Lab:
    assert all(nodes.leader(LAB, node) for node in LAB.nodes), f"the lab {LAB.name} does not run"
    return LAB


@pytest.fixture
def site_file(lab: Lab) -> Iterator[dict[str, Any]]:
    """Give the site as data; whatever a test did with it, the old one holds in the end."""
    text = site_text(lab)
    yield yaml.safe_load(text)
    write_site(lab, text)
    healed = salt(lab, [CONTROLLER], "state.apply", "glance", "queue=True")
    assert healed.code == 0, f"the old site file cannot be applied again: {healed.words[-3000:]}"


def refused(answer: Answer, host: str) -> str:
    """Return what a host said that was not to run any state."""
    said = answer.hosts.get(host)
    assert isinstance(said, list), f"{host}: ran all the same: {answer.words[-2000:]}"
    return "\n".join(map(str, said))


def test_a_bad_site_file_says_everything_and_changes_nothing(lab: Lab, site_file: dict[str, Any]) -> None:
    before, text = starts(lab, CONTROLLER), file_of(lab, CONTROLLER, GLANCE)
    override(site_file, "glance", GLANCE, "DEFAULT", image_size_cap=1099511627001)
    hosts = list(site_file["hosts"].values())
    hosts[-1]["address"] = hosts[0]["address"]
    hosts[-1]["roles"] = ["compute", "butler"]
    site_file["regoin"] = "RegionTwo"
    site_file["services"]["nvoa"] = {}
    next(iter(site_file["networks"]["provider"].values()))["vlan"] = 9999
    write_site(lab, site_file)
    answer = salt(lab, EVERYONE, "state.highstate")
    assert answer.code != 0, "the exit code says that all is well"
    for host in EVERYONE:
        said = refused(answer, host)
        missing = [word for word in ("butler", hosts[0]["address"], "regoin", "nvoa", "9999") if word not in said]
        assert not missing, f"{host}: not told of {missing}: {said}"
        assert "Traceback" not in said
    assert file_of(lab, CONTROLLER, GLANCE) == text
    assert starts(lab, CONTROLLER) == before


def test_a_bad_site_file_has_a_bad_exit_code_on_the_host_too(lab: Lab, site_file: dict[str, Any]) -> None:
    site_file["regoin"] = "RegionTwo"
    write_site(lab, site_file)
    node = lab.node(CONTROLLER)
    assert node
    words = nodes.call(lab, node, "sh", "-c", f"{' '.join(SALT_CALL)} state.highstate; echo code $?")
    assert "regoin" in words
    assert words.split()[-2:] != ["code", "0"], words


@pytest.mark.parametrize(("service", "role", "path", "slip", "told"), SLIPS, ids=[each[2] for each in SLIPS])
def test_a_wrong_option_is_refused_before_anything_is_touched(
    lab: Lab, site_file: dict[str, Any], service: str, role: str, path: str, slip: Slip, told: str
) -> None:
    host = lab.site.having(role)[0].id
    before, text = starts(lab, host), file_of(lab, host, path)
    change = {"services": {service: {"files": {path: mislaid(lab.site, host, service, path, slip)}}}}
    write_site(lab, overlaid(site_file, change))
    for mode in ("test=True", "test=False"):
        answer = salt(lab, [host], "state.apply", service, mode)
        assert answer.code != 0, mode
        comment = answer.not_true(host).get(f"{service}: {path}", "the state was content")
        assert path in comment, comment
        assert told in comment, comment
        assert answer.changes(host) == {}, mode
        assert file_of(lab, host, path) == text
        assert starts(lab, host) == before
    assert left_behind(lab, host) == []


def left_behind(lab: Lab, host: str) -> list[str]:
    """Return the candidates that a check left on a host."""
    node = lab.node(host)
    assert node
    return nodes.call(lab, node, "find", "/etc", "/var/lib", "-xdev", "-name", "*.saltern-*").split()


def test_a_service_that_is_not_ready_fails_its_state_and_is_healed(lab: Lab, site_file: dict[str, Any]) -> None:
    """Glance is told to listen where the identity service does: it cannot start, and the run says why."""
    good = yaml.safe_dump(site_file)
    override(site_file, "glance", UWSGI, "uwsgi", **{"http-socket": "127.0.0.1:5000"})
    write_site(lab, site_file)
    broken = salt(lab, [CONTROLLER], "state.apply", "glance")
    assert broken.code != 0, "the exit code says that all is well"
    comment = broken.not_true(CONTROLLER).get("service: units run", "the state was content")
    assert UNIT in comment, comment
    assert "Address already in use" in comment, f"the last log lines are missing: {comment}"
    write_site(lab, good)
    healed = salt(lab, [CONTROLLER], "state.apply", "glance")
    assert healed.not_true(CONTROLLER) == {}
    assert UNIT in healed.changes(CONTROLLER)["service: units run"]


def test_a_dead_compute_host_does_not_fail_the_controller(lab: Lab) -> None:
    dead = lab.node(lab.site.having("compute")[-1].id)
    assert dead
    nodes.stop(lab, dead, graceful=False)
    try:
        nothing_to_do(salt(lab, [CONTROLLER], "state.highstate"), [CONTROLLER])
    finally:
        nodes.bring_up(lab, dead)
    answering(lab, [dead.id])
    nothing_to_do(salt(lab, [dead.id], "state.highstate"), [dead.id])


def test_a_dry_run_of_the_finished_cloud_finds_nothing_to_do(lab: Lab) -> None:
    nothing_to_do(salt(lab, EVERYONE, "state.highstate", "test=True"), EVERYONE)


def test_a_dry_run_tells_what_the_run_then_does(lab: Lab, site_file: dict[str, Any]) -> None:
    override(site_file, "glance", GLANCE, "DEFAULT", image_size_cap=1099511627001)
    write_site(lab, site_file)
    before, text = starts(lab, CONTROLLER), file_of(lab, CONTROLLER, GLANCE)
    dry = salt(lab, [CONTROLLER], "state.highstate", "test=True")
    assert file_of(lab, CONTROLLER, GLANCE) == text, "the dry run wrote the file"
    assert starts(lab, CONTROLLER) == before, "the dry run restarted something"
    told = dry.changes(CONTROLLER)
    assert told, "the dry run tells of no change"
    results = {name: each["result"] for name, each in dry.states(CONTROLLER).items()}
    assert {name for name, result in results.items() if result is not True} == set(told)
    assert {results[name] for name in told} == {None}
    done = salt(lab, [CONTROLLER], "state.highstate")
    assert done.code == 0, done.not_true(CONTROLLER)
    assert told == done.changes(CONTROLLER)


# The lab's hosts are not installed from the network, nor are their networks kept: test_boot_service and
# test_host_network try that.
@pytest.mark.parametrize("service", sorted({*catalogue.load(SERVICES)} - {"boot", "network"}))
def test_each_service_can_be_applied_alone(lab: Lab, service: str) -> None:
    having = [host for host in EVERYONE if service in plan(lab.site, host)["services"]]
    assert having, f"no host of the lab has {service}"
    nothing_to_do(salt(lab, having, "state.apply", service), having)
