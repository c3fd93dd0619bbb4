"""There is no network node: the host that is a router's gateway is killed, and another one takes over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from frontdoor import verify
from lab import nodes, sites
from lab.layout import Lab, Node
from lab.units import wait
from tests.lab_tools import answering, nothing_to_do, salt

LAB = sites.load(os.environ.get("SALTERN_SITE", "lab"))
CONSOLES = "var/lib/nova/instances/*-*/console.log"
MOST_LOST = 15
"""So many pings, one a second, may be lost until the other host has taken over (BFD needs about 3 s to notice)."""


def named(host: str) -> Node:
    found = LAB.node(host)
    assert found
    return found


def gateway() -> str:
    """Return the host that is the gateway of the one router of the cloud, empty while none is."""
    chassis = southbound("--columns=chassis", "find", "Port_Binding", "type=chassisredirect").split()
    assert len(chassis) < 2, f"expected one router with a gateway, found {chassis}"
    return southbound("--columns=hostname", "list", "Chassis", *chassis).strip().split(".")[0] if chassis else ""


def southbound(*words: str) -> str:
    argv = ("ovn-sbctl", "--no-leader-only", "--bare", *words)
    return nodes.call(LAB, named(LAB.site.having("controller")[0].id), *argv)


def pings(host: str, address: str) -> dict[int, bool]:
    """Return what the pings of the guest on a host came to, as its console tells them."""
    from smoke import guest

    consoles = list(Path(f"/proc/{nodes.leader(LAB, named(host))}/root").glob(CONSOLES))
    assert len(consoles) == 1, f"{host}: expected one instance, found {consoles}"
    return guest.pings(consoles[0].read_text(errors="replace"), address)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Give the lab with a router and a guest on each compute host; in the end all hosts run and the guests are gone."""
    assert all(nodes.leader(LAB, node) for node in LAB.nodes), f"the lab {LAB.name} does not run"
    try:
        assert verify.run(LAB, ["--only", "source nat", "--keep"], infra=False) == 0
        yield LAB
    finally:
        for node in LAB.nodes:
            if not nodes.leader(LAB, node):
                nodes.bring_up(LAB, node)
        answering(LAB, [node.id for node in LAB.nodes])
        cleaned = verify.run(LAB, ["--only", "clean start"], infra=False)
    assert cleaned == 0


def test_another_host_takes_over_from_a_gateway_that_is_killed(lab: Lab) -> None:
    outside = next(str(each.gateway) for each in lab.site.providers.values() if each.external)
    wait(gateway, 60, "a host to be the gateway of the router", pause=1)
    first = gateway()
    other = next(host.id for host in lab.site.having("compute") if host.id != first)
    start = max(pings(other, outside))
    nodes.stop(lab, named(first), graceful=False)
    wait(lambda: gateway() == other, 60, f"{other} to be the gateway instead of {first}", pause=1)

    def since() -> list[bool]:
        return [ok for number, ok in sorted(pings(other, outside).items()) if number > start]

    wait(lambda: since()[-5:] == [True] * 5, 60, "pings to be answered through the other host", pause=1)
    lost = since().count(False)
    print(f"{first} killed, {other} took over: {lost} of {len(since())} pings lost")
    assert lost <= MOST_LOST
    nodes.bring_up(lab, named(first))
    answering(lab, [first])
    nothing_to_do(salt(lab, [first], "state.highstate"), [first])
