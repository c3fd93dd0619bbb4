"""A change of a host's networks on trial: on real directories, killed at every step, with networkd's commands noted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saltern import network_change
from saltern.network_change import MARK, NoChange, Place

LINKS = [
    {"ifname": "eth0", "address": "52:54:00:00:00:01"},
    {"ifname": "eth1", "address": "52:54:00:00:00:01", "permaddr": "52:54:00:00:00:02"},
    {"ifname": "eth1.20", "link": "eth1", "address": "52:54:00:00:00:02"},
]


@dataclass
class Programs:
    """Notes what is run; says what ``ip`` and ``systemctl`` say."""

    networkd: str = "active"
    ran: list[str] = field(default_factory=list)

    def __call__(self, words: Sequence[str]) -> str:
        line = " ".join(words)
        if line == "ip -json link show":
            return json.dumps(LINKS)
        if words[1] == "is-active":
            return f"{self.networkd}\n"
        self.ran.append(line)
        return ""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "network").mkdir()
    (tmp_path / "boot").write_text("first\n")
    return Place(tmp_path / "network", tmp_path / "state", tmp_path / "boot", Programs())


def network(device: str, *more: str, key: str = "Name") -> str:
    return "\n".join([MARK, "[Match]", f"{key} = {device}", "[Network]", *more, ""])


def netdev(device: str, kind: str) -> str:
    return f"{MARK}\n[NetDev]\nName = {device}\nKind = {kind}\n"


OLD = {"20-eth0.network": network("eth0", "Address = 10.0.0.2/24")}
NEW = {"20-eth0.network": network("eth0", "Address = 10.0.0.3/24"), "20-eth1.network": network("eth1")}


def put(place: Place, files: dict[str, str]) -> None:
    for name, text in files.items():
        (place.network / name).write_text(text)


def ran(place: Place) -> list[str]:
    assert isinstance(place.run, Programs)
    found, place.run.ran = place.run.ran, []
    return found


def test_a_change_is_applied_and_confirmed(place: Place) -> None:
    put(place, OLD)
    (place.network / "99-mine.network").write_text("[Match]\nName=wlan0\n")
    network_change.begin(place, NEW)
    assert network_change.ours(place.network) == OLD
    assert "a change is on trial" in network_change.status(place)
    network_change.apply(place)
    assert network_change.ours(place.network) == NEW
    assert ran(place) == ["networkctl reload"]
    network_change.confirm(place)
    assert ran(place) == [f"systemctl stop {network_change.TIMER}"]
    assert network_change.ours(place.confirmed / "old") == OLD
    assert f"{place.confirmed}/old" in network_change.status(place)
    assert network_change.rollback(place) is False
    assert network_change.ours(place.network) == NEW
    assert (place.network / "99-mine.network").read_text() == "[Match]\nName=wlan0\n"
    with pytest.raises(NoChange):
        network_change.confirm(place)
    with pytest.raises(NoChange):
        network_change.apply(place)


def test_a_change_is_rolled_back_and_devices_are_released(place: Place) -> None:
    put(place, OLD)
    network_change.begin(place, NEW)
    network_change.apply(place)
    ran(place)
    assert network_change.rollback(place) is True
    assert network_change.ours(place.network) == OLD
    assert ran(place) == [
        "ip link set dev eth1 nomaster",
        "ip address flush dev eth1 scope global",
        f"systemctl reset-failed {network_change.NETWORKD}",
        f"systemctl restart {network_change.NETWORKD}",
    ]
    assert "rolled back" in network_change.status(place)
    with pytest.raises(NoChange):
        network_change.confirm(place)


def test_what_networkd_cannot_change_is_made_again(place: Place) -> None:
    old = {"10-bond0.netdev": netdev("bond0", "bond"), "10-v.netdev": netdev("v", "vlan"), **OLD}
    put(place, old)
    wanted = {"10-bond0.netdev": netdev("bond0", "bridge"), "10-b.netdev": netdev("b", "bridge"), **OLD}
    network_change.begin(place, wanted)
    network_change.apply(place)
    assert ran(place)[:2] == ["ip link delete dev bond0", "ip link delete dev v"]
    network_change.rollback(place)
    assert sorted(ran(place)[:2]) == ["ip link delete dev b", "ip link delete dev bond0"]
    assert network_change.ours(place.network) == old


def test_a_device_is_known_by_its_own_mac(place: Place) -> None:
    """The bond's members have one MAC; the permanent one tells them apart. A device that is not there is passed by."""
    by_mac = network("52:54:00:00:00:02", key="PermanentMACAddress")
    put(place, {"20-a.network": by_mac, "20-b.network": network("eth7"), **OLD})
    network_change.begin(place, {"20-c.network": network("eth0"), **OLD})
    network_change.apply(place)
    assert ran(place) == [
        "ip link set dev eth1 nomaster",
        "ip address flush dev eth1 scope global",
        "networkctl reload",
    ]


def test_a_boot_rolls_back_what_an_earlier_one_left(place: Place) -> None:
    put(place, OLD)
    assert network_change.boot(place) is False
    network_change.begin(place, NEW)
    network_change.apply(place)
    assert network_change.boot(place) is False
    place.boot.write_text("second\n")
    ran(place)
    early = replace(place, run=Programs("inactive"))
    assert network_change.boot(early) is True
    assert ran(early) == []
    assert network_change.ours(place.network) == OLD
    network_change.begin(place, NEW)
    place.boot.write_text("third\n")
    assert network_change.boot(place) is True
    assert ran(place)[-1] == f"systemctl restart {network_change.NETWORKD}"


