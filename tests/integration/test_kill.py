"""Whatever is killed at whatever point of a highstate, the next one converges and the one after it changes nothing.

Killed by SIGKILL are: all processes of a minion, the salt-master, apt-get and dpkg in the middle of the package
transaction, a schema sync, and a whole node (all its processes at once, as in a power cut; it then boots again). A
point is a kind of host, a phase and a victim; its seed chooses a state of the phase and a delay. Points of one round
are on different hosts of one run; each is waited for by the progress that its host reports, so that it surely comes
while the run works, and the test fails when it does not.

Two points are in CI: on the finished lab, of which just so much is undone that their phases have work to do again (a
dropped database; removed packages), and only on the host in question. The others run with `./saltern test --all`, for
the better part of an hour: a lab of their own is built, and

* the first round begins on empty disks: kills in the package transactions;
* each other round begins on disks that hold the packages and nothing else, put back from copies: all its later phases
  run for the first time. The deploy node with its authorities and secrets stays as it is.

After each round the hosts are verified; after the last one the cloud boots instances, too.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from frontdoor import verify
from lab import highstate, nodes, sites, up
from lab.command import run
from lab.layout import Lab, Node
from tests.killing import Point, converges, kill, phase_of
from tests.lab_tools import answering, own_lab, plan, salt, state_ids

LAB = sites.load(os.environ.get("SALTERN_SITE", "lab"))
PACKAGES = "host: packages are installed"

FRESH = [
    Point("controller", "packages", "apt", 1),
    Point("compute", "packages", "minion", 2),
    Point("other compute", "packages", "node", 3),
]
ROUNDS = [
    [Point("controller", "certificates", "minion", 4), Point("compute", "certificates", "node", 5),
     Point("other compute", "files", "minion", 6)],
    [Point("controller", "files", "node", 7), Point("compute", "infrastructure", "minion", 8),
     Point("other compute", "network", "node", 9)],
    [Point("controller", "infrastructure", "minion", 10), Point("compute", "network", "minion", 11),
     Point("other compute", "waits", "node", 12)],
    [Point("controller", "databases", "node", 13), Point("compute", "waits", "minion", 14),
     Point("other compute", "certificates", "master", 15)],
    [Point("controller", "schema", "sync", 16), Point("compute", "infrastructure", "node", 17),
     Point("other compute", "waits", "master", 18)],
    [Point("controller", "bootstrap", "minion", 19), Point("compute", "files", "node", 20)],
    [Point("controller", "identity", "node", 21), Point("other compute", "infrastructure", "master", 22)],
    [Point("controller", "objects", "master", 23)],
    [Point("controller", "service", "minion", 24), Point("other compute", "files", "node", 25)],
    [Point("compute", "service", "node", 26), Point("other compute", "service", "minion", 27),
     Point("controller", "dashboard", "minion", 30)],
]  # fmt: skip
SYNC = Point("controller", "schema", "sync", 28, state="glance: schema is current")
TRANSACTION = Point("other compute", "packages", "apt", 29, longest=2.0)


def test_the_points_are_twenty_at_least_and_each_has_its_phase() -> None:
    every = [SYNC, TRANSACTION, *FRESH, *(point for each in ROUNDS for point in each)]
    assert len(every) >= 20
    assert len({point.seed for point in every}) == len(every)
    chosen = {point: point.choose(state_ids(LAB.site, point.node(LAB).id)) for point in every}
    controller = state_ids(LAB.site, LAB.site.having("controller")[0].id)
    assert {point.phase for point in chosen} >= set(map(phase_of, controller, controller.values())) - {"unit"}


@pytest.fixture(scope="module")
def lab() -> Lab:
    assert all(nodes.leader(LAB, node) for node in LAB.nodes), f"the lab {LAB.name} does not run"
    return LAB


def undone(lab: Lab, point: Point, script: str) -> str:
    """Undo a part of a finished host by a script, kill while the highstate makes it anew; return what was hit."""
    nodes.call(lab, point.node(lab), "sh", "-ec", script)
    return "\n".join(kill(lab, [point], [point.node(lab).id]))


def repaired(lab: Lab, point: Point, script: str) -> None:
    """Assert that what was undone and killed in the making is there after the next highstate."""
    host = point.node(lab).id
    try:
        said = undone(lab, point, script)
    except BaseException:
        # The kill came to nothing; the lab is to be whole again for the other tests.
        highstate.run(lab, [host])
        raise
    converges(lab, [host], said)


def test_a_killed_schema_sync_is_repaired(lab: Lab) -> None:
    drop = "systemctl stop glance-api && mariadb -e 'DROP DATABASE glance'"
    repaired(lab, SYNC, drop)


def test_a_killed_package_transaction_is_repaired(lab: Lab) -> None:
    remove = "dpkg --remove --force-depends nova-compute qemu-utils qemu-block-extra"
    repaired(lab, TRANSACTION, remove)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of these tests' own, with empty disks; nothing of it is left afterwards."""
    with own_lab(LAB, tmp_path_factory.mktemp("kill"), "kill") as found:
        yield found


