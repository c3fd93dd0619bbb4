"""The switch: what ovs-vsctl says is understood, and exactly the difference is asked of it."""

import json
import subprocess

import pytest
from saltern import ovs, ovs_addresses, ovs_control
from saltern.errors import Problems, SalternError
from saltern.systemd import Systemctl

# What ovs-vsctl 3.5.0 answers to ovs.question() on a host with one bridge (identifiers shortened).
ANSWER = """\
{"data":[[["map",[["ovn-bridge-mappings","physnet1:br-trunk"],["system-id","cmp1"]]],["map",[]],["uuid","d61"]]],\
"headings":["external_ids","other_config","manager_options"]}
{"data":[[["uuid","d61"],"ptcp:6640:127.0.0.1"]],"headings":["_uuid","target"]}
{"data":[["br-trunk","netdev",["set",[["uuid","18d"],["uuid","a5f"],["uuid","f46"]]]],["br-one","",["uuid","a60"]]],\
"headings":["name","datapath_type","ports"]}
{"data":[[["uuid","f46"],"tunnel0",4,["uuid","ee3"]],[["uuid","18d"],"eth1",["set",[]],["uuid","122"]],\
[["uuid","a5f"],"br-trunk",["set",[]],["uuid","ace"]],[["uuid","a60"],"br-one",["set",[]],["uuid","acf"]]],\
"headings":["_uuid","name","tag","interfaces"]}
{"data":[[["uuid","122"],"eth1","",["set",[]],"could not open network device eth1 (No such device)"],\
[["uuid","ace"],"br-trunk","internal",["set",[]],["set",[]]],[["uuid","acf"],"br-one","internal",["set",[]],["set",[]]],\
[["uuid","ee3"],"tunnel0","internal",1400,["set",[]]]],"headings":["_uuid","name","type","mtu_request","error"]}
"""
SETTINGS = {
    "system_id": "cmp1",
    "external_ids": {"ovn-bridge-mappings": "physnet1:br-trunk"},
    "managers": ["ptcp:6640:127.0.0.1"],
    "bridges": {
        "br-trunk": {"datapath_type": "netdev", "ports": {"eth1": {}, "tunnel0": {"type": "internal", "tag": 4}}}
    },
    "addresses": {"tunnel0": {"address": "10.30.0.21/24", "mtu": 1400}},
}


def link(name, *addresses, up=True):
    """A device as ``ip -json address`` shows it."""
    found = []
    for each in addresses:
        local, length = each.split("/")
        found.append({"family": "inet", "scope": "global", "local": local, "prefixlen": int(length)})
    return {"ifname": name, "flags": ["BROADCAST", "UP"] if up else ["BROADCAST"], "addr_info": found}


def announced(name, *addresses):
    """A device to which a router's announcements gave one more address."""
    found = link(name, *addresses)
    found["addr_info"].append(
        {"family": "inet6", "scope": "global", "local": "2001:db8::1", "prefixlen": 64, "dynamic": True}
    )
    return found


GOOD = json.dumps([link("eth1"), link("tunnel0", "10.30.0.21/24")])


def steps(**changed):
    return ovs.plan(ovs.parse(ANSWER), ovs.wanted(SETTINGS | changed))


def bridges(name="br-trunk", datapath="netdev", **ports):
    return {name: {"datapath_type": datapath, "ports": ports}}


def test_the_answer_is_understood():
    switch = ovs.parse(ANSWER)
    assert switch.external_ids == {"ovn-bridge-mappings": "physnet1:br-trunk", "system-id": "cmp1"}
    assert switch.managers == ("ptcp:6640:127.0.0.1",)
    assert {name: [*found.ports] for name, found in switch.bridges.items()} == {
        "br-trunk": ["eth1", "br-trunk", "tunnel0"],
        "br-one": ["br-one"],
    }
    assert switch.bridges["br-one"].datapath_type == "system"
    assert switch.bridges["br-trunk"].ports["tunnel0"] == ovs.Port("tunnel0", "internal", 4, 1400)


def test_what_is_as_wanted_needs_no_step():
    assert steps() == []