def test_only_one_change_is_on_trial(place: Place) -> None:
    network_change.begin(place, NEW)
    with pytest.raises(OSError):
        network_change.begin(place, OLD)
    assert network_change.ours(place.pending / "new") == NEW


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


STEPS = ("rename", "unlink", "fsync", "fchmod", "mkdir", "rmdir")


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch, run: Callable[[], object]) -> bool:
    """Do something, killed at the n-th call that touches a disk; tell if it was."""
    left = [step]

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return call(*args, **kwargs)

        return wrapper

    with monkeypatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, counted(getattr(os, name)))
        try:
            run()
        except Killed:
            return True
    return False


def again(place: Place) -> None:
    for path in place.network.iterdir():
        path.unlink()
    put(place, OLD)


@pytest.mark.parametrize("end", [network_change.rollback, network_change.boot])
def test_killed_at_any_step_either_all_old_or_all_new_files_are_there_in_the_end(
    place: Place, end: Callable[[Place], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def change() -> None:
        network_change.begin(place, NEW)
        network_change.apply(place)
        network_change.confirm(place)

    steps, outcomes = 0, set()
    again(place)
    while killed_at(steps, monkeypatch, change):
        place.boot.write_text(f"boot {steps}\n")
        end(place)
        outcomes.add(tuple(network_change.ours(place.network).items()))
        assert not place.pending.exists()
        again(place)
        steps += 1
    assert steps > 25
    assert outcomes == {tuple(OLD.items()), tuple(sorted(NEW.items()))}


def test_a_rollback_that_is_killed_at_any_step_is_done_by_the_next_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, more = 0, True
    while more:
        again(place)
        network_change.begin(place, NEW)
        network_change.apply(place)
        more = killed_at(steps, monkeypatch, lambda: network_change.rollback(place))
        network_change.rollback(place)
        assert network_change.ours(place.network) == OLD
        assert {path.name for path in place.network.iterdir()} == set(OLD)
        assert not place.pending.exists()
        steps += 1
    assert steps > 8


NAMES = st.sampled_from(["20-a.network", "20-b.network", "10-a.netdev", "10-b.netdev"])
TEXTS = st.sampled_from([network("eth0"), network("eth1", "A = 1"), netdev("a", "bond"), netdev("b", "vlan")])


@pytest.mark.no_cover
@settings(max_examples=50, deadline=None)
@given(old=st.dictionaries(NAMES, TEXTS), new=st.dictionaries(NAMES, TEXTS), mine=st.text("abc\n[]=", max_size=20))
def test_any_change_comes_and_goes_without_a_trace(
    tmp_path_factory: pytest.TempPathFactory, old: dict[str, str], new: dict[str, str], mine: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    place = Place(folder / "network", folder / "state", Path("/proc/sys/kernel/random/boot_id"), Programs())
    place.network.mkdir()
    put(place, {**old, "30-mine.network": mine})
    network_change.begin(place, new)
    network_change.apply(place)
    assert network_change.ours(place.network) == new
    network_change.rollback(place)
    assert network_change.ours(place.network) == old
    assert (place.network / "30-mine.network").read_text() == mine
    assert {path.name for path in place.network.iterdir()} == {*old, "30-mine.network"}


def test_the_program_runs_without_anything_of_salt() -> None:
    """By the system's Python, without site packages: that is how units call it."""
    program = Path(network_change.__file__)
    assert program.read_text().startswith("#!/usr/bin/python3 -IS\n")
    done = subprocess.run(["/usr/bin/python3", "-IS", program, "nonsense"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, network_change.USAGE)


def test_the_command_line(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert network_change.main(["status"], place) == 0
    assert capsys.readouterr().out == "no change is on trial\n"
    assert network_change.main(["confirm"], place) == 1
    assert "no change of this host's networks is on trial" in capsys.readouterr().err
    assert network_change.main(["rollback"], place) == 0
    assert network_change.main(["boot"], place) == 0
    assert capsys.readouterr().out == "no change is on trial\n"
    assert network_change.main([], place) == 2
    network_change.begin(place, NEW)
    assert network_change.main(["confirm"], place) == 0
    network_change.begin(place, OLD)
    place.boot.write_text("later\n")
    assert network_change.main(["boot"], place) == 0
    network_change.begin(place, OLD)
    assert network_change.main(["rollback"], place) == 0
    assert capsys.readouterr().out == "confirmed\nrolled back: an earlier boot left it on trial\nrolled back\n"


def test_a_command_that_fails_says_so_and_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert network_change.command(["echo", "x"]) == "x\n"
    assert network_change.command(["ls", "/nonesuch"]) == ""
    assert "/nonesuch" in capsys.readouterr().err
    assert network_change.command(["nonesuch-program"]) == ""
    assert "nonesuch-program" in capsys.readouterr().err


def test_a_foreign_file_is_none_of_ours(place: Place) -> None:
    put(place, OLD)
    (place.network / "20-link.network").symlink_to(place.network / "20-eth0.network")
    (place.network / "readme").write_text(MARK)
    assert network_change.ours(place.network) == OLD
    assert network_change.ours(place.network / "nonesuch") == {}
    assert sys.version_info >= (3, 11)
