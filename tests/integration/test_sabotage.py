"""Verification sees: each breakage of the running lab makes it fail and name the cause; mended, it passes again.

Breakages that do not touch each other are made in one round, so that a round costs one run of the verification. That
the cause of each is named only because of it follows from the clean runs before and after.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from frontdoor import verify
from lab import nodes, sites
from lab.layout import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow]
Verification = Callable[[], tuple[int, str]]
SOME_FAILED = 1
"""pytest's exit code when tests ran and some of them failed."""
PKI = "/etc/saltern/pki"
SELF_SIGNED = f"openssl req -x509 -new -key {PKI}/mariadb.key -subj /CN=ctl1 -out {PKI}/mariadb.crt"


@dataclass(frozen=True)
class Breakage:
    """One thing that goes wrong: in which round, on which host, how, how it is mended, what verification must say."""

    name: str
    round: int
    where: str
    broken: str
    mended: str
    said: str


def edited(path: str, expression: str, after: str = "true") -> tuple[str, str]:
    """Return the commands that edit a file and that put the old one back, with a command after each."""
    saved = f"/root/sabotage{path.replace('/', '-')}"
    broken = f"cp -a {path} {saved} && sed -i {shlex.quote(expression)} {path} && ! cmp -s {path} {saved} && {after}"
    return broken, f"cp -a {saved} {path} && rm {saved} && {after}"


def replaced(path: str, command: str) -> tuple[str, str]:
    """Return the commands that overwrite a file by a command and that put the old one back."""
    saved = f"/root/sabotage{path.replace('/', '-')}"
    return f"cp -a {path} {saved} && {command}", f"cp -a {saved} {path} && rm {saved}"


def served(name: str, command: str) -> tuple[str, str]:
    """Return the commands that start a process as a unit of its own and that end it."""
    return f"systemd-run --quiet --unit={name} {command} && sleep 1", f"systemctl stop {name}"


BREAKAGES = [
    Breakage("a port opened wide", 1, "controller", *served("sabotage-port", "python3 -m http.server 8181"),
             "listening beyond the plan: python3 on 0.0.0.0:8181/tcp"),
    Breakage("memcached on every address", 1, "controller",
             *edited("/etc/memcached.conf", "s/127.0.0.1/0.0.0.0/", "systemctl restart memcached"),
             "memcached on 0.0.0.0:11211/tcp"),
    Breakage("an API in clear text", 1, "controller",
             *edited("/etc/haproxy/haproxy.cfg", r"s/\(bind .*:9292\) ssl .*/\1/", "systemctl restart haproxy"),
             "port 9292 (glance) answers in clear text"),
    Breakage("an expired certificate", 1, "controller",
             *replaced(f"{PKI}/mariadb.crt",
                       f"{SELF_SIGNED} -not_before 20200101000000Z -not_after 20200102000000Z"),
             "certificate mariadb: expired on 2020-01-02"),
    Breakage("a private key open to all", 1, "controller", f"chmod 0644 {PKI}/rabbitmq.key",
             f"chmod 0640 {PKI}/rabbitmq.key", f"{PKI}/rabbitmq.key: is root:rabbitmq 0644"),
    Breakage("a policy on queues", 1, "controller",
             "rabbitmqctl -q set_policy --vhost nova sabotage ^none '{\"max-length\": 1}'",
             "rabbitmqctl -q clear_policy --vhost nova sabotage", "policies beyond the plan: nova:sabotage"),
    Breakage("a masked unit", 1, "controller", "systemctl mask --now nova-scheduler",
             "systemctl unmask nova-scheduler && systemctl start nova-scheduler", "nova-scheduler.service is inactive"),
    Breakage("a unit that must not run", 1, "controller", "systemctl unmask nova-serialproxy",
             "systemctl mask nova-serialproxy", "nova-serialproxy.service is loaded, not masked"),
    Breakage("a database in clear text", 1, "controller", "mariadb -e 'set global require_secure_transport = off'",
             "mariadb -e 'set global require_secure_transport = on'", "MariaDB without TLS"),
    Breakage("a removed package", 1, "deploy", "dpkg --remove --force-depends python3-osc-placement",
             "apt-get install -y -q python3-osc-placement", "packages not installed: python3-osc-placement"),
    Breakage("a stopped agent", 1, "compute", "systemctl stop neutron-ovn-metadata-agent",
             "systemctl start neutron-ovn-metadata-agent", "neutron-ovn-metadata-agent.service is inactive"),
    Breakage("a wrong file mode", 1, "compute", "chmod 0644 /etc/nova/nova.conf", "chmod 0640 /etc/nova/nova.conf",
             "/etc/nova/nova.conf: is root:nova 0644"),
    Breakage("a changed option", 1, "other compute",
             *edited("/etc/nova/nova.conf", "s/^cpu_mode *=.*/cpu_mode = host-model/"),
             "/etc/nova/nova.conf: differs from the plan: libvirt.cpu_mode"),
    Breakage("a copy of a secret", 1, "compute", "install -m 0644 /etc/nova/nova.conf /etc/nova-backup.conf",
             "rm /etc/nova-backup.conf", "everyone may read a secret in: /etc/nova-backup.conf"),
    Breakage("no firewall", 1, "compute", "nft delete table inet saltern", "nft -f /etc/nftables.conf",
             "firewall: not loaded"),
    Breakage("a rule of a stranger", 1, "other compute", "nft add rule inet saltern input tcp dport 4444 accept",
             "nft -f /etc/nftables.conf", "loaded beyond the file: ['tcp dport 4444 accept']"),
    Breakage("a lost bridge mapping", 1, "compute",
             "ovs-vsctl get Open_vSwitch . external_ids:ovn-bridge-mappings >/root/sabotage-mapping && "
             "ovs-vsctl remove Open_vSwitch . external_ids ovn-bridge-mappings",
             "ovs-vsctl set Open_vSwitch . external_ids:ovn-bridge-mappings=$(cat /root/sabotage-mapping)",
             "bridge mappings are ['']"),
    Breakage("a lost trunk", 1, "other compute",
             "ovs-vsctl get Interface eth1 mtu_request >/root/sabotage-mtu && ovs-vsctl del-port br-trunk eth1",
             "ovs-vsctl add-port br-trunk eth1 -- set Interface eth1 mtu_request=$(cat /root/sabotage-mtu)",
             "bridge br-trunk has the ports"),
    Breakage("a broken hosts file", 1, "compute", *edited("/etc/hosts", "/ctl1/d"),
             "/etc/hosts: differs from the plan"),
    Breakage("a stopped clock", 1, "other compute", "systemctl stop chrony", "systemctl start chrony",
             "chrony.service is inactive"),
    Breakage("a failed unit", 1, "other compute", "systemd-run --quiet --unit=sabotage-failed false; sleep 1",
             "systemctl reset-failed sabotage-failed", "sabotage-failed.service"),
    Breakage("a route for metadata", 1, "compute", "ip route add 169.254.169.254/32 via {controller} dev eth0",
             "ip route del 169.254.169.254/32", "169.254.169.254 is routed"),
    Breakage("a certificate of a foreign authority", 2, "controller",
             *replaced(f"{PKI}/mariadb.crt", f"{SELF_SIGNED} -days 300"),
             "certificate mariadb: not signed by the services authority"),
    Breakage("a foreign authority", 2, "compute",
             *replaced("/etc/pki/CA/cacert.pem", f"cat {PKI}/services-ca.crt >/etc/pki/CA/cacert.pem"),
             "/etc/pki/CA/cacert.pem is not the libvirt authority's certificate"),
    Breakage("a missing file", 2, "compute", "mv /etc/chrony/chrony.conf /root/chrony.conf",
             "mv /root/chrony.conf /etc/chrony/chrony.conf", "/etc/chrony/chrony.conf: missing"),
    Breakage("a silent minion", 2, "other compute", "systemctl stop salt-minion", "systemctl start salt-minion",
             "no facts: no answer from its minion"),
    Breakage("a worker that is listed and gone", 2, "controller",
             "mariadb neutron -e 'insert into ovn_hash_ring (node_uuid, group_name, hostname, created_at, updated_at) "
             "select \"sabotage\", group_name, hostname, created_at, updated_at from ovn_hash_ring limit 1'",
             "mariadb neutron -e 'delete from ovn_hash_ring where node_uuid = \"sabotage\"'",
             "neutron's workers in OVN's hash ring, (listed, alive)"),
    Breakage("a disabled compute host", 2, "deploy",
             "OS_CLOUD=saltern openstack compute service set --disable {compute id} nova-compute",
             "OS_CLOUD=saltern openstack compute service set --enable {compute id} nova-compute",
             "not up and enabled: nova-compute on"),
]  # fmt: skip