def test_an_answer_cut_short_is_an_error():
    with pytest.raises(SalternError, match="2 tables in the database's answer, asked for 5"):
        ovs.parse("\n".join(ANSWER.splitlines()[:2]))


def test_an_empty_switch_gets_everything_in_one_transaction():
    planned = ovs.plan(ovs.Switch(managers=()), ovs.wanted(SETTINGS))
    assert ovs.transaction(planned) == [
        *("--", "set", "Open_vSwitch", ".", 'external_ids:"ovn-bridge-mappings"="physnet1:br-trunk"'),
        *("--", "set", "Open_vSwitch", ".", 'external_ids:"system-id"="cmp1"'),
        *("--", "set-manager", "ptcp:6640:127.0.0.1"),
        *("--", "--may-exist", "add-br", "br-trunk"),
        *("--", "set", "Bridge", "br-trunk", "datapath_type=netdev"),
        *("--", "--may-exist", "add-port", "br-trunk", "eth1"),
        *("--", "clear", "Port", "eth1", "tag"),
        *("--", "set", "Interface", "eth1", 'type=""'),
        *("--", "--may-exist", "add-port", "br-trunk", "tunnel0"),
        *("--", "set", "Port", "tunnel0", "tag=4"),
        *("--", "set", "Interface", "tunnel0", 'type="internal"', "mtu_request=1400"),
    ]


@pytest.mark.parametrize(
    ("changed", "what", "old", "new"),
    [
        ({"external_ids": {"system-id": None}, "system_id": None}, "external_ids:system-id", "cmp1", None),
        ({"external_ids": {"ovn-monitor-all": True}}, "external_ids:ovn-monitor-all", None, "true"),
        ({"other_config": {"vlan-limit": 2}}, "other_config:vlan-limit", None, "2"),
        ({"managers": []}, "managers", ("ptcp:6640:127.0.0.1",), ()),
        ({"bridges": bridges(datapath="system")}, "bridge br-trunk", "netdev", "system"),
        ({"bridges": bridges("br-new")}, "bridge br-new", None, "netdev"),
        (
            {"bridges": bridges(tunnel0={"type": "internal", "tag": 5})},
            "port br-trunk:tunnel0",
            "internal, VLAN 4, MTU 1400",
            "internal, VLAN 5, MTU 1400",
        ),
        ({"bridges": bridges("br-one", "system", eth1={})}, "port br-one:eth1", "br-trunk", "device, untagged"),
    ],
)
def test_each_difference_is_one_step(changed, what, old, new):
    assert [(step.what, step.old, step.new) for step in steps(**changed)] == [(what, old, new)]


def test_a_port_moves_from_bridge_to_bridge():
    (step,) = steps(bridges=bridges("br-one", "system", eth1={}))
    assert step.commands[:2] == (("del-port", "br-trunk", "eth1"), ("--may-exist", "add-port", "br-one", "eth1"))


def test_a_removed_key_is_removed():
    (step,) = steps(external_ids={"system-id": None}, system_id=None)
    assert step.commands == (("remove", "Open_vSwitch", ".", "external_ids", '"system-id"'),)


def test_the_last_manager_is_removed():
    (step,) = steps(managers=[])
    assert step.commands == (("del-manager",),)


def test_what_is_read_at_the_start_only_leaves_a_mark():
    assert [step.what for step in steps(other_config={"userspace-tso-enable": "true", "vlan-limit": 0})] == [
        "other_config:userspace-tso-enable",
        "other_config:vlan-limit",
        "external_ids:saltern-restart-due",
    ]


def test_unknown_keys_are_told_all_at_once():
    with pytest.raises(Problems) as refused:
        ovs.wanted({"brigdes": {}, "bridges": {"br": {"port": {}, "ports": {"p": {"vlan": 4}}}}})
    assert [each.path for each in refused.value.problems] == [
        "settings:brigdes",
        "bridges:br:port",
        "bridges:br:ports:p:vlan",
    ]


def test_what_the_switch_says_of_a_port_is_told():
    said = "br-trunk: eth1: could not open network device eth1 (No such device)"
    assert ovs.faults(ovs.parse(ANSWER), ovs.wanted(SETTINGS)) == [said]
    assert ovs.faults(ovs.Switch(), ovs.wanted(SETTINGS)) == []


