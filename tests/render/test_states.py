"""The SLS files: one for the whole host, one for each service of the catalogue, nothing else."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from saltern import highdata

from tests.sample import ROOT, plan, real_catalogue

STATES = ROOT / "states"


def rendered(path: Path, asked: list[Any]) -> Any:
    """Run an SLS file of Salt's py renderer with a host function that notes what it is asked for."""

    def states(service: str | None = None) -> dict[str, Any]:
        asked.append(service)
        return highdata.build(plan("ctl1").as_data(), [service] if service else None)

    return runpy.run_path(str(path), {"__salt__": {"saltern_host.states": states}})["run"]()


def test_the_top_file_gives_every_host_its_whole_plan() -> None:
    assert yaml.safe_load((STATES / "top.sls").read_text()) == {"base": {"*": ["host"]}}
    asked: list[Any] = []
    assert "service: units run" in rendered(STATES / "host.sls", asked)
    assert asked == [None]


def test_there_is_one_file_for_each_service() -> None:
    names = {path.stem for path in STATES.glob("*.sls")}
    assert names == {"top", "host", *real_catalogue()}


@pytest.mark.parametrize("service", sorted(name for name in real_catalogue() if name in plan("ctl1").services))
def test_a_services_file_applies_that_service(service: str) -> None:
    asked: list[Any] = []
    assert rendered(STATES / f"{service}.sls", asked)
    assert asked == [service]


def test_the_orchestration_begins_with_the_controllers() -> None:
    places = {"site": str(ROOT / "pillar/sites/lab.yaml"), "catalogue": str(ROOT / "pillar/services")}
    opts = {"ext_pillar": [{"saltern": places}]}
    steps = runpy.run_path(str(STATES / "orch/deploy.sls"), {"__opts__": opts})["run"]()
    first, every = (dict(item for each in step["salt.state"] for item in each.items()) for step in steps.values())
    assert first == {"tgt": ["ctl1"], "tgt_type": "list", "highstate": True}
    assert every == {"tgt": "*", "batch": "10%", "highstate": True, "require": [{"salt": next(iter(steps))}]}


def test_no_file_takes_the_place_of_the_package() -> None:
    """Salt's py renderer registers the module of an SLS under the file's name."""
    assert not (STATES / "saltern.sls").exists()