@pytest.fixture(scope="module")
def lab() -> Lab:
    """The running lab."""
    found = sites.load(os.environ.get("SALTERN_SITE", "lab"))
    assert nodes.leader(found, found.deploy), f"the lab {found.name} does not run"
    return found


@pytest.fixture(scope="module")
def verification(lab: Lab) -> Verification:
    """A function that runs the verification of hosts and returns its exit code and what it printed."""

    def run() -> tuple[int, str]:
        variables = verify.environment(nodes.REPOSITORY)
        argv = verify.entered(lab, variables, verify.pytest_command(nodes.REPOSITORY, ["--tb=line"]))
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
        return done.returncode, done.stdout

    return run


def on(lab: Lab, where: str, script: str) -> None:
    """Run a script on the host that a breakage names."""
    computes = lab.site.having("compute")
    hosts = {"deploy": lab.site.having("deploy"), "controller": lab.site.having("controller"), "compute": computes}
    host = hosts[where][0] if where in hosts else computes[-1]
    node = lab.node(host.id)
    assert node
    filled = script.replace("{controller}", hosts["controller"][0].address).replace("{compute id}", computes[0].id)
    nodes.call(lab, node, "sh", "-c", filled)


@pytest.fixture(scope="module")
def rounds(lab: Lab, verification: Verification) -> Iterator[dict[int, str]]:
    """What verification said in each round; before and after all of them it passes, and everything is mended."""
    code, clean = verification()
    if code:
        pytest.fail(f"the lab is not as it should be before anything is broken:\n{clean[-3000:]}", pytrace=False)
    said = {0: clean}
    for number in sorted({each.round for each in BREAKAGES}):
        with ExitStack() as mending:
            for each in (each for each in BREAKAGES if each.round == number):
                mending.callback(on, lab, each.where, each.mended)
                on(lab, each.where, each.broken)
            code, said[number] = verification()
            assert code == SOME_FAILED, f"round {number}: exit code {code}:\n{said[number][-3000:]}"
    yield said
    code, again = settled(verification)
    assert code == 0, again


def settled(verification: Verification) -> tuple[int, str]:
    """Return the first good answer of the verification, or its third bad one: agents report after a while."""
    answers = (verification() for _ in range(3))
    found = next(answers)
    while found[0] and (again := next(answers, None)):
        found = again
    return found


@pytest.mark.parametrize("breakage", BREAKAGES, ids=[each.name for each in BREAKAGES])
def test_breakage_is_seen_and_named(rounds: dict[int, str], breakage: Breakage) -> None:
    assert breakage.said not in rounds[0]
    assert breakage.said in rounds[breakage.round]
