"""The boot service by a highstate of the deploy host, and a real master that takes the key of a host armed for it.

A compute node plays the bare machine: what counts of it is its MAC. Kept from a real installation is that no system is
installed; the key, the exchange and the master are real.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from lab import nodes, sites
from lab.command import LabError
from lab.layout import Node
from lab.master import runner
from tests.lab_tools import nothing_to_do, salt, site_text, write_site

LAB = sites.load(os.environ.get("SALTERN_SITE", "lab"))
MACHINE: Node = next(node for node in LAB.nodes if "deploy" not in node.host.roles)
DEPLOY = LAB.deploy.host
HTTP, TLS = f"http://{DEPLOY.address}:8081", f"https://{DEPLOY.address}:8443"
CA = "/etc/saltern/pki/services-ca.crt"
UNITS = ("saltern-keeper", "saltern-boot", "nginx", "saltern-dnsmasq")
SSH = f"ssh-ed25519 {'A' * 68} admin@example.org"
ANSWERS = f"{HTTP}/answers/bare1/preseed.cfg"

pytestmark = pytest.mark.slow


def on(node: Node, command: str, check: bool = True) -> str:
    return nodes.call(LAB, node, "sh", "-c", command, check=check)


def asked(command: str) -> tuple[str, str]:
    """Run curl on the machine; return status and body."""
    body, _, status = on(MACHINE, f"curl -sS -m 60 -w '\\n%{{http_code}}' {command}", check=False).rpartition("\n")
    return status, body


@pytest.fixture(scope="module")
def bare() -> Iterator[None]:
    """A site with one more host, which is installed from the network, applied on the deploy host."""
    text = site_text(LAB)
    data: dict[str, Any] = yaml.safe_load(text)
    network = LAB.site.management.cidr.rsplit(".", 1)[0]
    mac = on(MACHINE, "cat /sys/class/net/eth0/address").strip()
    data["hosts"]["bare1"] = {
        "roles": ["compute"],
        "address": f"{network}.77",
        "interfaces": {"eth0": {"carries": "management", "mac": mac}, "eth1": {"carries": "trunk"}},
        "install": {"profile": "debian-13", "firmware": "bios", "disks": [{"name": "sda"}], "ssh_keys": [SSH]},
    }
    write_site(LAB, data)
    salt(LAB, [DEPLOY.id], "saltutil.sync_all")
    try:
        for service in ("boot", "firewall"):
            answer = salt(LAB, [DEPLOY.id], "state.apply", service)
            assert answer.not_true(DEPLOY.id) == {}
        yield
    finally:
        write_site(LAB, text)
        on(LAB.deploy, f"systemctl disable --now {' '.join(UNITS)}; rm -rf /var/lib/saltern/hosts", check=False)
        on(LAB.deploy, "salt-key --yes --delete=bare1", check=False)
        salt(LAB, [DEPLOY.id], "state.apply", "firewall")


def test_a_second_run_changes_nothing(bare: None) -> None:
    nothing_to_do(salt(LAB, [DEPLOY.id], "state.apply", "boot"), [DEPLOY.id])
    listening = on(LAB.deploy, "ss -Hltn 'sport = :8081 or sport = :8443 or sport = :80'")
    assert set(re.findall(r"(\S+:\d+) ", listening)) == {f"{DEPLOY.address}:8081", f"{DEPLOY.address}:8443"}
    owner = on(LAB.deploy, "ps -o user:32= -p $(systemctl show -P MainPID saltern-boot)").strip()
    assert owner == "saltern-boot"


def test_a_key_is_accepted_once_and_taken_back(bare: None) -> None:
    assert "bare1" in str(runner(LAB, "saltern.hosts"))
    assert asked(ANSWERS)[0] == "404"
    assert "armed for one installation" in str(runner(LAB, "saltern.hosts", "reinstall", "bare1"))
    with pytest.raises(LabError, match="it waits for its machine"):
        runner(LAB, "saltern.hosts", "reinstall", "bare1")
    status, text = asked(ANSWERS)
    assert status == "200"
    token = text.split(" >/tmp/saltern/token")[0].split()[-1]
    on(MACHINE, "umask 077; openssl genpkey -quiet -algorithm RSA -out /root/bare.pem")
    on(MACHINE, f"umask 077; (printf '%s\\n\\n' {token}; openssl pkey -in /root/bare.pem -pubout) >/root/bare.body")
    exchange = f"--cacert {CA} --data-binary @/root/bare.body {TLS}/exchange/bare1"
    status, master = asked(exchange)
    assert (status, master.strip()) == ("200", on(LAB.deploy, "cat /etc/salt/pki/master/master.pub").strip())
    public = on(MACHINE, "openssl pkey -in /root/bare.pem -pubout")
    assert on(LAB.deploy, "cat /etc/salt/pki/master/minions/bare1") == public
    assert asked(exchange)[0] == "403"
    assert asked(ANSWERS)[0] == "403"
    said = str(runner(LAB, "saltern.hosts"))
    assert "bare1: locked: its answers were asked for a second time" in said
    assert "bare1" not in on(LAB.deploy, "salt-key --list=accepted")
    on(MACHINE, "rm /root/bare.pem /root/bare.body")
    assert "unlocked" in str(runner(LAB, "saltern.hosts", "unlock", "bare1"))