def test_the_unit_sets_the_devices_up_and_gives_one_address():
    text = ovs_addresses.unit(ovs.wanted(SETTINGS), ovs_addresses.wanted(SETTINGS))
    assert [line for line in text.splitlines() if line.startswith(("ExecStart", "PartOf"))] == [
        "PartOf=ovs-vswitchd.service",
        "ExecStart=/usr/sbin/ip link set dev eth1 up",
        "ExecStart=/usr/sbin/ip link set dev tunnel0 up",
        "ExecStart=/usr/sbin/ip address flush dev tunnel0 scope global",
        "ExecStart=/usr/sbin/ip address add 10.30.0.21/24 dev tunnel0",
    ]


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        (GOOD, {}),
        ("", {"eth1": "no such device", "tunnel0": "no such device"}),
        (json.dumps([link("eth1"), announced("tunnel0", "10.30.0.21/24")]), {}),
        (
            json.dumps([link("eth1", up=False), link("tunnel0")]),
            {"eth1": "down", "tunnel0": "has no address, wanted 10.30.0.21/24"},
        ),
        (
            json.dumps([link("eth1"), link("tunnel0", "10.30.0.21/24", "10.30.0.9/24")]),
            {"tunnel0": "has 10.30.0.21/24, 10.30.0.9/24, wanted 10.30.0.21/24"},
        ),
    ],
)
def test_gaps_in_the_devices(links, expected):
    assert ovs_addresses.gaps(links, ovs.wanted(SETTINGS), ovs_addresses.wanted(SETTINGS)) == expected


def test_an_address_that_is_none_is_refused():
    with pytest.raises(Problems, match="addresses:tunnel0"):
        ovs_addresses.wanted({"addresses": {"tunnel0": {"address": "10.30.0.300/24"}}})


class Machine:
    """A host whose tools work: commands are kept, and what they are to bring about is there afterwards."""

    def __init__(self, monkeypatch, tmp_path, answers, links):
        self.ran, self.answers, self.links = [], list(answers), list(links)
        monkeypatch.setattr(ovs_addresses, "DIRECTORY", tmp_path)
        monkeypatch.setattr(subprocess, "run", self.run)
        monkeypatch.setattr(Systemctl, "do", lambda _, verb, names=(): self.ran.append(" ".join([verb, *names])))

    def run(self, command, **_):
        if command[0] == "ip":
            return subprocess.CompletedProcess(command, 0, self.next(self.links), "")
        if "list" in command:
            return subprocess.CompletedProcess(command, 0, self.next(self.answers), "")
        self.ran.append(" ".join(command[2:]))
        return subprocess.CompletedProcess(command, 0, "", "")

    @staticmethod
    def next(answers):
        return answers.pop(0) if len(answers) > 1 else answers[0]


CLEAN = ANSWER.replace('"could not open network device eth1 (No such device)"', '["set",[]]')
MARKED = CLEAN.replace('["system-id","cmp1"]', '["system-id","cmp1"],["saltern-restart-due","userspace-tso-enable"]')


def unit_in_place(tmp_path):
    (tmp_path / ovs_addresses.UNIT).write_text(ovs_control.Goal.of(SETTINGS).unit)
    wants = tmp_path / "ovs-vswitchd.service.wants"
    wants.mkdir()
    (wants / ovs_addresses.UNIT).symlink_to(tmp_path / ovs_addresses.UNIT)


def test_a_host_as_planned_is_left_alone(monkeypatch, tmp_path):
    unit_in_place(tmp_path)
    machine = Machine(monkeypatch, tmp_path, [CLEAN], [GOOD])
    assert ovs_control.converge(SETTINGS, test=False) == {}
    assert machine.ran == []


def test_a_dry_run_only_tells(monkeypatch, tmp_path):
    machine = Machine(monkeypatch, tmp_path, [CLEAN], ["[]"])
    told = ovs_control.converge(SETTINGS | {"managers": []}, test=True)
    assert [*told] == ["managers", "device eth1", "device tunnel0", ovs_addresses.UNIT]
    assert machine.ran == []


