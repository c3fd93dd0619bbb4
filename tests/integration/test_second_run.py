"""A second run changes nothing and restarts nothing; one changed option restarts only what reads it."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from saltern import site

from lab import highstate, nodes, sites
from lab.layout import Lab
from lab.progress import Board
from tests import lab_tools
from tests.lab_tools import override, site_text, write_site

LAB = sites.load(os.environ.get("SALTERN_SITE", "lab"))
SEED = 20
CHOSEN = 3
"""How many options CI tries; all of them are tried by `--all`."""

NOVA, NEUTRON = "/etc/nova/nova.conf", "/etc/neutron/neutron.conf"
OPTIONS: list[tuple[str, str, str, str, Any]] = [
    ("keystone", "/etc/keystone/keystone.conf", "token", "expiration", 7200),
    ("glance", "/etc/glance/glance-api.conf", "DEFAULT", "image_size_cap", 1099511627000),
    ("placement", "/etc/placement/placement.conf", "placement", "randomize_allocation_candidates", True),
    ("nova", NOVA, "DEFAULT", "ram_allocation_ratio", 1.25),
    ("nova", "/etc/saltern/uwsgi/nova-api.ini", "uwsgi", "listen", 99),
    ("neutron", NEUTRON, "DEFAULT", "dns_domain", "guests.example."),
    ("neutron", "/etc/neutron/plugins/ml2/ml2_conf.ini", "ovn", "dns_servers", ["192.0.2.53"]),
    ("neutron", "/etc/neutron/neutron_ovn_metadata_agent.ini", "DEFAULT", "metadata_workers", 1),
    ("mariadb", "/etc/mysql/mariadb.conf.d/90-saltern.cnf", "mariadbd", "max_connections", 4000),
    ("nova", "/etc/nova/nova-compute.conf", "libvirt", "live_migration_completion_timeout", 700),
]
"""Service, file, section, option, another value."""


@pytest.fixture(scope="module")
def lab() -> Lab:
    return LAB


def processes(lab: Lab) -> dict[tuple[str, str], str]:
    """Return the invocation of every active unit of every node: it changes with each start."""
    found = {}
    for node in lab.nodes:
        show = ("systemctl", "show", "--property=Id,InvocationID,ActiveState,MainPID", "--type=service", "*")
        for block in nodes.call(lab, node, *show).split("\n\n"):
            unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            ours = set(units_of(lab, node.id))
            if unit.get("ActiveState") == "active" and unit["Id"] in ours:
                found[node.id, unit["Id"]] = f"{unit['InvocationID']} {unit['MainPID']}"
    return found


def plan(lab: Lab, host: str) -> dict[str, Any]:
    """Return the services of a host's plan as its minion has them."""
    model = site.parse(yaml.safe_load(site_text(lab)))
    return lab_tools.plan(model, host)["services"]


def units_of(lab: Lab, host: str) -> set[str]:
    return {unit for service in plan(lab, host).values() for unit in service.get("units", {})}


def highstate_of(lab: Lab, hosts: list[str] | None = None) -> Board:
    board = highstate.run(lab, hosts)
    assert board.good, "\n".join(board.failures())
    return board


def changed(board: Board) -> dict[str, list[str]]:
    """Return the states that changed something, by the keys under which a run is recorded (`lab/drive.py`)."""
    assert all(row.states for row in board.rows.values()), "a host reported no states: there is nothing to judge by"
    return {host: [str(state["id"]) for state in row.states if state["changed"]] for host, row in board.rows.items()}


def test_a_second_run_changes_and_restarts_nothing(lab: Lab) -> None:
    before = processes(lab)
    assert before
    board = highstate_of(lab)
    assert changed(board) == {node.id: [] for node in lab.nodes}
    assert processes(lab) == before


def cases() -> Iterator[Any]:
    order = random.Random(SEED).sample(OPTIONS, len(OPTIONS))  # noqa: S311 - a seed, not a secret
    for number, case in enumerate(order):
        yield pytest.param(*case, id=case[3], marks=[] if number < CHOSEN else [pytest.mark.slow])


@pytest.fixture
def site_file(lab: Lab) -> Iterator[dict[str, Any]]:
    """Give the site as data; whatever the test wrote, the old file is applied again in the end."""
    text = site_text(lab)
    # Through JSON: what an anchor of YAML repeats is one object, and a change to it would show in every place.
    yield json.loads(json.dumps(yaml.safe_load(text)))
    write_site(lab, text)
    highstate_of(lab)


@pytest.mark.parametrize(("service", "path", "section", "option", "value"), list(cases()))
def test_one_option_restarts_only_what_reads_it(
    lab: Lab, site_file: dict[str, Any], service: str, path: str, section: str, option: str, value: Any
) -> None:
    before = processes(lab)
    override(site_file, service, path, section, **{option: value})
    write_site(lab, site_file)
    highstate_of(lab)
    after = processes(lab)
    readers = {
        (node.id, unit)
        for node in lab.nodes
        for each in plan(lab, node.id).values()
        for unit, data in each.get("units", {}).items()
        if path in (data or {}).get("reads", [])
    }
    assert readers
    assert {unit for unit in after if after[unit] != before.get(unit)} == {each for each in readers if each in after}
