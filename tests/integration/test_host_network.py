"""A host with a kernel of its own cuts itself off, in every way that comes to mind, and is reached again each time.

The site file's plan runs in an emulated Debian machine, with the package that the Salt state calls; the master's side
of the network judges from outside.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from saltern import host_network, networkd
from saltern import site as sites

from lab import machine_disk
from lab.units import wait
from tests.machine_tools import HOST, MASTER, PEER, VLAN, Rack, rack, site, with_interfaces

pytestmark = pytest.mark.slow
TRUNK = {"eth2": {"carries": "trunk"}}
ROUTE = f"\n[Route]\nDestination = {MASTER}/32\nGateway = {PEER}\n"
SHORT = 45
NEW_NETWORK, MOVED = "10.78.0.", "10.78.0.21"
STATE = "host_network.managed"
SALT = "/opt/saltern/salt/bin/salt-call --local --file-root=/srv/states --out=json --log-level=quiet state.apply net"


def files(data: dict[str, Any]) -> dict[str, str]:
    model = sites.parse(data)
    return networkd.files(model, model.hosts["h1"])


def probes(data: dict[str, Any]) -> dict[str, Any]:
    model = sites.parse(data)
    return host_network.probes(model, model.hosts["h1"])


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
OUTSIDE = "10.79.0.21/24"
WRONG_ADDRESS = {"data": site(), "edits": [["20-eth0.network", f"{HOST}/24", OUTSIDE]]}
WAYS: dict[str, tuple[dict[str, Any], str]] = {
    "wrong address": (WRONG_ADDRESS, "salt-master"),
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
    before = state(host)
    result, said, _ = host.converge(order.pop("data"), SHORT, **order)
    assert result is False, said
    assert words in said, said
    assert "rolled back: the old files are in place, and what answered before answers again" in said
    assert host.reaches()
    assert state(host) == before


def kill(host: Rack) -> None:
    host.machine.run("systemctl kill --signal=KILL change.service")


@pytest.mark.parametrize(
    ("end", "by"),
    [
        (kill, "saltern-network-rollback"),
        (lambda host: host.machine.reboot(), "saltern-network-boot"),
        (lambda host: (host.machine.power_cut(), host.machine.start()), "saltern-network-boot"),
    ],
    ids=["process killed", "reboot", "power cut"],
)
def test_a_change_whose_run_ends_before_its_time_is_rolled_back(host: Rack, end: Any, by: str) -> None:
    """The run dies while the host is cut off: nobody is left who could confirm, and nobody can reach it."""
    before = state(host)
    begin(host, WRONG_ADDRESS, 120 if end is kill else 600)
    assert not host.reaches()
    end(host)
    wait(host.reaches, 240, "the host after its rollback", pause=3)
    said = host.machine.run(f"journalctl --boot --no-pager --output=cat --unit={by}; saltern-network status")
    assert "no change is on trial" in said
    assert "last change rolled back" in said
    assert "rolled back" in said.partition("no change is on trial")[0], said
    wait(lambda: state(host) == before, 60, f"all to be as before: {before}")


def begin(host: Rack, order: dict[str, Any], within: int) -> None:
    """Start a change in the background and return when its files are there and networkd follows them."""
    command = host.order(order["data"], within, edits=order["edits"])
    host.machine.run(f"systemd-run --collect --unit=change sh -c '{command}'")
    wait(lambda: OUTSIDE in host.machine.run("ip -br -4 address"), 120, "the change to be in place", pause=2)


def test_the_state_says_what_it_would_do_does_it_and_has_nothing_to_do_any_more(host: Rack) -> None:
    data = site(mtu=1400)
    arguments = [{"files": files(data)}, {"probes": probes(data)}, {"confirm_within": 150}]
    host.machine.run(f"cat >/srv/states/net.sls <<'END'\n#!json\n{json.dumps({'n': {STATE: arguments}})}\nEND")
    # Utilities are on Salt's path when it starts: not in the very run that brings them.
    host.machine.run(SALT.replace("state.apply net", "saltutil.sync_all"), timeout=300)
    for test, result, changed in (("True", None, True), ("False", True, True), ("True", True, False)):
        said = host.machine.run(f"{SALT} test={test}", timeout=400, check=False)
        assert "{" in said, said
        (found,) = json.loads(said[said.index("{") :])["local"].values()
        assert found["result"] is result, found
        assert bool(found["changes"]) is changed, found
    assert host.reaches()


def test_good_changes_stay_also_across_a_reboot(host: Rack) -> None:
    """Each one upon the other: larger packets, a bond, one member more, another network, a VLAN."""
    host.mtu(9000)
    two = bonded(site(mtu=9000), "eth0", "eth1")
    three = bonded(site(mtu=9000), "eth0", "eth1", "eth3")
    moved = bonded(move(site(mtu=9000)), "eth0", "eth1", "eth3")
    tagged = bonded(move(site(mtu=9000, vlan=VLAN)), "eth0", "eth1", "eth3")
    stays(host, two, HOST)
    stays(host, three, HOST)
    assert "Slave Interface: eth3" in host.machine.run("cat /proc/net/bonding/bond0")
    host.also(NEW_NETWORK)
    stays(host, moved, MOVED)
    host.tag(VLAN, NEW_NETWORK)
    stays(host, tagged, MOVED)
    before = state(host)
    host.machine.reboot()
    wait(lambda: host.reaches(MOVED), 120, "the host after a reboot", pause=3)
    assert state(host) == before
    assert host.converge(tagged, test=True)[0] is True


def stays(host: Rack, data: dict[str, Any], address: str) -> None:
    result, words, changes = host.converge(data, 150)
    assert result is True, words
    assert changes
    # The bond has a MAC of its own: the master's side may ask for it first.
    wait(lambda: host.reaches(address), 60, f"the host at {address}", pause=2)
    assert "no change is on trial" in host.machine.run("saltern-network status")


def bonded(data: dict[str, Any], *members: str) -> dict[str, Any]:
    bond = {"carries": "management", "bond": {"members": {name: {} for name in members}}}
    return with_interfaces(data, {"bond0": bond, **TRUNK})


def move(data: dict[str, Any]) -> dict[str, Any]:
    """The site with its management network elsewhere, all hosts with it."""
    return json.loads(json.dumps(data).replace("10.77.0.", NEW_NETWORK))


def state(host: Rack) -> str:
    """What a change must leave as it was: our files, links with MTU and master, addresses, routes.

    Whether a device that nobody configures is up is left out: it says nothing.
    """
    return host.machine.run(
        "cd /etc/systemd/network && sha256sum *; ip -br -4 address; ip -4 route | sort;"
        " ip -o link | sed -E 's/^[0-9]+: //; s/<[^>]*>//; s/qdisc [^ ]+//; s/ state .*//' | sort"
    )
