"""A compute host more, and one less: a third one joins a finished cloud; the one that is a router's gateway is killed.

There is no network node. OVN hands a gateway over only to a host that still sees another one, so three compute hosts
are needed: a lab of its own is built.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from frontdoor import verify
from lab import highstate, nodes, sites
from lab.layout import Lab, Node
from lab.units import wait
from tests.lab_tools import answering, nothing_to_do, own_lab, salt, site_text, starts, write_site

LAB = sites.load(os.environ.get("SALTERN_SITE", "lab"))
THIRD = {
    "cmp3": {
        "roles": ["compute"],
        "address": "10.20.0.23",
        "interfaces": {"eth0": {"carries": "management"}, "eth1": {"carries": "trunk"}},
    }
}
COMPUTES = [host.id for host in LAB.site.having("compute")]
CARRIERS = {
    "ovs-vswitchd.service",
    "ovsdb-server.service",
    "ovn-controller.service",
    "neutron-ovn-metadata-agent.service",
}
CONSOLES = "var/lib/nova/instances/*-*/console.log"
MOST_LOST = 15
"""So many pings, one a second, may be lost until the other host has taken over (BFD needs about 3 s to notice)."""

pytestmark = pytest.mark.slow


def named(lab: Lab, host: str) -> Node:
    found = lab.node(host)
    assert found
    return found


def gateway(lab: Lab) -> str:
    """Return the host that is the gateway of the one router of the cloud, empty while none is."""
    chassis = southbound(lab, "--columns=chassis", "find", "Port_Binding", "type=chassisredirect").split()
    assert len(chassis) < 2, f"expected one router with a gateway, found {chassis}"
    return southbound(lab, "--columns=hostname", "list", "Chassis", *chassis).split(".")[0].strip() if chassis else ""


def southbound(lab: Lab, *words: str) -> str:
    argv = ("ovn-sbctl", "--no-leader-only", "--bare", *words)
    return nodes.call(lab, named(lab, lab.site.having("controller")[0].id), *argv)


def pings(lab: Lab, host: str, address: str) -> dict[int, bool]:
    """Return what the pings of the guest on a host came to, as its console tells them."""
    from smoke import guest

    consoles = list(Path(f"/proc/{nodes.leader(lab, named(lab, host))}/root").glob(CONSOLES))
    assert len(consoles) == 1, f"{host}: expected one instance, found {consoles}"
    return guest.pings(consoles[0].read_text(errors="replace"), address)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Give a lab with two compute hosts that are finished, and a third one with an empty disk."""
    with own_lab(LAB, tmp_path, "gateway", THIRD) as found:
        whole = yaml.safe_load(site_text(found))
        known = {name: each for name, each in whole["hosts"].items() if name not in THIRD}
        write_site(found, {**whole, "hosts": known})
        converged(found, list(known))
        write_site(found, whole)
        yield found


def converged(lab: Lab, hosts: list[str]) -> None:
    board = highstate.run(lab, hosts)
    assert board.good, "\n".join(board.failures())


def test_a_compute_host_joins_and_another_one_that_is_the_gateway_is_killed(lab: Lab) -> None:
    joined(lab)
    # A router, and a guest on each compute host.
    assert verify.run(lab, ["--only", "source nat", "--keep"], infra=False) == 0
    killed(lab)


def joined(lab: Lab) -> None:
    """Have the third host join by a highstate of all; what carries the others' guests runs on."""
    before = {host: starts(lab, host) for host in COMPUTES}
    converged(lab, [node.id for node in lab.nodes])
    for host in COMPUTES:
        after = starts(lab, host)
        again = {unit for unit in after if after[unit] != before[host][unit]}
        assert not again & CARRIERS, f"{host}: started again: {sorted(again)}"


def killed(lab: Lab) -> None:
    """Kill the host that is the gateway: another one takes over, and it comes back."""
    outside = next(str(each.gateway) for each in lab.site.providers.values() if each.external)
    wait(lambda: gateway(lab), 60, "a host to be the gateway of the router", pause=1)
    first = gateway(lab)
    others = [host.id for host in lab.site.having("compute") if host.id != first]
    start = {host: max(pings(lab, host, outside)) for host in others}
    nodes.stop(lab, named(lab, first), graceful=False)
    wait(lambda: gateway(lab) in others, 60, f"another host than {first} to be the gateway", pause=1)

    def since(host: str) -> list[bool]:
        return [ok for number, ok in sorted(pings(lab, host, outside).items()) if number > start[host]]

    wait(lambda: all(since(host)[-5:] == [True] * 5 for host in others), 60, "pings to be answered again", pause=1)
    lost = {host: since(host).count(False) for host in others}
    print(f"{first} killed, {gateway(lab)} took over: pings lost {lost}")
    assert max(lost.values()) <= MOST_LOST, lost
    nodes.bring_up(lab, named(lab, first))
    answering(lab, [first])
    nothing_to_do(salt(lab, [first], "state.highstate"), [first])
