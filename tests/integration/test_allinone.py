"""One host with every role: `lab up` killed again and again and run once more, then the same host without a master.

A dry run of the empty host comes first: it foretells without a traceback and touches nothing.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
import yaml

from frontdoor import testing
from lab import down, master, nodes, saltconf, sites
from lab.layout import Lab
from tests.lab_tools import nothing_to_do, own_lab, salt

SEED = 31
MOMENTS = ("networks and package proxy", "nodes:", "salt-master and minions", "highstate of", "highstate of")
"""Lines of `lab up` after each of which it is killed once."""
LONGEST = {"networks and package proxy": 0.5, "nodes:": 2.0, "salt-master and minions": 4.0, "highstate of": 90.0}
"""Seconds after which, at most, it is killed: so long the step surely lasts."""
LOOK = "dpkg-query -f '${Package} ${Version}\\n' -W | sha256sum; find /etc -type f -newer /etc/hostname | sort"
"""What tells whether a host was touched: its packages, its files of configuration."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give a lab of one host that is not there yet; nothing of it is left afterwards."""
    folder = tmp_path_factory.mktemp("allinone")
    with own_lab(sites.load("allinone"), folder, "one", booted=False) as found:
        yield found


def lab_up(lab: Lab, to: str) -> subprocess.Popen[str]:
    argv = [*testing.FRONT_DOOR, "lab", "up", "--site", str(lab.source), "--to", to]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)


def killed(lab: Lab, moment: str, seconds: float) -> None:
    """Run `lab up` and kill it with all that it runs on this machine, so many seconds after it has said something."""
    process = lab_up(lab, "verify")
    assert process.stdout
    said = []
    with process.stdout as lines:
        for line in lines:
            said.append(line)
            if moment in line:
                break
        time.sleep(seconds)
        assert process.poll() is None, f"it had ended {seconds:.1f} s after {moment!r}: {''.join(said[-20:])}"
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def only(lab: Lab) -> str:
    return lab.nodes[0].id


def test_a_dry_run_of_an_empty_host_touches_nothing(lab: Lab) -> None:
    with lab_up(lab, "boot") as process:
        said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    assert salt(lab, [only(lab)], "saltutil.sync_all").code == 0
    before = nodes.call(lab, lab.nodes[0], "sh", "-c", LOOK)
    dry = salt(lab, [only(lab)], "state.highstate", "test=True")
    results = {name: each["result"] for name, each in dry.states(only(lab)).items()}
    assert {name: dry.not_true(only(lab))[name] for name, result in results.items() if result is False} == {}
    assert results["host: packages are installed"] is None
    assert "Traceback" not in dry.words
    assert nodes.call(lab, lab.nodes[0], "sh", "-c", LOOK) == before


def test_lab_up_goes_on_where_it_was_killed(lab: Lab) -> None:
    dice = random.Random(SEED)  # noqa: S311 - a seed, not a secret
    down.down(lab, purge=False)
    for moment in MOMENTS:
        killed(lab, moment, dice.uniform(0, LONGEST[moment]))
    with lab_up(lab, "verify") as process:
        said, _ = process.communicate(timeout=1800)
    assert process.returncode == 0, said[-5000:]
    nothing_to_do(salt(lab, [only(lab)], "state.highstate"), [only(lab)])


def test_a_host_without_a_master_finds_nothing_to_do(lab: Lab) -> None:
    node = lab.nodes[0]
    settings = {"id": node.id, "file_client": "local", "log_level": "warning"}
    settings |= {key: saltconf.master(lab)[key] for key in ("file_roots", "ext_pillar")}
    nodes.call(lab, node, "systemctl", "stop", "salt-minion", "salt-master")
    master.install(lab, node, "/etc/salt/minion", yaml.safe_dump(settings))
    nodes.call(lab, node, "sh", "-c", "rm -rf /var/cache/salt/minion && salt-call --local saltutil.sync_all >&2")
    said = nodes.call(lab, node, "salt-call", "--local", "--out=json", "--retcode-passthrough", "state.highstate")
    states = json.loads(said)["local"]
    assert len(states) > 100
    assert {name: each["comment"] for name, each in states.items() if each["result"] is not True} == {}
    assert {name: each["changes"] for name, each in states.items() if each["changes"]} == {}
