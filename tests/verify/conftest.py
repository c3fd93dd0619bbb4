"""Facts of all hosts, gathered once by one job, and what each host met when it knocked at the others."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_configure(config: pytest.Config) -> None:
    """Say at once what is missing where verification cannot run."""
    if os.geteuid() != 0 or not Path("/etc/salt/master").exists():
        pytest.exit("verification runs as root on the deploy host: it asks the hosts through the salt-master", 4)
    import expected

    config.stash[SITE] = expected.model().name


SITE = pytest.StashKey[str]()


def pytest_report_header(config: pytest.Config) -> str:
    """Name the site."""
    return f"site: {config.stash[SITE]}"


@pytest.fixture(scope="session")
def facts() -> dict[str, Any]:
    """What every host says it is."""
    import expected

    return expected.ask("saltern_facts.gather")


@pytest.fixture(scope="session")
def met() -> dict[str, dict[str, str]]:
    """What every host that is alive met at every door: host → name of the door → answer."""
    import doors
    import expected
    import knocking

    targets = doors.targets()
    return knocking.met(targets, expected.alive(), expected.ask("saltern_facts.reach", list(targets.values())))
