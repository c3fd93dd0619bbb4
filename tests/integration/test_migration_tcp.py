"""`live_migration: tcp`, the legacy choice: a running cloud changes over to it, instances move, and it changes back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
import yaml

from frontdoor import verify
from lab import nodes, sites
from lab.layout import Lab
from tests.lab_tools import nothing_to_do, salt, site_text, write_site

LAB = sites.load(os.environ.get("SALTERN_SITE", "lab"))
COMPUTES = [host.id for host in LAB.site.having("compute")]
LEGACY = 16509

pytestmark = pytest.mark.slow


def applied(lab: Lab) -> None:
    """Apply the site file to the compute hosts; a second run has nothing to do."""
    done = salt(lab, COMPUTES, "state.highstate")
    assert done.code == 0, {host: done.not_true(host) for host in COMPUTES}
    nothing_to_do(salt(lab, COMPUTES, "state.highstate"), COMPUTES)


def listening(lab: Lab, host: str) -> list[str]:
    """Return the addresses on which a host listens for libvirt without TLS."""
    node = lab.node(host)
    assert node
    lines = nodes.call(lab, node, "ss", "-Htln", f"sport = :{LEGACY}").splitlines()
    return [line.split()[3].rsplit(":", 1)[0] for line in lines]


def virsh(lab: Lab, source: str, target: str, *, password: bool) -> subprocess.CompletedProcess[str]:
    """Ask a host's libvirt for its name, over TCP from another one, with the password of the hosts or without."""
    node, there = lab.node(source), lab.node(target)
    assert node
    assert there
    # nobody's home holds no credentials, and only root may read those of the host
    who = () if password else ("setpriv", "--reuid=nobody", "--clear-groups", "env", "HOME=/nonexistent")
    argv = nodes.enter(lab, node, *who, "virsh", "-q", "-c", f"qemu+tcp://{target}/system", "hostname")
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)


def reaches(lab: Lab, source: str, target: str) -> bool:
    """Return whether a host gets a connection to another one's libvirt at all."""
    node = lab.node(source)
    assert node
    argv = nodes.enter(lab, node, "timeout", "5", "bash", "-c", f"exec 3<>/dev/tcp/{target}/{LEGACY}")
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Give the lab with the legacy way applied; in the end it has its own way again."""
    assert all(nodes.leader(LAB, node) for node in LAB.nodes), f"the lab {LAB.name} does not run"
    text = site_text(LAB)
    try:
        write_site(LAB, {**yaml.safe_load(text), "live_migration": "tcp"})
        nodes.call(LAB, LAB.deploy, "salt-run", "saltern.secrets")
        applied(LAB)
        yield LAB
    finally:
        write_site(LAB, text)
        applied(LAB)
    assert [listening(LAB, host) for host in COMPUTES] == [[]] * len(COMPUTES)


def test_instances_move_by_the_legacy_way(lab: Lab) -> None:
    one, two = COMPUTES[:2]
    for host in COMPUTES:
        assert listening(lab, host) == [str(lab.site.hosts[host].address)], f"{host}: listens elsewhere"
    known = virsh(lab, one, two, password=True)
    assert known.stdout.split(".")[0].strip() == two, known.stderr
    assert "authentication failed" in virsh(lab, one, two, password=False).stderr
    assert [reaches(lab, host, two) for host in (one, lab.deploy.id)] == [True, False]
    assert verify.run(lab, ["--only", "live migration"], infra=False) == 0
