"""Installing machines as the site file says it: every kind of mistake, as data, and what a right one becomes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import yaml
from saltern import profiles, site
from saltern.errors import Problems
from saltern.model import Bond, DiskHints, Install, Member, Provisioning

from tests.unit.boot_samples import KEY, KICKSTART, installed, simple
from tests.unit.site_samples import full, smallest
from tests.unit.test_site import GONE, changed

CMP2 = "hosts:cmp2:install"
BOND = "hosts:cmp2:interfaces:bond0:bond"

MISTAKES: list[tuple[str, Any, str, str]] = [
    # what is changed, its new value, the path of the problem (without: the changed one), part of what is accepted
    ("install", [], "", "a mapping"),
    ("install:mac", "52:54:00:00:00:0f", "", "unknown; accepted: console, disks"),
    ("install:ssh_keys", [], "", "root has no password"),
    ("install:ssh_keys", ["-----BEGIN OPENSSH PRIVATE KEY-----"], "install:ssh_keys:0", "an OpenSSH public key"),
    ("install:ssh_keys", [f"{KEY}\nx"], "install:ssh_keys:0", "an OpenSSH public key"),
    ("install:console", "serial", "", "ttyS0,115200n8"),
    (f"{CMP2}:profile", "fedora43", "", "did you mean 'fedora-43'"),
    (f"{CMP2}:profile", "windows", "", "accepted: debian-13, debian-13-live, fedora-43"),
    (f"{CMP2}:profile", 13, "", "in quotes"),
    (f"{CMP2}:firmware", "efi", "", "did you mean 'uefi'"),
    (f"{CMP2}:layout", "raid5", "", "did you mean 'raid1'"),
    (f"{CMP2}:layout", "plain", f"{CMP2}:disks", "hints of 1 for the layout plain"),
    (f"{CMP2}:disks", [{"serial": "S1"}], "", "hints of 2 for the layout raid1"),
    (f"{CMP2}:disks", [], "", "at least one disk"),
    (f"{CMP2}:disks", GONE, "", "required, here or at install"),
    (f"{CMP2}:disks", "sda", "", "a list"),
    (f"{CMP2}:disks", ["sda", "sdb"], f"{CMP2}:disks:0", "a mapping"),
    (f"{CMP2}:disks", [{}, {"serial": "a"}], f"{CMP2}:disks:0", "at least one of serial, wwn, size, model, name"),
    (f"{CMP2}:disks", [{"serial": "a"}, {"serial": "a"}], f"{CMP2}:disks:1", "each member once"),
    (f"{CMP2}:disks", [{"bus": "a"}, {"serial": "a"}], f"{CMP2}:disks:0:bus", "accepted: model, name, serial"),
    (f"{CMP2}:disks", [{"serial": 7}, {"serial": "a"}], f"{CMP2}:disks:0:serial", "in quotes"),
    (f"{CMP2}:disks", [{"serial": " a"}, {"serial": "a"}], f"{CMP2}:disks:0:serial", "lsblk"),
    (f"{CMP2}:disks", [{"wwn": "0x5000"}, {"serial": "a"}], f"{CMP2}:disks:0:wwn", "16 or 32 hexadecimal digits"),
    (f"{CMP2}:disks", [{"wwn": 5000}, {"serial": "a"}], f"{CMP2}:disks:0:wwn", "in quotes"),
    (f"{CMP2}:disks", [{"size": 480}, {"serial": "a"}], f"{CMP2}:disks:0:size", '"480 GB"'),
    (f"{CMP2}:disks", [{"size": "0 GB"}, {"serial": "a"}], f"{CMP2}:disks:0:size", '"480 GB"'),
    (f"{CMP2}:disks", [{"size": "1 KB"}, {"serial": "a"}], f"{CMP2}:disks:0:size", '"480 GB"'),
    (f"{CMP2}:disks", [{"size": "9 GB"}, {"serial": "a"}], f"{CMP2}:disks:0:size", "10240 MiB or more"),
    (f"{CMP2}:disks", [{"name": "/dev/../sda"}, {"name": "b"}], f"{CMP2}:disks:0:name", "a link such as /dev/disk"),
    (f"{CMP2}:wipe", True, "", "a list"),
    (f"{CMP2}:wipe", ["S1"], f"{CMP2}:wipe:0", "a mapping"),
    (f"{CMP2}:wipe", [{"name": "sda"}], f"{CMP2}:wipe:0", "at least one of serial, wwn"),
    (f"{CMP2}:wipe", [{"serial": "a", "size": "1 TB"}], f"{CMP2}:wipe:0:size", "accepted: serial, wwn"),
    (f"{CMP2}:mac", "52:54:00:00:00:0a", "", "hosts:ctl1:interfaces:eth0:mac has this one"),
    (f"{CMP2}:raid", 1, "", "unknown"),
    ("hosts:ctl1:install", {"mac": "52:54:00:00:00:0c"}, "hosts:cmp2:install:mac", "hosts:ctl1:install:mac has this"),
    ("hosts:cmp1:install", {"disks": [{"name": "sda"}]}, "hosts:cmp1:install:mac", "the interface that carries"),
    ("hosts:deploy:install", {}, "", "the others are installed from it"),
    ("hosts:deploy:interfaces", GONE, "", "a device that carries provisioning"),
    ("hosts:deploy:roles", ["compute"], "hosts", "a host with the role deploy"),
    ("mirrors:fedora", GONE, "", "hosts:cmp2:install has the profile fedora-43"),
    ("networks:provisioning:cidr", "10.20.0.0/24", "", "does not overlap networks:management:cidr"),
    ("networks:provisioning:cidr", "10.21.0.0/28", "hosts:cmp2:provisioning_address", "an address in 10.21.0.0/28"),
    ("networks:provisioning:gateway", "10.22.0.1", "", "an address in 10.21.0.0/24"),
    ("networks:provisioning:gateway", "10.21.0.22", "hosts:cmp2:provisioning_address", "provisioning:gateway has this"),
    ("networks:provisioning:range", "10.22.0.1-10.22.0.9", "", "an address in 10.21.0.0/24"),
    ("networks:provisioning:range", "10.21.0.20-10.21.0.30", "hosts:cmp2:provisioning_address", "an address outside"),
    ("networks:provisioning:dhcp", "proxy", "networks:provisioning:range", "no such key with dhcp: proxy"),
    ("networks:provisioning:dhcp", "relay", "", "accepted: proxy, server"),
    ("networks:provisioning", GONE, "hosts:deploy:provisioning_address", "a network networks:provisioning"),
    ("networks:provisioning", GONE, "hosts:deploy:interfaces:eth2:carries", "a network networks:provisioning"),
    ("networks:provisioning", GONE, "networks:management:vlan", "firmware boots from an untagged network"),
    ("hosts:cmp2:provisioning_address", "10.21.0.2", "", "hosts:deploy:provisioning_address has this one"),
    ("networks:management:vlan", 200, "networks:provider:public:vlan", "not used by networks:management:vlan"),
    ("networks:management:vlan", 4095, "", "1 to 4094"),
    ("networks:management:dns", "10.20.0.53", "", "a list"),
    (f"{BOND}:members", {"eth0": {}}, "", "two or more devices"),
    (f"{BOND}:members", {}, "", "two or more devices"),
    (f"{BOND}:members", GONE, "", "required"),
    (f"{BOND}:members", {"eth0": {}, "eth2": {}}, "hosts:cmp2:interfaces:eth2", "bond:members:eth2 has this one"),
    (f"{BOND}:members:eth1:mac", "52:54:00:00:00:0d", "", "bond:members:eth0:mac has this one"),
    (f"{BOND}:mode", "lacp", "", "accepted: 802.3ad, active-backup"),
    ("hosts:cmp2:interfaces:bond0:mac", "52:54:00:00:00:0e", "", "its members have MACs"),
    ("hosts:ctl1:interfaces", {"enp129s0f1np1": {"carries": "management"}},
     "hosts:ctl1:interfaces:enp129s0f1np1", "leaves room for .20"),
]  # fmt: skip


def offers() -> Any:
    return profiles.load(KICKSTART).profiles


def problems_of(data: Any) -> tuple[Any, ...]:
    with pytest.raises(Problems) as caught:
        site.parse(data, offers=offers)
    return caught.value.problems


@pytest.mark.parametrize(("path", "value", "where", "accepted"), MISTAKES)
def test_mistakes(path: str, value: Any, where: str, accepted: str) -> None:
    found = problems_of(changed(full(), path, value))
    assert any(accepted in problem.accepted for problem in found if problem.path == (where or path)), found
    assert all(problem.path and problem.accepted for problem in found)


def test_all_mistakes_at_once() -> None:
    data = changed(changed(full(), f"{CMP2}:profile", "x"), f"{CMP2}:disks", [{"wwn": "1"}, {"name": "b"}])
    data = changed(changed(data, "networks:provisioning:gateway", "10.9.9.9"), "mirrors:debian", "ftp://x")
    paths = [problem.path for problem in problems_of(data)]
    assert paths == ["mirrors:debian", f"{CMP2}:disks:0:wwn", "networks:provisioning:gateway", f"{CMP2}:profile"]


def test_a_host_that_says_how_it_is_installed() -> None:
    found = site.parse(full(), offers=offers)
    cmp2 = found.hosts["cmp2"]
    first = DiskHints(serial="S1", wwn="5000c500a1b2c3d4", size=(453186, 462342))
    assert cmp2.install == Install(
        profile="fedora-43",
        firmware="bios",
        mac="52:54:00:00:00:0c",
        disks=(first, DiskHints(model="Fast 1", name="sdb")),
        ssh_keys=(KEY,),
        layout="raid1",
        wipe=(DiskHints(serial="S1"), DiskHints(wwn="0025385b71b00001")),
        console="tty0",
    )
    assert first.said() == {"serial": "S1", "wwn": "5000c500a1b2c3d4", "size": "453186 462342"}
    bond = cmp2.interfaces[0].bond
    assert bond == Bond("802.3ad", (Member("eth0", "52:54:00:00:00:0d"), Member("eth1")))
    assert (cmp2.provisioning_address, found.hosts["deploy"].provisioning_address) == ("10.21.0.22", "10.21.0.2")
    assert (found.hosts["ctl1"].provisioning_address, found.hosts["ctl1"].install) == (None, None)
    limits = ("10.21.0.100", "10.21.0.199")
    assert found.provisioning == Provisioning("10.21.0.0/24", "10.21.0.1", limits, "server", ("10.21.0.53",))
    assert [host.id for host, _ in found.installed] == ["cmp2"]


def test_what_the_site_says_holds_for_hosts_that_do_not_say_it() -> None:
    found = site.parse(simple(), offers=offers)
    ctl1, cmp1 = found.hosts["ctl1"].install, found.hosts["cmp1"].install
    assert ctl1 == Install("debian-13", "bios", "52:54:00:00:00:03", (DiskHints(name="sda"),), (KEY,), console="tty0")
    assert cmp1 == Install("debian-13", "uefi", "52:54:00:00:00:04", (DiskHints(name="sda"),), (KEY,), console="tty0")
    assert (found.provisioning, found.hosts["ctl1"].provisioning_address) == (None, None)


def test_what_nobody_says_is_required() -> None:
    data = simple()
    data["install"] = {}
    wanted = [f"hosts:ctl1:install:{key}" for key in ("profile", "firmware", "disks", "ssh_keys")]
    wanted += [f"hosts:cmp1:install:{key}" for key in ("profile", "disks", "ssh_keys")]
    assert [problem.path for problem in problems_of(data)] == wanted


def test_nothing_of_the_site_alone_installs_a_host() -> None:
    data = smallest() | {"install": {"profile": "no-such-one"}}
    found = site.parse(data, offers=offers)
    assert (found.installed, found.provisioning) == ((), None)


def test_profiles_are_not_even_read_for_a_site_that_installs_nothing() -> None:
    def missing() -> Any:
        raise AssertionError

    assert site.parse(smallest(), offers=missing).installed == ()


@pytest.mark.parametrize(
    ("interfaces", "mac"),
    [
        ({"a": {"carries": "management", "mac": "52:54:00:00:00:01"}}, "52:54:00:00:00:01"),
        ({"a": {"carries": "management", "mac": "52:54:00:00:00:01"},
          "b": {"carries": "provisioning", "mac": "52:54:00:00:00:02"}}, "52:54:00:00:00:02"),
        ({"a": {"carries": "management", "bond": {"members": {"x": {"mac": "52:54:00:00:00:03"}, "y": {}}}}},
         "52:54:00:00:00:03"),
    ],
)  # fmt: skip
def test_the_mac_with_which_a_machine_boots(interfaces: dict[str, Any], mac: str) -> None:
    data = installed()
    data["hosts"]["cmp1"]["interfaces"] = {**interfaces, "t": {"carries": "trunk"}}
    install = site.parse(data, offers=offers).hosts["cmp1"].install
    assert install
    assert install.mac == mac
    named = changed(data, "hosts:cmp1:install:mac", "52:54:00:00:00:09")
    assert site.parse(named, offers=offers).installed[0][1].mac == "52:54:00:00:00:09"


def test_a_layout_that_the_profile_lacks() -> None:
    found = dict(offers())
    plain = found["fedora-43"]
    found["fedora-43"] = profiles.Profile(**{**vars(plain), "layouts": ("plain",)})
    with pytest.raises(Problems, match="install:layout: 'raid1': with profile fedora-43: plain"):
        site.parse(full(), offers=lambda: found)


def mentioned(text: str, key: str, indent: str) -> Any:
    """A block of the example that is commented out."""
    first, *rest = text[text.index(f"\n{indent}# {key}:") + 1 :].splitlines()
    block = [first, *itertools.takewhile(lambda line: line.startswith(f"{indent}#   "), rest)]
    return yaml.safe_load("\n".join(line[len(indent) + 2 :] for line in block))[key]


def test_what_the_example_mentions_installs_a_host() -> None:
    text = (KICKSTART.parent / "pillar/site.example.yaml").read_text()
    data = yaml.safe_load(text) | {"install": mentioned(text, "install", "")}
    data["networks"]["provisioning"] = mentioned(text, "provisioning", "  ")
    data["networks"]["management"] |= {"vlan": 20, "dns": ["10.20.0.53"]}
    data["hosts"]["deploy"]["interfaces"]["eno2"] = {"carries": "provisioning"}
    data["hosts"]["cmp1"]["install"] = {"disks": [{"name": "sda"}]}
    data["hosts"]["cmp3"]["install"] = mentioned(text, "install", "    ")
    found = site.parse(data, offers=offers)
    (cmp1, plain), (cmp3, mirrored) = found.installed
    assert (cmp1.id, plain.layout, plain.mac, plain.wipe) == ("cmp1", "plain", "52:54:00:20:00:21", ())
    assert (cmp3.id, mirrored.layout, len(mirrored.disks), len(mirrored.wipe)) == ("cmp3", "raid1", 2, 1)
    assert (plain.profile, plain.firmware, plain.console) == ("debian-13", "uefi", "ttyS0,115200n8")
