"""The deploy node: the site file and the secrets in place, the master's own modules synced."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml

from lab import nodes, saltconf
from lab.command import LabError, last_words, run
from lab.layout import Lab, Node
from lab.units import wait

# The directory is open: on a host with every role the services' certificates are below it.
INSTALL = 'mkdir -p "$(dirname "$1")"; umask 077; cat >"$1.new"; chmod "$2" "$1.new"; mv "$1.new" "$1"'


def install(lab: Lab, node: Node, path: str, content: str, mode: str = "0600") -> None:
    """Write a file inside a running node; its content comes over standard input."""
    argv = nodes.enter(lab, node, "sh", "-c", INSTALL, "sh", path, mode)
    done = subprocess.run(argv, input=content, text=True, capture_output=True, check=False)
    if done.returncode:
        raise LabError(f"{node.id}:{path}: cannot be written: {last_words(done.stderr)}")


def ready(lab: Lab) -> None:
    """Bring the site file, the master's modules and the secrets to the deploy node; afterwards the master works."""
    install(lab, lab.deploy, saltconf.SITE, lab.source.read_text())
    # A runner needs no master, but a place that the master makes when it starts.
    nodes.call(lab, lab.deploy, "mkdir", "-p", "-m", "700", "/var/cache/salt/master/proc")
    accept(lab)
    runner(lab, "saltutil.sync_all")
    runner(lab, "saltern.secrets")
    # The workers of one that runs keep the modules that they have loaded, perhaps before an earlier run was killed.
    nodes.call(lab, lab.deploy, "systemctl", "restart", "salt-master")
    wait(lambda: active(lab), 60, "the salt-master to start", pause=0.5)


def accept(lab: Lab) -> None:
    """Have the master know every minion, also those of hosts that came to the site after its disk was made."""
    disk = Path(f"/proc/{nodes.leader(lab, lab.deploy)}/root")
    for path, public in saltconf.accepted(lab, saltconf.keys(lab)).items():
        if not (disk / path).exists():
            install(lab, lab.deploy, f"/{path}", public, "0644")
    # What a master that ran put off when the new minion knocked: it would count for more.
    nodes.call(lab, lab.deploy, "rm", "-f", *(f"/{saltconf.PENDING}/{node.id}" for node in lab.nodes))


def active(lab: Lab) -> bool:
    """Tell whether the salt-master runs."""
    return nodes.call(lab, lab.deploy, "systemctl", "is-active", "salt-master", check=False).strip() == "active"


def runner(lab: Lab, *words: str) -> object:
    """Run a runner on the deploy node and return its answer; what it has to say on failure is in the error."""
    argv = nodes.enter(lab, lab.deploy, "salt-run", "--out=json", "--log-level=error", *words)
    done = run(*argv, check=False, timeout=300)
    try:
        answer: object = json.loads(done.stdout)
    except json.JSONDecodeError:
        answer = None
    if done.returncode or answer is None:
        said = yaml.safe_dump(answer) if answer is not None else last_words(done.stdout + done.stderr)
        raise LabError(f"salt-run {' '.join(words)}: exit code {done.returncode}\n{said}")
    return answer
