"""The doors at which every host knocks: each API in clear text and over TLS, and the services behind them."""

from __future__ import annotations

import re
from typing import Any

import expected

SERVICES_CA = "/etc/saltern/pki/services-ca.crt"
CHASSIS = {"cert": "/etc/saltern/pki/ovn-chassis.crt", "key": "/etc/saltern/pki/ovn-chassis.key"}
LIBVIRT = {"cert": "/etc/pki/libvirt/clientcert.pem", "key": "/etc/pki/libvirt/private/clientkey.pem"}


def apis() -> dict[int, str]:
    """Return port → service of everything that HAProxy serves, from the plan of the leading controller."""
    plan = expected.plans()[expected.model().having("controller")[0].id]
    lines = plan["services"]["haproxy"]["files"]["/etc/haproxy/haproxy.cfg"]["settings"]
    ports = {int(found[1]) for line in lines if (found := re.match(r"\s*bind \S*:(\d+)\b", line))}
    names = {port: each["service"] for each in plan["openings"] for port in each["ports"]}
    return {port: names.get(port, "unknown") for port in sorted(ports)}


def targets() -> dict[str, dict[str, Any]]:
    """Return name → door."""
    model = expected.model()
    found: dict[str, dict[str, Any]] = {}
    for port in apis():
        found[f"clear {port}"] = {"host": model.api_address, "port": port, "mode": "http"}
        found[f"tls {port}"] = {"host": model.api_name, "port": port, "mode": "tls", "ca_file": SERVICES_CA}
    leader = model.having("controller")[0].address
    for name, port in (("memcached", 11211), ("mariadb", 3306), ("amqp in clear", 5672), ("northbound", 6641)):
        found[name] = {"host": leader, "port": port, "mode": "tcp"}
    southbound = {"host": leader, "port": 6642, "mode": "tls", "ca_file": SERVICES_CA}
    found["southbound without certificate"] = southbound
    found["southbound as chassis"] = southbound | CHASSIS
    for host in model.having("compute"):
        door = {"host": host.address, "port": 16514, "mode": "tls", "ca_file": "/etc/pki/CA/cacert.pem"}
        found[f"libvirt of {host.id} as API"] = door | CHASSIS
        found[f"libvirt of {host.id}"] = door | LIBVIRT
        found[f"libvirt of {host.id} in clear"] = {"host": host.address, "port": 16509, "mode": "tcp"}
    return found
