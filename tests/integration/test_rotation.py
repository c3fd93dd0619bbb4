"""Certificates near their end and new passwords: a highstate brings them, and what runs then uses them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from saltern import pki

from frontdoor import verify
from lab import highstate, master, nodes, saltconf, sites
from lab.layout import Lab
from tests.lab_tools import file_of, nothing_to_do, plan, salt

LAB = sites.load(os.environ.get("SALTERN_SITE", "lab"))
EVERYONE = [node.id for node in LAB.nodes]
LEFT = timedelta(hours=6)
SERVED = {"api": (443, 5000, 6080, 8774, 8778, 9292, 9696), "mariadb": (3306,), "rabbitmq": (5671,)}
SERVED |= {"ovn-central": (6642,), "libvirt-server": (16514,)}
"""Certificate → ports at which it is shown to whoever connects."""
CHANGED = re.compile(r"(mariadb|rabbitmq|identity)_|memcache$|metadata_proxy$")
"""Secrets that are passwords between services, and those of their users."""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Held:
    """A certificate of a host with its key."""

    host: str
    name: str
    plan: dict[str, Any]

    def serial(self, lab: Lab) -> int:
        """Return the serial number of the one on the host's disk."""
        found = pki.load_certificate(file_of(lab, self.host, self.plan["cert"]).decode())
        assert found, f"{self.host}: {self.name}"
        return found.serial_number

    def age(self, lab: Lab, authorities: Path) -> None:
        """Put one in its place that is as good, but ends soon."""
        subject = pki.Subject.of(self.plan)
        request = pki.request(file_of(lab, self.host, self.plan["key"]).decode(), subject)
        signed = datetime.now(UTC) - pki.LIFE + LEFT
        text = pki.sign(pki.read_authority(str(authorities), self.plan["ca"]), request, subject, signed)
        root(lab, self.host).joinpath(self.plan["cert"].lstrip("/")).write_text(text)


def root(lab: Lab, host: str) -> Path:
    node = lab.node(host)
    assert node
    return Path(f"/proc/{nodes.leader(lab, node)}/root")


def held(lab: Lab) -> Iterator[Held]:
    for host in EVERYONE:
        for service in plan(lab.site, host)["services"].values():
            entries = (service.get("certificates") or {}).items()
            yield from (Held(host, name, entry) for name, entry in entries if "key" in entry)


def shown(lab: Lab, host: str, port: int) -> int:
    """Return the serial number of the certificate that is shown at a port of a host."""
    node, greeting = lab.node(host), "-starttls mysql" if port == 3306 else ""
    assert node
    connect = f"openssl s_client -connect {node.host.address}:{port} {greeting} </dev/null 2>/dev/null"
    said = nodes.call(lab, node, "sh", "-c", f"{connect} | openssl x509 -noout -serial")
    return int(said.strip().removeprefix("serial="), 16)


def run_and_rest(lab: Lab) -> dict[str, list[str]]:
    """Run the highstate, and once more: nothing is left to do; return what the first run changed."""
    board = highstate.run(lab)
    assert board.good, "\n".join(board.failures())
    nothing_to_do(salt(lab, EVERYONE, "state.highstate"), EVERYONE)
    return {host: [str(each["id"]) for each in row.states if each["changed"]] for host, row in board.rows.items()}


def test_certificates_near_their_end_are_renewed_and_used() -> None:
    every = list(held(LAB))
    assert set(SERVED) <= {each.name for each in every}
    for each in every:
        each.age(LAB, root(LAB, LAB.deploy.id) / pki.DIRECTORY.lstrip("/"))
    aged = [each.serial(LAB) for each in every]
    changed = run_and_rest(LAB)
    for each, before in zip(every, aged, strict=True):
        assert each.serial(LAB) != before, f"{each.host}: {each.name} was not renewed"
        assert any(state.endswith(f": {each.name}") for state in changed[each.host]), changed[each.host]
    ports = [(each, port) for each in every for port in SERVED.get(each.name, ())]
    assert {f"{each.host}:{port}": shown(LAB, each.host, port) for each, port in ports} == {
        f"{each.host}:{port}": each.serial(LAB) for each, port in ports
    }
    assert verify.run(LAB, ["--only", "live migration"], infra=False) == 0


def test_new_passwords_take_the_place_of_the_old_ones() -> None:
    text = nodes.call(LAB, LAB.deploy, "cat", saltconf.SECRETS)
    old = yaml.safe_load(text)
    new = {name: f"new.{value}" if CHANGED.match(name) else value for name, value in old.items()}
    assert sum(old[name] != new[name] for name in old) > 10
    master.install(LAB, LAB.deploy, saltconf.SECRETS, yaml.safe_dump(new))
    run_and_rest(LAB)
    assert verify.run(LAB, quick=True) == 0
