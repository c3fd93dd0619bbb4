"""The orchestration does what one highstate of all hosts does: here it finds nothing to do, and says so."""

from __future__ import annotations

import json
import os

from lab import nodes, sites

LAB = sites.load(os.environ.get("SALTERN_SITE", "lab"))


def test_the_orchestration_of_a_finished_cloud_changes_nothing() -> None:
    said = nodes.call(LAB, LAB.deploy, "salt-run", "--out=json", "state.orch", "orch.deploy", timeout=600)
    steps = {each["__id__"]: each for each in next(iter(json.loads(said)["data"].values())).values()}
    assert [each["result"] for each in steps.values()] == [True, True], said[-3000:]
    assert [each["changes"] for each in steps.values()] == [{}, {}]
    comment = steps["every host is as planned"]["comment"].replace(",", "").replace(".", "").split()
    assert {node.id for node in LAB.nodes} <= set(comment), comment
