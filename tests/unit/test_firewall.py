"""The ruleset as text, and what nft itself says of it."""

import json
import os
import shutil
import subprocess

import pytest
from saltern import firewall
from saltern.errors import Problems

NFT = shutil.which("nft", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CAN_UNSHARE = NFT and os.getuid() == 0

OPENINGS = [
    {"service": "haproxy", "ports": [8774, 5000, 5000], "proto": "tcp", "sources": []},
    {"service": "nova", "ports": ["5900-6923", 16514], "proto": "tcp", "sources": ["10.20.0.21", "10.20.0.22"]},
    {"service": "ovn", "ports": [6081], "proto": "udp", "sources": ["10.30.0.0/24", "fd00::/64"], "interface": "t.0-x"},
    {"service": "merged", "ports": [1], "proto": "tcp", "sources": ["10.20.0.0/24", "10.20.0.21", "10.20.0.0/25"]},
]

GOLDEN = """\
#!/usr/sbin/nft -f
table inet saltern
delete table inet saltern
table inet saltern {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iifname "lo" accept
        ct state invalid drop
        icmp type { echo-request, destination-unreachable, time-exceeded, parameter-problem } accept
        icmpv6 type { echo-request, destination-unreachable, time-exceeded, parameter-problem, packet-too-big, \
nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, mld-listener-query } accept
        ip saddr { 10.20.0.0/24 } tcp dport { 22 } accept comment "ssh"
        tcp dport { 5000, 8774 } accept comment "haproxy"
        ip saddr { 10.20.0.21, 10.20.0.22 } tcp dport { 5900-6923, 16514 } accept comment "nova"
        iifname "t.0-x" ip saddr { 10.30.0.0/24 } udp dport { 6081 } accept comment "ovn"
        iifname "t.0-x" ip6 saddr { fd00::/64 } udp dport { 6081 } accept comment "ovn"
        ip saddr { 10.20.0.0/24 } tcp dport { 1 } accept comment "merged"
    }
    chain forward {
        type filter hook forward priority filter; policy accept;
        ip daddr 169.254.169.254 drop comment "metadata never leaves a host"
    }
}
"""


def text(openings=OPENINGS):
    return "\n".join(firewall.ruleset("10.20.0.0/24", openings)) + "\n"


def test_the_ruleset_is_the_golden_one():
    assert text() == GOLDEN


def test_without_openings_only_ssh_is_open():
    assert [line for line in text([]).splitlines() if "dport" in line] == [
        '        ip saddr { 10.20.0.0/24 } tcp dport { 22 } accept comment "ssh"'
    ]


def test_who_says_whom_ssh_is_for_is_heard():
    only = {"service": "ssh", "ports": [22], "proto": "tcp", "sources": ["10.20.0.5"]}
    assert [line.strip() for line in text([only]).splitlines() if "dport" in line] == [
        'ip saddr { 10.20.0.5 } tcp dport { 22 } accept comment "ssh"'
    ]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"proto": "sctp"}, "openings:1:proto: 'sctp': accepted: tcp, udp"),
        ({"ports": [0]}, "openings:1:ports: 0: accepted: 1 to 65535"),
        ({"ports": ["90-80"]}, "openings:1:ports: '90-80'"),
        ({"ports": ["http"]}, "openings:1:ports: 'http'"),
        ({"ports": []}, "openings:1:ports: []"),
        ({"sources": ["10.20.0.1/24"]}, "openings:1:sources: '10.20.0.1/24'"),
        ({"sources": ["any"]}, "openings:1:sources: 'any'"),
        ({"service": 'x" accept; #'}, "openings:1:service"),
        ({"interface": "eth0 accept"}, "openings:1:interface"),
        ({"interface": ""}, "openings:1:interface: ''"),
    ],
)
def test_what_nft_would_refuse_or_misread_is_refused_here(wrong, said):
    with pytest.raises(Problems) as refused:
        firewall.ruleset("10.20.0.0/24", [{"service": "a", "ports": [1], "proto": "tcp", "sources": []} | wrong])
    assert said in str(refused.value)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(Problems) as refused:
        firewall.ruleset("nowhere", [{"service": "a", "ports": [0], "proto": "x", "sources": ["y"]}])
    assert len(refused.value.problems) == 4


def in_a_namespace(script, path):
    """Run a script in a network namespace of its own: nothing of the machine's firewall is touched."""
    command = ["unshare", "-n", "sh", "-euc", script, "sh", NFT, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.skipif(not CAN_UNSHARE, reason="needs nft and root")
def test_nft_takes_it_and_leaves_other_tables_alone(tmp_path):
    path = tmp_path / "nftables.conf"
    path.write_text(text())
    others = '"$1" add table ip neutron; "$1" add chain ip neutron keep'
    ran = in_a_namespace(f'{others}; "$1" -c -f "$2"; "$1" -f "$2"; "$1" -f "$2"; "$1" -j list ruleset', path)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)["nftables"]
    assert {each["table"]["name"] for each in found if "table" in each} == {"neutron", "saltern"}
    rules = [each["rule"] for each in found if "rule" in each and each["rule"]["chain"] == "input"]
    assert len(rules) == GOLDEN.split("chain forward")[0].count(" accept") + 1  # one of them drops
    policies = {each["chain"]["name"]: each["chain"].get("policy") for each in found if "chain" in each}
    assert policies == {"keep": None, "input": "drop", "forward": "accept"}


@pytest.mark.skipif(not CAN_UNSHARE, reason="needs nft and root")
def test_a_broken_file_leaves_the_rules_as_they_were(tmp_path):
    path = tmp_path / "nftables.conf"
    path.write_text(text())
    ruined = tmp_path / "ruined.conf"
    ruined.write_text(text().replace("tcp dport { 1 }", "tcp dport { many }"))
    ran = in_a_namespace(f'"$1" -f "$2"; ! "$1" -f {ruined} 2>/dev/null; "$1" list table inet saltern', path)
    assert ran.returncode == 0, ran.stderr
    assert '"merged"' in ran.stdout


def test_replies_come_in_on_connections_that_are_older_than_the_rules():
    opening = {"service": "salt", "ports": [4505], "proto": "tcp", "sources": ["10.20.0.5"], "replies": True}
    assert firewall.rules(opening) == [
        'ip saddr { 10.20.0.5 } tcp sport { 4505 } tcp flags & (syn | ack) == ack accept comment "salt"'
    ]
