"""Salt in the lab: keys made beforehand on both sides, so that nobody has to trust a stranger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from lab import nodes
from lab.command import run
from lab.layout import Lab, Node

BITS = "2048"  # as Salt makes them; a request to the master loads the key anew each time
PROGRESS = "/etc/salt/progress.conf"
"""The minions' options for a run that somebody watches."""
ACCEPTED, PENDING = "etc/salt/pki/master/minions", "etc/salt/pki/master/minions_pre"
SITE = "/etc/saltern/site.yaml"
SECRETS = "/etc/saltern/secrets.yaml"
PILLAR = {
    "site": SITE,
    "secrets": SECRETS,
    "catalogue": f"{nodes.REPOSITORY}/pillar/services",
}


def key(path: Path) -> tuple[str, str]:
    """Return a private key and its public half, made at the first call."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        part = path.with_suffix(".part")
        run("openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{BITS}", "-out", part)
        part.rename(path)
    return path.read_text(), run("openssl", "pkey", "-in", path, "-pubout").stdout


def keys(lab: Lab) -> dict[str, tuple[str, str]]:
    """Return the key pairs of the master, named ``.master``, and of every node's minion."""
    return {name: key(lab.state / "keys" / f"{name}.pem") for name in (".master", *(node.id for node in lab.nodes))}


def master(lab: Lab) -> dict[str, Any]:
    """Return the master's configuration."""
    return {
        "interface": lab.deploy.host.address,
        "file_roots": {"base": [f"{nodes.REPOSITORY}/states", f"{nodes.REPOSITORY}/modules"]},
        "ext_pillar": [{"saltern": PILLAR}],
        "extension_modules": "/var/cache/salt/master/extmods",
        "peer_run": {".*": ["pki.sign$"]},
        "auto_accept": False,
        # Else the master keeps every minion's pillar, secrets and all, on its disk.
        "minion_data_cache": False,
        "timeout": 60,
        "gather_job_timeout": 30,
        "worker_threads": max(5, len(lab.nodes) + 2),
        "log_level": "warning",
    }


def minion(lab: Lab, node: Node) -> dict[str, Any]:
    """Return a minion's configuration; the master's public key is pinned beside it."""
    return {
        "id": node.id,
        "master": lab.deploy.host.address,
        "log_level": "warning",
        "random_reauth_delay": 3,
        "acceptance_wait_time": 2,
        "master_tries": -1,
        "startup_states": "",
        "mine_enabled": False,
    }


def files(lab: Lab, node: Node) -> dict[str, str]:
    """Return the files of a node's disk that make it a minion, and the deploy node a master."""
    pairs = keys(lab)
    private, public = pairs[node.id]
    result = {
        "etc/salt/minion": yaml.safe_dump(minion(lab, node)),
        PROGRESS.lstrip(
            "/"
        ): "# For a run that reports each state: the events cost more than the states.\nstate_events: true\n",
        "etc/salt/pki/minion/minion.pem": private,
        "etc/salt/pki/minion/minion.pub": public,
        "etc/salt/pki/minion/minion_master.pub": pairs[".master"][1],
        "etc/systemd/system/multi-user.target.wants/salt-minion.service": "-> /etc/systemd/system/salt-minion.service",
    }
    return result | (_master_files(lab, pairs) if node == lab.deploy else {})


def _master_files(lab: Lab, pairs: dict[str, tuple[str, str]]) -> dict[str, str]:
    wants = "etc/systemd/system/multi-user.target.wants/salt-master.service"
    return {
        "etc/salt/master": yaml.safe_dump(master(lab)),
        "etc/salt/pki/master/master.pem": pairs[".master"][0],
        "etc/salt/pki/master/master.pub": pairs[".master"][1],
        **accepted(lab, pairs),
        wants: "-> /etc/systemd/system/salt-master.service",
    }


def accepted(lab: Lab, pairs: dict[str, tuple[str, str]]) -> dict[str, str]:
    """Return the files by which the master knows the minions."""
    return {f"{ACCEPTED}/{node.id}": pairs[node.id][1] for node in lab.nodes}


def answering(lab: Lab) -> set[str]:
    """Return the minions that answer a ping at this moment."""
    said = nodes.call(lab, lab.deploy, "salt", "--static", "--out=json", "-t", "5", "*", "test.ping", check=False)
    try:
        return {name for name, answer in json.loads(said or "{}").items() if answer is True}
    except json.JSONDecodeError:
        return set()
