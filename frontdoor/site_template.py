"""The text of a first site file, made from a few answers; comments say what else can stand there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network

import yaml


@dataclass
class Answers:
    """What ``init`` knows of a new site; ``hosts`` is name: (roles, address)."""

    name: str = "cloud"
    domain: str = "cloud.example"
    management: str = "10.20.0.0/24"
    gateway: str | None = None
    tunnel: str | None = "10.30.0.0/24"
    tunnel_vlan: int = 4
    vlans: tuple[str, ...] = ("100-199",)
    management_device: str = "eth0"
    trunk_device: str = "eth1"
    hosts: dict[str, tuple[list[str], str]] = field(default_factory=dict)


def add_host(answers: Answers, role: str, name: str, address: str) -> None:
    """Give a host a role; a host named twice has both roles."""
    roles, _ = answers.hosts.setdefault(name, ([], address))
    roles.append(role)


def numbered(answers: Answers, computes: int) -> None:
    """Fill in a deploy host, a controller and computes with addresses of the management network."""
    add_host(answers, "deploy", "deploy", _numbered(answers.management, 5))
    add_host(answers, "controller", "ctl1", _numbered(answers.management, 11))
    for number in range(1, computes + 1):
        add_host(answers, "compute", f"cmp{number}", _numbered(answers.management, 20 + number))


def _numbered(network: str, number: int) -> str:
    """Return an address of a network; of what is none, text that the check of the site file refuses."""
    try:
        return str(IPv4Network(network, strict=False).network_address + number)
    except ValueError:
        return f"{network} + {number}"


def text(answers: Answers) -> str:
    """Return the site file."""
    return "\n".join([*_head(answers), *_networks(answers), *_hosts(answers), *_tail(answers)]) + "\n"


def _word(value: str) -> str:
    """Return text as YAML reads it back: plain where that is safe, else in quotes."""
    plain = re.fullmatch(r"[A-Za-z0-9._/-]+", value) and yaml.safe_load(value) == value
    return value if plain else json.dumps(value)


def _list(values: Iterable[str]) -> str:
    return f"[{', '.join(_word(value) for value in values)}]"


def _head(answers: Answers) -> list[str]:
    return [
        "# The whole cloud; pillar/site.example.yaml shows every key with an explanation.",
        "schema: 1",
        f"name: {_word(answers.name)}",
        f"domain: {_word(answers.domain)}  # hosts are HOST.DOMAIN, the APIs are at api.DOMAIN",
        "# live_migration: tls",
        "# time: {servers: [ntp.example.org]}  # what the controllers follow; all other hosts follow the controllers",
        "# firewall: {admin: [192.0.2.0/24]}  # SSH from here too; else from the management network only",
        "",
    ]


def _networks(answers: Answers) -> list[str]:
    gateway = f", gateway: {_word(answers.gateway)}" if answers.gateway else ""
    lines = [
        "networks:",
        "  # where hosts reach each other, untagged",
        f"  management: {{cidr: {_word(answers.management)}{gateway}}}",
    ]
    if answers.tunnel:
        lines += [
            "  # tunnels between computes, a VLAN on the trunk; addresses have the host part of the management address",
            f"  tunnel: {{cidr: {_word(answers.tunnel)}, vlan: {answers.tunnel_vlan}}}",
        ]
    return [
        *lines,
        "  # VLANs for tenants' networks",
        f"  trunk: {{vlans: {_list(answers.vlans)}}}",
        "  # VLANs that exist outside the cloud, with a router that is not ours",
        "  # provider:",
        "  #   public: {vlan: 200, cidr: 198.51.100.0/24, gateway: 198.51.100.1, external: true,",
        "  #            pool: 198.51.100.100-198.51.100.199}",
        "",
    ]


def _hosts(answers: Answers) -> list[str]:
    lines = ["# a host's id is its host name and its minion id; one of them is the controller", "hosts:"]
    for name, (roles, address) in answers.hosts.items():
        devices = {answers.management_device: "management"}
        if {"controller", "compute"} & set(roles):
            devices[answers.trunk_device] = "trunk"
        lines += [
            f"  {_word(name)}:",
            f"    roles: {_list(roles)}",
            f"    address: {_word(address)}",
            f"    interfaces: {_devices(devices)}",
        ]
    return [*lines, ""]


def _devices(devices: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{_word(device)}: {{carries: {network}}}' for device, network in devices.items())}}}"


def _tail(answers: Answers) -> list[str]:
    return [
        "# options under OpenStack's own names, for all hosts (or below a host, for that one)",
        "# services: {nova: {files: {/etc/nova/nova.conf: {DEFAULT: {cpu_allocation_ratio: 4.0}}}}}",
    ]