def test_what_differs_is_changed_and_verified(monkeypatch, tmp_path):
    before = CLEAN.replace('"physnet1:br-trunk"', '"physnet1:br-old"')
    machine = Machine(monkeypatch, tmp_path, [before, CLEAN], [json.dumps([link("eth1"), link("tunnel0")]), GOOD])
    told = ovs_control.converge(SETTINGS, test=False)
    assert [*told] == ["external_ids:ovn-bridge-mappings", "device tunnel0", ovs_addresses.UNIT]
    assert machine.ran == [
        '-- set Open_vSwitch . external_ids:"ovn-bridge-mappings"="physnet1:br-trunk"',
        "daemon-reload",
        f"enable {ovs_addresses.UNIT}",
        f"restart {ovs_addresses.UNIT}",
    ]
    assert (tmp_path / ovs_addresses.UNIT).read_text() == ovs_control.Goal.of(SETTINGS).unit


def test_a_restart_that_a_kill_prevented_is_made_up_for(monkeypatch, tmp_path):
    unit_in_place(tmp_path)
    machine = Machine(monkeypatch, tmp_path, [MARKED, CLEAN], [GOOD])
    assert ovs_control.converge(SETTINGS, test=False) == {"ovs-vswitchd.service": "restarted"}
    assert machine.ran[2:] == [
        "restart ovs-vswitchd.service",
        "remove Open_vSwitch . external_ids saltern-restart-due",
        f"restart {ovs_addresses.UNIT}",
    ]


def test_a_device_with_an_address_of_its_own_is_not_taken(monkeypatch, tmp_path):
    links = json.dumps([link("eth0", "10.20.0.21/24"), *json.loads(GOOD)])
    machine = Machine(monkeypatch, tmp_path, [CLEAN], [links])
    for test in (False, True):
        with pytest.raises(SalternError, match=r"eth0 carries 10\.20\.0\.21; a device of the trunk"):
            ovs_control.converge(SETTINGS | {"bridges": bridges(eth0={})}, test=test)
    assert machine.ran == []


def test_a_unit_that_a_kill_kept_from_being_enabled_is_enabled(monkeypatch, tmp_path):
    unit_in_place(tmp_path)
    (tmp_path / "ovs-vswitchd.service.wants" / ovs_addresses.UNIT).unlink()
    machine = Machine(monkeypatch, tmp_path, [CLEAN], [GOOD])
    assert ovs_control.converge(SETTINGS, test=False) == {ovs_addresses.UNIT: "enabled"}
    assert f"enable {ovs_addresses.UNIT}" in machine.ran


def test_a_port_that_the_switch_cannot_open_fails(monkeypatch, tmp_path):
    machine = Machine(monkeypatch, tmp_path, [ANSWER], [GOOD])
    with pytest.raises(SalternError, match="could not open network device eth1"):
        ovs_control.converge(SETTINGS, test=False)
    assert machine.ran == []


def test_what_is_not_as_wanted_afterwards_fails(monkeypatch, tmp_path):
    Machine(monkeypatch, tmp_path, [CLEAN], [json.dumps([link("eth1"), link("tunnel0", up=False)])])
    with pytest.raises(SalternError, match="device tunnel0: has no address, wanted"):
        ovs_control.converge(SETTINGS, test=False)


def failing(monkeypatch, outcome):
    def run(command, **_):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (subprocess.CompletedProcess([], 1, "", "database connection failed\n"), "ovs-vsctl: database connection"),
        (FileNotFoundError(2, "No such file"), "ovs-vsctl: .*No such file"),
        (subprocess.TimeoutExpired("ovs-vsctl", 35), "ovs-vsctl: .*timed out"),
    ],
)
def test_a_tool_that_fails_is_an_error(monkeypatch, outcome, said):
    failing(monkeypatch, outcome)
    with pytest.raises(SalternError, match=said):
        ovs_control._found(test=False)
    assert ovs_control._found(test=True) == ovs.Switch()


def test_without_ip_it_says_so(monkeypatch):
    failing(monkeypatch, FileNotFoundError(2, "No such file"))
    with pytest.raises(SalternError, match="ip: "):
        ovs_addresses.read_links()
