"""The lab itself, as it runs: nobody gets out, packages get in, the routers outside answer."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator

import pytest

from lab import fabric, mirror, nodes, outside, router, saltconf, sites, status
from lab.command import run
from lab.layout import PROXY_PORT, Lab, Node

LAB = sites.load(os.environ.get("SALTERN_SITE", "lab"))
UNREACHABLE = 7
"""curl's exit code for a connection that could not be made."""


@pytest.fixture(scope="module")
def lab() -> Lab:
    assert all(nodes.leader(LAB, node) for node in LAB.nodes), f"the lab {LAB.name} does not run"
    return LAB


@pytest.fixture(params=[node.id for node in LAB.nodes])
def node(lab: Lab, request: pytest.FixtureRequest) -> Node:
    found = lab.node(request.param)
    assert found
    return found


def code(lab: Lab, node: Node, *argv: str) -> int:
    return subprocess.run(nodes.enter(lab, node, *argv), capture_output=True, check=False, timeout=60).returncode


def test_every_minion_answers(lab: Lab) -> None:
    assert saltconf.answering(lab) == {each.id for each in lab.nodes}


def test_a_node_has_no_default_route(lab: Lab, node: Node) -> None:
    routes = json.loads(nodes.call(lab, node, "ip", "-j", "route", "show", "default"))
    assert routes == []


@pytest.mark.parametrize("target", ["http://169.254.169.254/", "http://192.0.2.1/"])
def test_a_node_reaches_nothing_outside(lab: Lab, node: Node, target: str) -> None:
    assert code(lab, node, "curl", "-s", "-m", "3", "--noproxy", "*", target) in (UNREACHABLE, 28)


def test_a_node_does_not_reach_the_mirror_itself(lab: Lab, node: Node) -> None:
    """This machine does: where there is nobody, nobody is reached in any case."""
    name, port = mirror.discover(override=lab.site.mirrors.get("debian"))[0].host.rsplit(":", 1)
    with socket.create_connection((name, int(port)), timeout=20) as there:
        address = there.getpeername()[0]
    target = f"http://[{address}]:{port}/" if ":" in address else f"http://{address}:{port}/"
    assert code(lab, node, "curl", "-s", "-m", "3", "--noproxy", "*", target) in (UNREACHABLE, 28)


def test_a_node_leaves_this_machines_kernel_alone(lab: Lab, node: Node) -> None:
    units = ("systemd-sysctl.service", "systemd-binfmt.service")
    said = nodes.call(lab, node, "systemctl", "show", "--value", "--property=LoadState", *units)
    assert said.split() == ["masked"] * len(units)


def test_a_node_does_not_reach_this_machine(lab: Lab, node: Node) -> None:
    for each in json.loads(run("ip", "-j", "-4", "addr").stdout):
        for address in each["addr_info"]:
            if not address["local"].startswith("127."):
                assert code(lab, node, "ping", "-c1", "-W1", address["local"]) != 0


def proxied(lab: Lab, node: Node, url: str, what: str = "http_code") -> str:
    through = f"http://{lab.proxy_address}:{PROXY_PORT}"
    argv = ("curl", "-s", "-m", "60", "-o", "/dev/null", "-w", f"%{{{what}}}", "-x", through, url)
    return nodes.call(lab, node, *argv, check=False)


def test_packages_come_through_the_proxy(lab: Lab, node: Node) -> None:
    main = mirror.discover(override=lab.site.mirrors.get("debian"))[0]
    assert proxied(lab, node, f"{main.plain}/dists/{main.suite}/InRelease") == "200"


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest/", "http://192.0.2.1/", "http://127.0.0.1:22/"])
def test_the_proxy_leads_nowhere_else(lab: Lab, node: Node, url: str) -> None:
    assert proxied(lab, node, url) == "403"


def test_the_proxy_makes_no_tunnels(lab: Lab, node: Node) -> None:
    assert proxied(lab, node, "https://192.0.2.1/", "http_connect") == "403"


@pytest.mark.parametrize(
    "namespace", [LAB.fabric, LAB.gateway, *(router.namespace(LAB, each.vlan) for each in LAB.routers)]
)
def test_no_namespace_of_the_lab_forwards_or_has_a_route_out(lab: Lab, namespace: str) -> None:
    value = run("ip", "netns", "exec", namespace, "cat", "/proc/sys/net/ipv4/ip_forward").stdout
    assert value.strip() == "0"
    assert json.loads(run("ip", "-n", namespace, "-j", "route", "show", "default").stdout) == []


def test_the_bridges_have_no_address(lab: Lab) -> None:
    found = json.loads(run("ip", "-n", lab.fabric, "-j", "addr").stdout)
    addresses = {each["ifname"]: each["addr_info"] for each in found if each["ifname"] != "lo"}
    assert set(fabric.BRIDGES.values()) <= set(addresses)
    assert [name for name, given in addresses.items() if given] == []


@pytest.fixture
def leg(lab: Lab) -> Iterator[str]:
    """Give a second leg on the first provider VLAN, as a machine on that network would have."""
    provider = lab.routers[0]
    name = f"{lab.fabric}-probe"
    fabric.namespace(name)
    fabric.ip(lab.fabric, "link", "add", "probe", "type", "veth", "peer", "name", "eth0", "netns", name)
    fabric.plug(lab, "probe", "trunk")
    fabric.ip(name, "link", "set", "eth0", "up")
    yield name
    fabric.remove(name)
    assert provider.gateway


def test_a_router_outside_answers_on_its_vlan_only(lab: Lab, leg: str) -> None:
    provider = lab.routers[0]
    assert provider.gateway
    request = ARP.format(vlan=provider.vlan, gateway=provider.gateway)
    other = ARP.format(vlan=provider.vlan + 50, gateway=provider.gateway)
    python = ["ip", "netns", "exec", leg, "python3", "-c"]
    assert run(*python, request).stdout.strip() == provider.gateway
    assert run(*python, other).stdout.strip() == "silence"


def test_the_proxy_runs_and_listens(lab: Lab) -> None:
    assert outside.unit(lab).pid
    assert outside.listening(lab)


def test_memory_at_rest_is_below_eight_gibibytes(lab: Lab) -> None:
    data = status.as_data(lab)
    memory = int(str(data["memory"]))
    assert 0 < memory < 8 << 30


# A who-has with a tag, and the answer that comes back with the same tag.
ARP = """
import socket, struct, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("eth0", 0)); s.settimeout(0.2)
s.setsockopt(263, 8, 1)
mac = s.getsockname()[4]
ask = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, bytes(4), bytes(6), socket.inet_aton("{gateway}"))
s.send(b"\\xff" * 6 + mac + struct.pack("!HHH", 0x8100, {vlan}, 0x0806) + ask)
end = time.time() + 2
while time.time() < end:
    try:
        frame, notes, _, _ = s.recvmsg(2048, 256)
    except TimeoutError:
        continue
    tags = [struct.unpack("IIIHHHH", data[:20])[5] & 0xFFF for level, kind, data in notes if (level, kind) == (263, 8)]
    if frame[12:14] == b"\\x08\\x06" and frame[20:22] == b"\\x00\\x02" and tags == [{vlan}]:
        print(socket.inet_ntoa(frame[28:32])); break
else:
    print("silence")
"""
