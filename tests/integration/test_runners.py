"""The operator's questions to a real master: is the site right, where does a value come from, what would change."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from lab import nodes, sites
from lab.command import LabError
from lab.layout import Lab
from lab.master import runner
from tests.lab_tools import override, site_text, write_site

LAB = sites.load(os.environ.get("SALTERN_SITE", "lab"))
CONTROLLER = LAB.site.having("controller")[0].id
COMPUTE = LAB.site.having("compute")[0].id
GLANCE = "/etc/glance/glance-api.conf"


@pytest.fixture
def site_file() -> Iterator[dict[str, Any]]:
    """Give the master's site file as data; nothing is applied, and the old one is back in the end."""
    assert all(nodes.leader(LAB, node) for node in LAB.nodes), f"the lab {LAB.name} does not run"
    text = site_text(LAB)
    yield yaml.safe_load(text)
    write_site(LAB, text)


def asked(lab: Lab, *words: str) -> str:
    return json.dumps(runner(lab, *words))


def test_the_site_is_valid_until_it_is_not(site_file: dict[str, Any]) -> None:
    assert "is valid: " in asked(LAB, "saltern.validate")
    write_site(LAB, {**site_file, "regoin": "RegionTwo"})
    with pytest.raises(LabError, match=r"exit code 1\n(.|\n)*regoin.*unknown; did you mean"):
        runner(LAB, "saltern.validate")


def test_a_value_is_explained() -> None:
    said = asked(LAB, "saltern.explain", COMPUTE, "nova", "libvirt.virt_type")
    assert "qemu" in said
    assert "site" in said


def test_the_plan_names_what_differs_from_what_is_applied(site_file: dict[str, Any]) -> None:
    assert runner(LAB, "saltern.plan") == {node.id: "as planned" for node in LAB.nodes}
    override(site_file, "glance", GLANCE, "DEFAULT", image_size_cap=1099511627001)
    write_site(LAB, site_file)
    told = runner(LAB, "saltern.plan")
    assert isinstance(told, dict)
    assert {host: what for host, what in told.items() if host != CONTROLLER} == {
        node.id: "as planned" for node in LAB.nodes if node.id != CONTROLLER
    }
    lines = [line for line in told[CONTROLLER].splitlines() if line[:1] in "+-"]
    assert lines == [f"--- {GLANCE}", f"+++ {GLANCE}", "+image_size_cap = 1099511627001"]
