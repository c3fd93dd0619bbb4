"""All hosts lose power at once and boot again: the cloud is back by itself, before any highstate, guests included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from frontdoor import verify
from lab import nodes, sites
from lab.layout import Lab
from lab.units import wait
from tests.lab_tools import answering, nothing_to_do, salt

LAB = sites.load(os.environ.get("SALTERN_SITE", "lab"))
EVERYONE = [node.id for node in LAB.nodes]
SERVERS = ("env", "OS_CLOUD=saltern", "openstack", "server", "list", "--all-projects", "-f", "value", "-c", "Status")


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Give the lab with a guest on each compute host; in the end they are gone."""
    assert all(nodes.leader(LAB, node) for node in LAB.nodes), f"the lab {LAB.name} does not run"
    try:
        assert verify.run(LAB, ["--only", "ping across hosts", "--keep"], infra=False) == 0
        yield LAB
    finally:
        assert verify.run(LAB, ["--only", "clean start"], infra=False) == 0


def test_the_cloud_is_back_after_a_power_cut(lab: Lab) -> None:
    with ThreadPoolExecutor(len(lab.nodes)) as pool:
        list(pool.map(lambda node: nodes.stop(lab, node, graceful=False), lab.nodes))
        list(pool.map(lambda node: nodes.bring_up(lab, node), lab.nodes))
    answering(lab, EVERYONE)
    guests = [*lab.site.having("compute")]

    def running() -> bool:
        return nodes.call(lab, lab.deploy, *SERVERS, check=False).split() == ["ACTIVE"] * len(guests)

    wait(running, 300, "the guests to run again", pause=3)
    nothing_to_do(salt(lab, EVERYONE, "state.highstate"), EVERYONE)
    assert verify.run(lab, infra=False, quick=True) == 0
