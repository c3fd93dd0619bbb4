"""The deploy node: the site file and the secrets in place, the master's own modules synced."""

from __future__ import annotations

import json
import subprocess

from lab import nodes, salt
from lab.command import LabError, last_words
from lab.layout import REPOSITORY, Lab, Node
from lab.units import wait

INSTALL = 'umask 077; mkdir -p "$(dirname "$1")"; cat >"$1.new"; chmod "$2" "$1.new"; mv "$1.new" "$1"'


def install(lab: Lab, node: Node, path: str, content: str, mode: str = "0600") -> None:
    """Write a file inside a running node; its content comes over standard input."""
    argv = nodes.enter(lab, node, "sh", "-c", INSTALL, "sh", path, mode)
    done = subprocess.run(argv, input=content, text=True, capture_output=True, check=False)
    if done.returncode:
        raise LabError(f"{node.id}:{path}: cannot be written: {last_words(done.stderr)}")


def ready(lab: Lab) -> None:
    """Bring the site file, the master's modules and the secrets to the deploy node; afterwards pillars compile."""
    install(lab, lab.deploy, salt.SITE, lab.source.read_text())
    wait(lambda: active(lab), 60, "the salt-master to start", pause=0.5)
    if sync(lab):
        # The master's workers keep the modules that they have loaded.
        nodes.call(lab, lab.deploy, "systemctl", "restart", "salt-master")
        wait(lambda: active(lab), 60, "the salt-master to start again", pause=0.5)
    if (REPOSITORY / "modules/_runners/saltern.py").exists():
        runner(lab, "saltern.secrets")


def active(lab: Lab) -> bool:
    """Tell whether the salt-master runs."""
    return nodes.call(lab, lab.deploy, "systemctl", "is-active", "salt-master", check=False).strip() == "active"


def runner(lab: Lab, *words: str) -> object:
    """Run a runner on the deploy node and return its answer."""
    said = nodes.call(lab, lab.deploy, "salt-run", "--out=json", "--log-level=error", *words, timeout=300)
    try:
        return json.loads(said)
    except json.JSONDecodeError as error:
        raise LabError(f"salt-run {' '.join(words)}:\n{last_words(said)}") from error


def sync(lab: Lab) -> bool:
    """Bring the repository's modules to the master; tells whether anything changed."""
    answer = runner(lab, "saltutil.sync_all")
    return any(answer.values()) if isinstance(answer, dict) else bool(answer)
