"""What the site's hosts must be, from the site file and the catalogue alone, and what they say they are."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import salt.client
import salt.config
from saltern import catalogue, pki, resolve, secrets, site
from saltern.model import Site

MASTER = "/etc/salt/master"
FACTS_SECONDS = 120
PING_SECONDS = 20

# What a service listens on beside its openings in the firewall, on the host's own address.
BESIDE = {"rabbitmq": [("tcp", 4369), ("tcp", 25672)]}
# Who may listen on every address: the firewall limits who is heard. The salt-master is not among them.
EVERYWHERE = {("tcp", 22), ("udp", 123)}
# Openings without a listener of their own: Open vSwitch answers inside its datapath; sshd is the operator's choice;
# screens and migrations listen while there is one.
UNHEARD = {22, 6081, 3784}
LOOPBACK = ("127.", "::1")


@functools.cache
def paths() -> dict[str, str]:
    """Return where the master reads site, secrets, catalogue and authorities."""
    found: dict[str, str] = {"catalogue": "/srv/saltern/pillar/services", "pki": pki.DIRECTORY}
    for each in salt.config.master_config(MASTER)["ext_pillar"]:
        found |= each.get("saltern", {})
    return found


@functools.cache
def model() -> Site:
    """Return the site."""
    return site.load(Path(paths()["site"]))


@functools.cache
def plans() -> dict[str, dict[str, Any]]:
    """Return every host's plan, resolved here and not asked of the hosts."""
    services, known = catalogue.load(Path(paths()["catalogue"])), secrets.read(paths()["secrets"])
    return {host: resolve.resolve(model(), services, known, host).as_data() for host in model().hosts}


def authority(name: str) -> str:
    """Return an authority's certificate as the deploy host keeps it."""
    return Path(paths()["pki"], f"{name}.crt").read_text()


def of(kind: str) -> Iterator[tuple[str, str, Any]]:
    """Yield ``(host, name, entry)`` of all files, units, masked units or certificates of all plans."""
    for host, plan in plans().items():
        for part in plan["services"].values():
            found = part.get(kind) or {}
            yield from ((host, name, found[name] if isinstance(found, dict) else None) for name in found)


def openings() -> Iterator[tuple[str, str, int, dict[str, Any]]]:
    """Yield ``(host, protocol, port, opening)`` of every single port that a firewall opens; ranges are left out."""
    for host, plan in plans().items():
        for opening in plan["openings"]:
            for port in opening["ports"]:
                if str(port).isdecimal():
                    yield host, opening["proto"], int(port), opening


def own() -> set[str]:
    """Return the names of the site's own openings: whether something listens there is the operator's business."""
    return set(model().openings)


def allowed(host: str, listener: dict[str, Any]) -> bool:
    """Tell whether a listener off the loopback is one that the host's plan foresees."""
    plan = plans()[host]
    port = (listener["proto"], listener["port"])
    wide = listener["address"] in ("0.0.0.0", "*", "::")  # noqa: S104
    if wide and port not in EVERYWHERE:
        return False
    beside = [each for service in plan["services"] for each in BESIDE.get(service, ())]
    return port in beside or any(within(port, opening) for opening in plan["openings"])


def within(port: tuple[str, int], opening: dict[str, Any]) -> bool:
    """Tell whether an opening covers a port."""
    if port[0] != opening["proto"]:
        return False
    ends = [[int(end) for end in str(each).split("-")] for each in opening["ports"]]
    return any(each[0] <= port[1] <= each[-1] for each in ends)


@functools.cache
def alive() -> tuple[str, ...]:
    """Return the hosts whose minions answer, also on busy machines: nobody else is waited for."""
    said = salt.client.LocalClient(MASTER).cmd("*", "test.ping", timeout=PING_SECONDS, gather_job_timeout=PING_SECONDS)
    return tuple(host for host, answer in said.items() if answer is True)


def ask(function: str, *arguments: Any) -> dict[str, Any]:
    """Return every host's answer to one job; a host that is silent has none."""
    client, given = salt.client.LocalClient(MASTER), {"tgt_type": "list", "timeout": FACTS_SECONDS}
    return dict(client.cmd(list(alive()), function, list(arguments), **given))
