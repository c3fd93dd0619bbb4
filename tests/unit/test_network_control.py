"""Networks are changed on trial: on directories of this computer, with what links and probes say told beforehand."""

from __future__ import annotations

import configparser
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from saltern import network_change, network_control, network_probes
from saltern.errors import Problems
from saltern.network_change import MARK, Place
from saltern.network_control import BOOT, ROLLBACK, Control
from saltern.network_probes import Probes


def text(address: str) -> str:
    return f"{MARK}\n[Match]\nName = eth0\n[Network]\nAddress = {address}/24\n"


OLD, NEW = {"20-eth0.network": text("10.0.0.2")}, {"20-eth0.network": text("10.0.0.3")}


@dataclass
class Systemd:
    """The service manager: notes what it is told; networkd runs, NetworkManager does not, unless said otherwise."""

    active: tuple[str, ...] = (network_change.NETWORKD,)
    told: list[str] = field(default_factory=list)

    def runs(self, name: str) -> bool:
        return name in self.active

    def do(self, verb: str, names: Sequence[str] = (), timeout: float = 60) -> None:
        self.told.append(" ".join([verb, *names]))
        if verb == "enable":
            self.wants.mkdir(exist_ok=True)
            (self.wants / BOOT).symlink_to(self.wants / "x")

    def attempt(self, verb: str, names: Sequence[str], timeout: float) -> str:
        self.do(verb, names)
        return ""

    wants: Path = Path()


@dataclass
class Kernel:
    """Links have the address that the file in place says, as networkd would give it."""

    network: Path

    def __call__(self, words: Sequence[str]) -> str:
        if words[0] != "ip" or "address" not in words:
            return ""
        found = (self.network / "20-eth0.network").read_text().partition("Address = ")[2].partition("/")[0]
        address = {"family": "inet", "scope": "global", "local": found, "prefixlen": 24}
        return json.dumps([{"ifname": "eth0", "flags": ["UP"], "addr_info": [address]}])


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Control:
    """A host with the old file; nobody waits."""
    for name in ("network", "units"):
        (tmp_path / name).mkdir()
    (tmp_path / "boot").write_text("one\n")
    (tmp_path / "network/20-eth0.network").write_text(OLD["20-eth0.network"])
    monkeypatch.setattr(network_control, "MARGIN", 60)
    monkeypatch.setattr(network_control, "RESTORE", 0)
    place = Place(tmp_path / "network", tmp_path / "state", tmp_path / "boot", Kernel(tmp_path / "network"))
    systemd: Any = Systemd(wants=tmp_path / "units/sysinit.target.wants")
    directories = [str(place.network)]
    return Control(60, place, tmp_path / "bin/saltern-network", tmp_path / "units", systemd, directories, [], 0)


def told(control: Control) -> list[str]:
    systemd: Any = control.systemctl
    found, systemd.told = systemd.told, []
    return list(found)


class Answers:
    """Probes: what is asked answers unless the new address is there and that was said to fail."""

    def __init__(self, place: Place, failing: bool = False, dumb: bool = False) -> None:
        self.place, self.bad, self.dumb = place, failing, dumb

    def probes(self) -> Probes:
        return Probes(gateway="10.0.0.254", ask=self.ask)

    def ask(self, words: Sequence[str]) -> tuple[int, str]:
        new = "10.0.0.3" in (self.place.network / "20-eth0.network").read_text()
        return (1 if self.dumb or (new and self.bad) else 0), ""


def test_what_would_be_done_is_told_and_nothing_is_done(control: Control) -> None:
    report = control.converge(NEW, Probes(), True)
    assert report.result is None
    assert report.changes[f"{network_control.host_network.networkd.DIRECTORY}/20-eth0.network"] == {
        "Network.Address": {"old": "10.0.0.2/24", "new": "10.0.0.3/24"}
    }
    assert network_change.ours(control.place.network) == OLD
    assert not control.program.exists()
    assert told(control) == []


def test_a_good_change_stays_and_a_second_run_does_nothing(control: Control) -> None:
    report = control.converge(NEW, Answers(control.place).probes(), False)
    assert report.result is True, report.words
    assert "gateway 10.0.0.254" in report.words
    assert network_change.ours(control.place.network) == NEW
    assert told(control) == [
        "daemon-reload",
        f"enable {BOOT}",
        f"restart {network_change.TIMER}",
        f"stop {network_change.TIMER}",
    ]
    assert control.program.stat().st_mode & 0o777 == 0o755
    assert control.program.read_text() == Path(network_change.__file__).read_text()
    again = control.converge(NEW, Probes(), False)
    assert (again.result, again.changes, told(control)) == (True, {}, [])


def test_a_host_that_is_as_planned_gets_its_guards_alone(control: Control) -> None:
    report = control.converge(OLD, Probes(), False)
    assert report.result is True
    assert list(report.changes) == [
        str(control.program),
        *(str(control.units / name) for name in (ROLLBACK, network_change.TIMER, BOOT)),
        f"{BOOT} (enabled)",
    ]
    (control.units / BOOT).write_text("other\n")
    assert control.converge(OLD, Probes(), True).changes == {
        str(control.units / BOOT): {"old": "another one", "new": "as planned"}
    }


