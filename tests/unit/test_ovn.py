"""OVN's listeners: what the databases say is understood, and only a difference is written."""

import subprocess

import pytest
from saltern import ovn
from saltern.errors import Problems, SalternError

NORTH, SOUTH = ovn.KINDS
SETTINGS = {
    "key": "/k",
    "cert": "/c",
    "ca_file": "/a",
    "northbound": [{"target": "pssl:6641:127.0.0.1"}],
    "southbound": [
        {"target": "pssl:6643:127.0.0.1"},
        {"target": "pssl:6642:10.20.0.11", "role": "ovn-controller"},
    ],
}
# What ovn-sbctl and ovn-nbctl 25.03 answer to ovn.question(), before and after.
FILES = '{"data":[["/k","/c","/a"]],"headings":["private_key","certificate","ca_cert"]}\n'
SOUTHBOUND = (
    FILES + '{"data":[["pssl:6642:10.20.0.11",60000,["map",[["bound_port","6642"]]],"ovn-controller"],'
    '["pssl:6643:127.0.0.1",60000,["map",[["bound_port","6643"]]],""]],'
    '"headings":["target","inactivity_probe","status","role"]}\n'
)
NORTHBOUND = (
    FILES + '{"data":[["pssl:6641:127.0.0.1",60000,["map",[["bound_port","6641"]]]]],'
    '"headings":["target","inactivity_probe","status"]}\n'
)
EMPTY = '{"data":[],"headings":["private_key"]}\n{"data":[],"headings":["target"]}\n'


def test_both_databases_as_wanted():
    for kind, answer in ((NORTH, NORTHBOUND), (SOUTH, SOUTHBOUND)):
        have, want = ovn.parse(answer), ovn.wanted(kind, SETTINGS)
        assert have == want
        assert ovn.commands(kind, have, want) == []
        assert ovn.changes(kind, have, want) == {}


def test_an_empty_database_gets_it_in_one_transaction():
    assert ovn.commands(SOUTH, ovn.parse(EMPTY), ovn.wanted(SOUTH, SETTINGS)) == [
        *("--", "set-ssl", "/k", "/c", "/a", "--", "del-connection"),
        *("--", "--id=@listener0", "create", "Connection", 'target="pssl:6642:10.20.0.11"', "inactivity_probe=60000"),
        "role=ovn-controller",
        *("--", "--id=@listener1", "create", "Connection", 'target="pssl:6643:127.0.0.1"', "inactivity_probe=60000"),
        *("--", "set", "SB_Global", ".", "connections=@listener0,@listener1"),
    ]


def test_only_what_differs_is_written():
    want = ovn.wanted(SOUTH, SETTINGS)
    assert "set-ssl" not in ovn.commands(SOUTH, ovn.Database(want.files), want)
    assert ovn.commands(SOUTH, ovn.Database((), want.listeners), want) == ["--", "set-ssl", "/k", "/c", "/a"]
    gone = ovn.wanted(SOUTH, SETTINGS | {"southbound": []})
    assert ovn.commands(SOUTH, want, gone) == ["--", "del-connection", "--", "set", "SB_Global", ".", "connections=[]"]


def test_a_listener_in_the_clear_or_with_all_rights_is_a_difference():
    text = SOUTHBOUND.replace("pssl:6642:10.20.0.11", "ptcp:6642:0.0.0.0").replace("60000", '["set",[]]', 1)
    have = ovn.parse(text.replace('"ovn-controller"', '""'))
    assert ovn.changes(SOUTH, have, ovn.wanted(SOUTH, SETTINGS)) == {
        "southbound: listeners": {
            "old": ["pssl:6643:127.0.0.1 all rights", "ptcp:6642:0.0.0.0 all rights"],
            "new": ["pssl:6642:10.20.0.11 ovn-controller", "pssl:6643:127.0.0.1 all rights"],
        }
    }


def test_mistakes_are_told_all_at_once():
    wrong = {"northbound": [{"target": "ptcp:6641"}, {"target": "pssl:1:h", "role": "ovn-controller"}, {}]}
    with pytest.raises(Problems) as refused:
        ovn.wanted(NORTH, wrong)
    assert [each.path for each in refused.value.problems] == [
        *("key", "cert", "ca_file"),
        *("northbound:0:target", "northbound:1:role", "northbound:2:target"),
    ]


class Databases:
    """Both databases: writes are kept, and reads answer as told, the last answer for ever."""

    def __init__(self, monkeypatch, north, south):
        self.answers, self.written = {"ovn-nbctl": [*north], "ovn-sbctl": [*south]}, []
        monkeypatch.setattr(subprocess, "run", self.run)

    def run(self, command, **_):
        if "list" not in command:
            self.written.append((command[0], [*command[2:]]))
            return subprocess.CompletedProcess(command, 0, "", "")
        left = self.answers[command[0]]
        return subprocess.CompletedProcess(command, 0, left.pop(0) if len(left) > 1 else left[0], "")


def test_as_wanted_nothing_is_written(monkeypatch):
    databases = Databases(monkeypatch, [NORTHBOUND], [SOUTHBOUND])
    assert ovn.converge(SETTINGS, test=False) == {}
    assert databases.written == []


def test_a_dry_run_tells_and_writes_nothing(monkeypatch):
    databases = Databases(monkeypatch, [EMPTY], [SOUTHBOUND])
    assert [*ovn.converge(SETTINGS, test=True)] == ["northbound: certificate", "northbound: listeners"]
    assert databases.written == []


def test_it_is_written_and_waited_for(monkeypatch):
    unbound = SOUTHBOUND.replace('"bound_port"', '"not_yet"')
    databases = Databases(monkeypatch, [NORTHBOUND], [EMPTY, unbound, SOUTHBOUND])
    assert [*ovn.converge(SETTINGS, test=False)] == ["southbound: certificate", "southbound: listeners"]
    want = ovn.wanted(SOUTH, SETTINGS)
    assert databases.written == [("ovn-sbctl", ovn.commands(SOUTH, ovn.Database(), want))]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (SOUTHBOUND.replace('"bound_port"', '"not_yet"'), "did not get its port; is its address on this host"),
        (EMPTY, "southbound is not as wanted after 0 s: {'southbound: certificate'"),
    ],
)
def test_a_listener_that_does_not_come_is_a_failure(monkeypatch, answer, said):
    Databases(monkeypatch, [NORTHBOUND], [answer])
    with pytest.raises(SalternError, match=said):
        ovn.converge(SETTINGS, test=False, wait=0.1)


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (subprocess.CompletedProcess([], 1, "", "unix:/run/ovn/ovnnb_db.sock: failed\n"), "ovn-nbctl: unix:"),
        (FileNotFoundError(2, "No such file"), "ovn-nbctl: .*No such file"),
        (subprocess.TimeoutExpired("ovn-nbctl", 25), "ovn-nbctl: .*timed out"),
    ],
)
def test_a_tool_that_fails_is_an_error(monkeypatch, outcome, said):
    def run(command, **_):
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(SalternError, match=said):
        ovn.converge(SETTINGS, test=False)
    assert len(ovn.converge(SETTINGS, test=True)) == 4
