"""What a host's networks are to become, and whose files are in the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from saltern import highdata, host_network, network_change, networkd, resolve, site
from saltern.errors import Problems

from tests.sample import Recognisable, real_catalogue
from tests.unit.boot_samples import installed
from tests.unit.site_samples import full, smallest
from tests.unit.test_site import changed

ETC = networkd.DIRECTORY
OURS = f"{network_change.MARK}: edits\n"


def wanted(data: dict[str, Any] | None = None, host: str = "cmp1") -> dict[str, str]:
    model = site.parse(data or installed())
    return networkd.files(model, model.hosts[host])


def probes(data: dict[str, Any], host: str) -> dict[str, Any]:
    model = site.parse(data)
    return host_network.probes(model, model.hosts[host])


def test_every_file_that_the_installers_write_has_the_mark() -> None:
    assert wanted()
    assert all(text.startswith(network_change.MARK) for text in wanted().values())
    assert {Path(name).suffix for name in wanted()} <= set(network_change.KINDS)


def test_the_master_the_gateway_and_peers_are_asked() -> None:
    assert probes(full(), "cmp1") == {
        "master": "10.20.0.5",
        "gateway": "10.20.0.1",
        "peers": ["10.20.0.5", "10.20.0.11", "10.20.0.22"],
        "mtu": 9000,
    }
    assert "master" not in probes(full(), "deploy")
    assert probes(smallest(), "a") == {"mtu": 1500}


def test_a_host_is_managed_when_it_or_its_site_says_so() -> None:
    data, catalogue = full(), real_catalogue()

    def steps(host: str) -> list[str]:
        plan = resolve.resolve(site.parse(data), catalogue, Recognisable(), host).as_data()
        return [name for name in highdata.build(plan) if name.startswith("network: ")]

    assert steps("cmp1") == []
    assert steps("cmp2") == ["network: devices, addresses and routes"]
    data["networking"]["managed"] = True
    data["hosts"]["cmp2"]["networking"]["managed"] = False
    data["hosts"]["deploy"]["interfaces"]["eth0"] = {"carries": "management"}
    assert steps("cmp1") == ["network: devices, addresses and routes"]
    assert steps("cmp2") == []
    model = site.parse(data)
    plan = resolve.resolve(model, catalogue, Recognisable(), "cmp1").as_data()
    arguments = plan["services"]["network"]["steps"][0]["arguments"]
    assert arguments["files"] == networkd.files(model, model.hosts["cmp1"])
    assert arguments["confirm_within"] == 90


@pytest.mark.parametrize(
    ("where", "value", "path", "accepted"),
    [
        ("networking:managed", "yes", "", "true or false"),
        ("networking:confirm_within", 10, "", "60 to 600"),
        ("networking:mangaed", True, "", "did you mean 'managed'"),
        ("networking:managed", True, "hosts:deploy:interfaces", "a device that carries management"),
        ("hosts:cmp2:networking:managed", 1, "", "true or false"),
        ("hosts:deploy:roles", ["compute"], "hosts", "a host with the role deploy"),
        ("networks:management:routes:10.60.0.0/16", "10.21.0.1", "", "an address in 10.20.0.0/24"),
        ("networks:management:routes:10.20.0.0/16", "10.20.0.2", "", "does not overlap networks:management:cidr"),
        ("networks:management:routes:10.60.0.1", "10.20.0.2", "", "an IPv4 network"),
        ("hosts:cmp1:interfaces:eth1:bridge", "br1", "", "no such key on a device that does not carry management"),
        ("hosts:cmp2:interfaces:bond0:bridge", "eth1", "", "a name that no other device of the host has"),
        ("hosts:cmp2:interfaces:bond0:bridge", "a b", "", "at most 15 characters"),
    ],
)
def test_mistakes_in_what_is_said_of_networks(where: str, value: Any, path: str, accepted: str) -> None:
    with pytest.raises(Problems) as found:
        site.parse(changed(full(), where, value))
    problems = {each.path: each.accepted for each in found.value.problems}
    assert accepted in problems.get(path or where, ""), problems


def test_a_bridge_and_routes() -> None:
    files = wanted(full(), "cmp2")
    assert "Kind = bridge" in files["10-br0.netdev"]
    assert "Bridge = br0" in files["20-bond0.20.network"]
    assert "\nAddress" not in files["20-bond0.20.network"]
    assert "Address = 10.20.0.22/24" in files["20-br0.network"]
    assert files["20-br0.network"].endswith("\n[Route]\nDestination = 10.50.0.0/16\nGateway = 10.20.0.2\n")
    assert site.parse(full()).hosts["cmp2"].device("management") == "br0"


def test_changes_are_told_by_file_and_option() -> None:
    old = {"20-a.network": f"{OURS}[Network]\nAddress = 10.0.0.2/24\n", "20-b.network": OURS, "20-d.network": OURS}
    new = {"20-a.network": f"{OURS}[Network]\nAddress = 10.0.0.3/24\n", "20-c.network": OURS, "20-d.network": OURS}
    assert host_network.changes(old, new) == {
        f"{ETC}/20-a.network": {"Network.Address": {"old": "10.0.0.2/24", "new": "10.0.0.3/24"}},
        f"{ETC}/20-b.network": {"old": "there", "new": None},
        f"{ETC}/20-c.network": {"old": None, "new": "there"},
    }


MAC = "52:54:00:20:00:21"
FOREIGN = [
    # the file, its text, whether it is refused
    ("10-x.network", "[Match]\nName=bond0\n[Network]\nDHCP=yes\n", True),
    ("10-x.network", "[Match]\nName=wlan0 bon*\n", True),
    ("10-x.network", "[Match]\nName=!bond0*\nType=bond\n", False),
    ("10-x.network", "[Match]\nName=eth*\n", False),
    ("10-x.network", f"[Match]\nPermanentMACAddress={MAC.upper()}\n", True),
    ("10-x.network", f"[Match]\nMACAddress=52-54-00-20-00-21 {MAC}\n", True),
    ("10-x.network", "[Match]\nMACAddress=52:54:00:99:99:99\n", False),
    ("10-x.network", "# nothing\n", False),
    ("10-x.network", "[Match]\nType=ether\n", True),
    ("10-x.network", "[Match]\nKind=!*\nType=!wlan\n", True),
    ("10-x.network", "[Match]\nType=wlan\n", False),
    ("99-x.network", "[Match]\nName=*\n", False),
    ("20-bond0.network", "[Match]\nName=other\n", True),
    ("20-bond0.network", f"{OURS}[Match]\nName=other\n", False),
    ("20-bond0.network.d/x.conf", "[Network]\nDHCP=yes\n", True),
    ("20-mine.network.d/x.conf", "[Network]\nDHCP=yes\n", False),
    ("99-x.netdev", "[NetDev]\nName=bond0\nKind=bridge\n", True),
    ("99-x.netdev", "[NetDev]\nName=bond9\nKind=bond\n", False),
]


@pytest.mark.parametrize(("name", "text", "refused"), FOREIGN)
def test_files_of_others_that_would_win_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, refused: bool
) -> None:
    monkeypatch.setattr(networkd, "DIRECTORY", str(tmp_path))
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    (tmp_path / "70-x.link").write_text("[Match]\nName=*\n")
    problems = host_network.foreign(host_network.read([str(tmp_path), str(tmp_path / "nonesuch")]), wanted())
    assert bool(problems) is refused
    assert {each.path for each in problems} <= {str(path)}


def test_what_systemd_brings_stands_in_nobodys_way() -> None:
    """Of this computer's own files none is refused, where it has systemd-networkd's."""
    assert host_network.foreign(host_network.read(["/usr/lib/systemd/network"]), wanted()) == []


def test_a_device_of_ifupdown_is_refused(tmp_path: Path) -> None:
    (tmp_path / "interfaces").write_text("auto lo\niface lo inet loopback\niface eno1 inet dhcp\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more/x").write_text("iface bond0 inet static\niface\n")
    texts = host_network.read_interfaces([str(tmp_path / "interfaces"), str(tmp_path / "more")])
    problems = host_network.interfaces(texts, wanted())
    assert [(Path(each.path).name, each.value) for each in problems] == [
        ("interfaces", "iface eno1 inet dhcp"),
        ("x", "iface bond0 inet static"),
    ]