def test_a_bad_change_goes_and_the_failure_says_why(control: Control) -> None:
    report = control.converge(NEW, Answers(control.place, failing=True).probes(), False)
    assert (report.result, report.changes) == (False, {})
    assert report.words == (
        "gateway: 10.0.0.254: answers neither a ping nor the question for its MAC\n"
        "rolled back: the old files are in place, and what answered before answers again"
    )
    assert network_change.ours(control.place.network) == OLD
    assert not control.place.pending.exists()


def test_what_did_not_answer_before_is_not_expected_after_the_rollback(control: Control) -> None:
    report = control.converge(NEW, Answers(control.place, dumb=True).probes(), False)
    assert report.result is False
    assert "what answered before answers again" in report.words


def test_a_rollback_that_does_not_bring_all_back_is_told(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(control.place, failing=True)
    undone = network_change.rollback

    def lost(place: Place) -> bool:
        answers.dumb = place.pending.exists()
        return undone(place)

    monkeypatch.setattr(network_change, "rollback", lost)
    report = control.converge(NEW, answers.probes(), False)
    assert "but not everything is as before: gateway: 10.0.0.254" in report.words


def test_links_that_do_not_follow_are_told_with_what_comes_of_it(control: Control) -> None:
    wanted = {"20-eth9.network": text("10.0.0.2").replace("eth0", "eth9"), **NEW}
    report = control.converge(wanted, Answers(control.place, failing=True).probes(), False)
    assert report.words.startswith("links: eth9: no such device\ngateway: 10.0.0.254: answers neither")


def test_a_timer_that_was_faster_is_told(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(place: Place) -> None:
        network_change.rollback(place)
        raise network_change.NoChange("gone")

    monkeypatch.setattr(network_change, "confirm", late)
    report = control.converge(NEW, Probes(), False)
    assert report.result is False
    assert "rolled back by its timer after 60 s" in report.words
    assert network_change.ours(control.place.network) == OLD


def test_a_change_that_was_confirmed_by_hand_stays(control: Control) -> None:
    answers = Answers(control.place, failing=True)

    def confirmed(words: Sequence[str]) -> tuple[int, str]:
        if control.place.pending.exists():
            network_change.confirm(control.place)
        return answers.ask(words)

    report = control.converge(NEW, Probes(gateway="10.0.0.254", ask=confirmed), False)
    assert (report.result, report.words) == (True, "networks were changed, and confirmed by hand")
    assert network_change.ours(control.place.network) == NEW


def test_a_change_that_a_dead_run_left_is_rolled_back_first(control: Control) -> None:
    control.converge(OLD, Probes(), False)
    network_change.begin(control.place, NEW)
    network_change.apply(control.place)
    planned = control.converge(OLD, Probes(), True)
    assert (planned.result, list(planned.changes)) == (None, ["(change on trial)"])
    assert network_change.ours(control.place.network) == NEW
    report = control.converge(OLD, Probes(), False)
    assert report.result is True
    assert network_change.ours(control.place.network) == OLD


def test_a_link_that_falls_back_while_it_settles_is_waited_for_again(control: Control) -> None:
    answers = [{"a": "no"}, {}, {"a": "no"}, {}, {}]
    assert control._wait(OLD, lambda: answers.pop(0), 10) == {}
    assert answers == []
    fallen = [{}, {"a": "no"}]
    assert control._wait(OLD, lambda: fallen.pop(0), -1) == {"a": "no"}


def test_what_stands_in_the_way_is_told_all_at_once(control: Control, tmp_path: Path) -> None:
    systemd: Any = control.systemctl
    systemd.active = (network_control.MANAGER,)
    (control.place.network / "10-x.network").write_text("[Match]\nName=eth0\n")
    with pytest.raises(Problems) as found:
        control.converge(NEW, Probes(), False)
    assert [each.path for each in found.value.problems] == [
        str(control.place.network / "10-x.network"),
        network_change.NETWORKD,
        network_control.MANAGER,
    ]
    assert network_change.ours(control.place.network) == OLD
    (control.place.network / "10-x.network").unlink()
    systemd.active = ()
    assert control.converge(NEW, Probes(), True).result is None


def test_the_guards_are_what_systemd_reads(control: Control) -> None:
    control.converge(OLD, Probes(), False)
    found = {}
    for path in control.units.glob("*.*"):
        if path.is_file():
            parser = configparser.ConfigParser(strict=True, interpolation=None)
            parser.optionxform = str  # type: ignore[assignment,method-assign]
            parser.read_string(path.read_text())
            found[path.name] = parser
    assert found[network_change.TIMER]["Timer"]["OnActiveSec"] == "60"
    assert found[ROLLBACK]["Service"]["ExecStart"] == f"{control.program} rollback"
    assert network_change.NETWORKD in found[BOOT]["Unit"]["Before"].split()
    assert found[BOOT]["Service"]["RemainAfterExit"] == "yes"
    assert network_probes.PORTS == (4505, 4506)
