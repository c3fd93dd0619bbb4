"""A host with a kernel of its own cuts itself off, in every way that comes to mind, and is reached again each time.

The site file's plan runs in an emulated Debian machine, with the package that the Salt state calls; the master's side
of the network judges from outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from saltern import networkd
from saltern import site as sites

from lab import machine_disk
from lab.units import wait
from tests.machine_tools import MASTER, PEER, Rack, rack, site, with_interfaces

pytestmark = pytest.mark.slow
TRUNK = {"eth2": {"carries": "trunk"}}
ROUTE = f"\n[Route]\nDestination = {MASTER}/32\nGateway = {PEER}\n"
SHORT = 45


def files(data: dict[str, Any]) -> dict[str, str]:
    model = sites.parse(data)
    return networkd.files(model, model.hosts["h1"])


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    """The machine as it was installed: the installers write the very files that are managed later."""
    disk = machine_disk.ensure(request.config.cache.mkdir("machine"))
    seed = {f"{networkd.DIRECTORY}/{name}": text for name, text in files(site()).items()}
    with rack(disk, tmp_path_factory.mktemp("rack"), seed) as found:
        wait(found.reaches, 60, "the host after its first boot")
        result, words, changes = found.converge(site())
        assert result is True, words
        assert not [path for path in changes if path.startswith(networkd.DIRECTORY)]
        yield found


def bad(**management: Any) -> dict[str, Any]:
    return {"data": site(**management)}


BOND = {"bond0": {"carries": "management", "bond": {"members": {"eth2": {}, "eth7": {}}}}, "eth1": {"carries": "trunk"}}
WAYS: dict[str, tuple[dict[str, Any], str]] = {
    "wrong address": (bad(cidr="10.77.0.0/24"), "salt-master"),
    "wrong VLAN": (bad(vlan=99), "salt-master"),
    "wrong gateway": (bad(gateway="10.77.0.250"), "gateway: 10.77.0.250"),
    "MTU too large for the path": (bad(mtu=9000), "MTU: no packet of 9000 bytes"),
    "bond with the wrong members": ({"data": with_interfaces(site(), BOND)}, "eth7: no such device"),
    "interface that is not there": (
        {"data": with_interfaces(site(), {"eth9": {"carries": "management"}, **TRUNK})}, "eth9: no such device",
    ),
    "bridge that swallows the port": (
        {"data": with_interfaces(site(), {"eth0": {"carries": "management", "bridge": "br0"}, **TRUNK}),
         "without": ["20-br0.network"]}, "salt-master",
    ),
    "route that shadows the master": (
        {"data": site(), "edits": [["20-eth0.network", "[Network]", ROUTE.strip() + "\n\n[Network]"]]}, "salt-master",
    ),
    "empty configuration": ({"data": site(), "without": [*files(site())]}, "salt-master"),
}  # fmt: skip
"""What is asked for, and what the failure must say of it."""


@pytest.mark.parametrize("way", WAYS)
def test_a_change_that_cuts_the_host_off_is_rolled_back(host: Rack, way: str) -> None:
    order, words = dict(WAYS[way][0]), WAYS[way][1]
    data = order.pop("data")
    if way == "wrong address":
        data["hosts"]["h1"]["address"] = "10.77.0.99"
        order["edits"] = [["20-eth0.network", "10.77.0.99/24", "10.78.0.21/24"]]
        words = "links: eth0: has 10.78.0.21/24" if False else "salt-master"
    before = state(host)
    result, said, _ = host.converge(data, SHORT, **order)
    assert result is False, said
    assert words in said, said
    assert "rolled back: the old files are in place, and what answered before answers again" in said
    assert host.reaches()
    assert state(host) == before


def state(host: Rack) -> str:
    """What a change must leave as it was: our files, links, addresses, routes."""
    return host.machine.run(
        "cd /etc/systemd/network && sha256sum *; ip -br -4 address; ip -4 route | sort;"
        " ip -o link | sed 's/^[0-9]*: //; s/ qdisc.*//'"
    )
