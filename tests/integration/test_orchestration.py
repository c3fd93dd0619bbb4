"""The orchestration does what one highstate of all hosts does: here it finds nothing to do, and says so."""

from __future__ import annotations

import json
import os

from lab import nodes, sites

LAB = sites.load(os.environ.get("SALTERN_SITE", "lab"))


def test_the_orchestration_of_a_finished_cloud_changes_nothing() -> None:
    said = nodes.call(LAB, LAB.deploy, "salt-run", "--out=json", "state.orch", "orch.deploy", timeout=600)
    steps = next(iter(json.loads(said)["data"].values())).values()
    hosts = {host: states for step in steps for host, states in step["changes"].get("ret", {}).items()}
    assert all(step["result"] for step in steps), said[-3000:]
    assert set(hosts) == {node.id for node in LAB.nodes}
    assert {host: [name for name, each in states.items() if each["changes"]] for host, states in hosts.items()} == {
        host: [] for host in hosts
    }
