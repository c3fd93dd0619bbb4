"""The orchestration does what one highstate of all hosts does, and says when a host failed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import nodes, sites
from lab.layout import Lab
from tests.lab_tools import nothing_to_do, override, own_lab, salt, site_text, write_site

LAB = sites.load(os.environ.get("SALTERN_SITE", "lab"))
EVERYONE = [node.id for node in LAB.nodes]
FIRST, LAST = "controller: hosts are as planned", "every host is as planned"
GLANCE = "/etc/glance/glance-api.conf"


def orchestrated(lab: Lab, timeout: float) -> tuple[int, dict[str, Any], str]:
    """Run the orchestration; return its exit code, its steps by identifier, and all that it said."""
    argv = nodes.enter(lab, lab.deploy, "salt-run", "--out=json", "--log-level=error", "state.orch", "orch.deploy")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
    steps = next(iter(json.loads(done.stdout)["data"].values()))
    return done.returncode, {each["__id__"]: each for each in steps.values()}, done.stdout + done.stderr


def test_the_orchestration_of_a_finished_cloud_changes_nothing() -> None:
    code, steps, said = orchestrated(LAB, 600)
    assert code == 0, said[-3000:]
    assert {name: each["result"] for name, each in steps.items()} == {FIRST: True, LAST: True}, said[-3000:]
    assert [each["changes"] for each in steps.values()] == [{}, {}]
    comment = steps[LAST]["comment"].replace(",", "").replace(".", "").split()
    assert set(EVERYONE) <= set(comment), comment


@pytest.fixture
def site_file() -> Iterator[dict[str, Any]]:
    """Give the master's site file as data; the old one is back in the end."""
    text = site_text(LAB)
    yield yaml.safe_load(text)
    write_site(LAB, text)


def test_the_orchestration_says_that_a_host_failed_and_stops(site_file: dict[str, Any]) -> None:
    override(site_file, "glance", GLANCE, "DEFAULT", image_size_capp=1099511627001)
    write_site(LAB, site_file)
    code, steps, said = orchestrated(LAB, 600)
    assert code != 0, "the exit code says that all is well"
    assert {name: each["result"] for name, each in steps.items()} == {FIRST: False, LAST: False}
    assert "image_size_capp" in said
    assert "requisite failed" in steps[LAST]["comment"], steps[LAST]["comment"]


@pytest.mark.slow
def test_the_orchestration_makes_a_cloud_of_empty_hosts(tmp_path: Path) -> None:
    with own_lab(LAB, tmp_path, "orch") as lab:
        code, steps, said = orchestrated(lab, 2400)
        assert code == 0, said[-3000:]
        assert {name: each["result"] for name, each in steps.items()} == {FIRST: True, LAST: True}
        assert all(each["changes"] for each in steps.values())
        nothing_to_do(salt(lab, EVERYONE, "state.highstate"), EVERYONE)