@pytest.mark.slow
def test_kills_on_empty_disks(own: Lab) -> None:
    everyone = [node.id for node in own.nodes]
    said = kill(own, FRESH, everyone)
    converges(own, everyone, "\n".join(said))
    assert verify.run(own, smoke=False) == 0


def services(lab: Lab, node: Node) -> list[dict[str, Any]]:
    """Return the services of a node's plan."""
    return list(plan(lab.site, node.id)["services"].values())


def wiped(lab: Lab) -> list[Node]:
    """Return the nodes whose disks are put back: all but the deploy node."""
    return [node for node in lab.nodes if node != lab.deploy]


def on_disks(lab: Lab, source: str, target: str) -> None:
    """Copy a layer of each node's disk while the nodes are down."""
    for node in wiped(lab):
        place = lab.place(node)
        shutil.rmtree(place / target, ignore_errors=True)
        nodes_copy(place / source, place / target)


def nodes_copy(source: Path, target: Path) -> None:
    """Copy a tree with its owners, devices and attributes."""
    run("cp", "--archive", "--reflink=auto", source, target)


def stop_all(lab: Lab, graceful: bool) -> None:
    with ThreadPoolExecutor(len(lab.nodes)) as pool:
        list(pool.map(lambda node: nodes.stop(lab, node, graceful=graceful), wiped(lab)))


def start_all(lab: Lab) -> None:
    with ThreadPoolExecutor(len(lab.nodes)) as pool:
        list(pool.map(lambda node: nodes.bring_up(lab, node), wiped(lab)))
    answering(lab, [node.id for node in lab.nodes])


@pytest.fixture(scope="module")
def packaged(own: Lab) -> Lab:
    """The lab with copies of disks on which the packages are installed and nothing else was done.

    What packages want to start at a boot is off, as it is in the run that installs them: without its configuration it
    would only die again and again.
    """
    stop_all(own, graceful=False)
    for node in wiped(own):
        shutil.rmtree(own.place(node))
    up.boot(own, up.Steps())
    hosts = [node.id for node in wiped(own)]
    assert salt(own, hosts, "saltutil.sync_all").code == 0
    board = highstate.run(own, hosts, "state.sls_id", [PACKAGES, "host"])
    assert board.good, "\n".join(board.failures())
    for host in hosts:  # a controller installs the second half behind other work
        everything = {name for each in plan(own.site, host)["services"].values() for name in each.get("packages", [])}
        words = (f"name={host}", f"packages={json.dumps(sorted(everything))}")
        done = salt(own, [host], "state.single", "package_set.installed", *words)
        assert done.code == 0, done.words[-3000:]
    for node in wiped(own):
        units = " ".join(sorted({unit for each in services(own, node) for unit in each.get("units", {})}))
        nodes.call(own, node, "sh", "-c", f"for unit in {units}; do systemctl disable --quiet $unit; done", check=False)
    stop_all(own, graceful=True)
    on_disks(own, "upper", "packaged")
    start_all(own)
    return own


def put_back(lab: Lab) -> None:
    """Have the nodes up on disks that hold the packages and nothing else."""
    stop_all(lab, graceful=False)
    for node in wiped(lab):
        shutil.rmtree(lab.place(node) / "work")
        (lab.place(node) / "work").mkdir()
    on_disks(lab, "packaged", "upper")
    start_all(lab)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(ROUNDS)))
def test_kills_in_the_phases_after_the_packages(packaged: Lab, number: int) -> None:
    everyone = [node.id for node in packaged.nodes]
    put_back(packaged)
    said = kill(packaged, ROUNDS[number], everyone)
    converges(packaged, everyone, "\n".join(said))
    assert verify.run(packaged, smoke=False) == 0


@pytest.mark.slow
def test_after_all_kills_the_cloud_boots_instances(packaged: Lab) -> None:
    assert verify.run(packaged, quick=True) == 0
