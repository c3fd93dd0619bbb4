"""What an operator does with hosts: by the command line, by the runner, and what its highstate puts there."""

from __future__ import annotations

import io
import os
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from saltern import boottree, hostverbs, mirrors, trust, verbs
from saltern.errors import Problems
from saltern.hostlife import Record
from saltern.hoststore import Store

from frontdoor import __main__ as main
from frontdoor import host_verbs
from tests.sample import ROOT, SERVICES
from tests.unit.boot_samples import MIRRORS, installed, simple, sources
from tests.unit.site_samples import smallest
from tests.unit.test_plan_runner import loaded
from tests.unit.trust_samples import MACHINE, Deploy


@pytest.fixture
def deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deploy:
    monkeypatch.setattr(mirrors, "found", lambda named: {**MIRRORS, **named})
    found = Deploy(tmp_path)
    write(tmp_path, simple())
    return found


def write(root: Path, data: Any) -> None:
    (root / "site.yaml").write_text(yaml.safe_dump(data, sort_keys=False))


def inputs(deploy: Deploy) -> verbs.Inputs:
    return verbs.Inputs(deploy.root / "site.yaml", SERVICES)


# --- the verb


@pytest.fixture
def asked(deploy: Deploy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setattr(host_verbs, "Desk", lambda tell: deploy.desk)

    def ask(*words: str) -> tuple[int, str]:
        code = main.main(["hosts", "--site", str(deploy.root / "site.yaml"), *words])
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    return ask


def test_the_life_of_a_host_is_shown(asked: Any, deploy: Deploy) -> None:
    code, text = asked()
    assert (code, [line.split() for line in text.splitlines()][1:]) == (
        0, [["ctl1", "enrolled", "-", "-", "-"], ["cmp1", "enrolled", "-", "-", "-"]],
    )  # fmt: skip
    assert asked("reinstall", "ctl1", "--minutes", "30") == (
        0, "ctl1: armed for one installation within 30 min; now start 52:54:00:00:00:03 from the network\n",
    )  # fmt: skip
    assert deploy.record().armed.window == 1800
    assert "armed, until 1970-01-01 00:46:40 UTC" in asked()[1]
    code, text = asked("reinstall", "ctl1")
    assert (code, "it waits for its machine; `hosts abort` ends that" in text) == (1, True)
    token, secret = deploy.fetched()
    deploy.desk.progress("ctl1", MACHINE[1], secret, "refused", "10", "no disk fits")
    deploy.clock += 7
    for _ in range(2):
        deploy.desk.exchange("ctl1", MACHINE[1], "x", "", "")
    text = asked()[1]
    assert "refused 10 %  7 s ago\n" in text
    assert "ctl1: last words: no disk fits\n" in text
    assert "while it was installing (2 times)\n" in text
    assert asked("abort", "ctl1")[1].startswith("ctl1: nothing is allowed any more")
    assert asked("abort", "ctl1")[0] == 1
    asked("reinstall", "ctl1")
    deploy.fetched()
    deploy.desk.answers("ctl1", MACHINE[1])
    text = asked()[1]
    assert "ctl1: locked: its answers were asked for a second time; `./saltern hosts unlock ctl1` ends that\n" in text
    assert asked("unlock", "ctl1")[1].startswith("ctl1: unlocked")
    assert "ALARM" not in asked()[1]
    assert token not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reinstall", "cmp9"], "hosts: 'cmp9': unknown; did you mean 'cmp1'?"),
        (["abort", "cmp9"], "hosts: 'cmp9': unknown; did you mean 'cmp1'?"),
        (["unlock", "ctl1"], "hosts:ctl1: 'enrolled': it cannot be unlocked now; accepted: locked"),
        (["reinstall", "deploy"], "hosts:deploy:install: None: a host with this key; accepted: ctl1, cmp1"),
        (["reinstall", "ctl1", "--minutes", "0"], "minutes: '0': 1 to 1440"),
        (["reinstall", "ctl1", "--minutes", "½"], "minutes: '½': 1 to 1440"),
    ],
)
def test_what_cannot_be_done_is_said(asked: Any, deploy: Deploy, words: list[str], message: str) -> None:
    code, text = asked(*words)
    assert (code, message in text) == (1, True), text
    assert deploy.desk.store.hosts() == []


def test_answers_must_be_there_before_anybody_is_sent_for_them(asked: Any, deploy: Deploy) -> None:
    (deploy.root / "tree/answers/ctl1/preseed.cfg").unlink()
    assert "run the highstate of the deploy host first" in asked("reinstall", "ctl1")[1]


def test_a_host_whose_installer_trades_no_token_is_not_armed(asked: Any, deploy: Deploy) -> None:
    data = simple()
    data["hosts"]["ctl1"]["install"] = {"profile": "debian-13-live"}
    write(deploy.root, data)
    assert "hosts:ctl1:install:profile: 'debian-13-live': a profile whose answers" in asked("reinstall", "ctl1")[1]
    assert deploy.desk.store.hosts() == []


def test_a_disk_that_will_be_wiped_is_named(deploy: Deploy) -> None:
    data = simple()
    data["hosts"]["ctl1"]["install"] = {"wipe": [{"serial": "S3Z8"}], "serial": "CHASSIS 1"}
    write(deploy.root, data)
    said = hostverbs.reinstall(inputs(deploy), deploy.desk, "ctl1")
    assert "; it will lose the data of the disk S3Z8; " in said
    assert (deploy.record().armed.serial, deploy.record().armed.relayed) == ("CHASSIS 1", False)


def test_behind_a_relay(deploy: Deploy) -> None:
    data = installed()
    data["networks"]["provisioning"]["relayed"] = True
    write(deploy.root, data)
    (deploy.root / "tree/answers/cmp1").mkdir(exist_ok=True)
    (deploy.root / "tree/answers/cmp1/preseed.cfg").write_text("")
    hostverbs.reinstall(inputs(deploy), deploy.desk, "cmp1")
    armed = deploy.record("cmp1").armed
    assert (armed.address, armed.relayed) == ("10.21.0.21", True)
    data["networks"]["provisioning"] |= {"dhcp": "proxy", "range": None}
    write(deploy.root, data)
    with pytest.raises(Problems, match="neither MAC nor address says which machine asks"):
        inputs(deploy).load()


def test_a_host_that_has_left_the_site_file_can_still_be_aborted(asked: Any, deploy: Deploy) -> None:
    deploy.armed()
    data = simple()
    data["hosts"]["ctl1"] = {**data["hosts"]["ctl1"], "install": None}
    write(deploy.root, data)
    assert "ctl1  armed" in asked()[1]
    assert asked("abort", "ctl1")[0] == 0


def test_a_site_that_installs_nothing(asked: Any, deploy: Deploy) -> None:
    write(deploy.root, smallest())
    assert asked() == (0, "no host of the site file has the key install\n")


def test_the_table_of_what_the_clock_has_overtaken() -> None:
    assert "0 s ago" in hostverbs.shown([Record("cmp1", heard=2000)], 1000)


# --- the runner


@pytest.fixture
def runner(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    places = {"site": str(deploy.root / "site.yaml"), "catalogue": str(SERVICES)}
    found = loaded("_runners/saltern.py", __opts__={"ext_pillar": [{"saltern": places}]}, __salt__={})
    monkeypatch.setattr(found, "Desk", lambda tell: deploy.desk)
    return found


def test_the_runner_says_the_same(runner: Any, deploy: Deploy) -> None:
    assert runner.hosts().startswith("HOST")
    assert runner.hosts("reinstall", "ctl1", minutes=5).startswith("ctl1: armed for one installation within 5 min")
    assert runner.hosts("abort", "ctl1").startswith("ctl1: nothing")
    assert runner.hosts("renistall", "ctl1")["data"]["problems"] == [
        "act: 'renistall': unknown; did you mean 'reinstall'?"
    ]
    assert runner.hosts("abort")["data"]["problems"] == ["host: None: the name of a host"]
    assert runner.hosts("abort", "ctl1")["data"]["retcode"] == 1


def test_what_the_master_learns_of_a_host(runner: Any, deploy: Deploy) -> None:
    assert runner.learnt("ctl1", "contact") == "ctl1: not installed by us"
    deploy.armed()
    assert runner.learnt("ctl1", "contact") == "ctl1: armed, as before"
    deploy.desk.store.change("ctl1", lambda _: (Record("ctl1", "installed"), None))
    for event, state in (("contact", "trusted"), ("configured", "configured"), ("serve", "in service")):
        assert runner.learnt("ctl1", event) == f"ctl1: {state}"
    assert runner.learnt("ctl1", "arm")["data"]["retcode"] == 1


HIGHSTATE = {"fun": "state.highstate", "fun_args": [], "success": True, "retcode": 0, "id": "ctl1"}


@pytest.mark.parametrize(
    ("tag", "changes", "event"),
    [
        ("salt/minion/ctl1/start", {}, "contact"),
        ("salt/job/1/ret/ctl1", {}, "configured"),
        ("salt/job/1/ret/ctl1", {"fun": "state.apply"}, "configured"),
        ("salt/job/1/ret/ctl1", {"fun": "state.apply", "fun_args": ["nova"]}, ""),
        ("salt/job/1/ret/ctl1", {"fun_args": [{"test": True}]}, ""),
        ("salt/job/1/ret/ctl1", {"retcode": 2}, ""),
        ("salt/job/1/ret/ctl1", {"success": False}, ""),
        ("salt/job/1/ret/ctl1", {"fun": "test.ping"}, ""),
        ("salt/job/1/ret/ctl1", {"fun_args": None}, "configured"),
    ],
)
def test_what_an_event_of_salt_means(tag: str, changes: dict[str, Any], event: str) -> None:
    assert hostverbs.meaning(tag, {**HIGHSTATE, **changes}) == event
    found = runpy.run_path(str(ROOT / "states/reactor/host.sls"), {"tag": tag, "data": {**HIGHSTATE, **changes}})[
        "run"
    ]()
    wanted = {"runner.saltern.learnt": [{"args": [{"host": "ctl1"}, {"event": event}]}]}
    assert found == ({"learnt": wanted} if event else {})


# --- the tree


@pytest.fixture
def state(deploy: Deploy) -> Any:
    places = {"site": str(deploy.root / "site.yaml"), "catalogue": str(SERVICES)}
    opts = {"ext_pillar": [{"saltern": places}], "test": False}
    return loaded("_states/boot_tree.py", __opts__=opts, __context__={})


def test_the_tree_is_made_and_left_alone(state: Any, deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    place = deploy.root / "made"
    sources_ = [deploy.root / name for name in ("ipxe", "linux")]
    monkeypatch.setattr(boottree, "IPXE", str(sources_[0]))
    state.__opts__["test"] = True
    foreseen = state.present(str(place))
    assert (foreseen["result"], place.exists()) == (None, False)
    assert foreseen["changes"]["boot/undionly.kpxe"] == f"link to {sources_[0]}"
    assert foreseen["changes"]["dnsmasq.conf"] == "written"
    state.__opts__["test"] = False
    done = state.present(str(place))
    assert (done["result"], f"{sources_[0]} is not there" in done["comment"]) == (False, True)
    assert os.readlink(place / "boot/undionly.kpxe") == str(sources_[0])
    assert (place / "answers/ctl1/preseed.cfg").read_text() == (
        deploy.root / "tree/answers/ctl1/preseed.cfg"
    ).read_text()
    found = boottree.wanted(inputs(deploy), str(deploy.root / "tree"))
    lacking = [line.split(": ")[1] for line in done["comment"].splitlines()]
    assert sorted(lacking) == sorted(f"{source} is not there" for source in found.links.values())
    for source in found.links:
        (place / source).unlink()
        (place / source).write_text("")
    (place / "boot/undionly.kpxe").unlink()
    (place / "boot/undionly.kpxe").symlink_to("/elsewhere")
    assert set(state.present(str(place))["changes"]) == {*found.links}
    assert state.present(str(place))["changes"] == {}


def test_when_all_is_there(state: Any, deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fedora's files are an operator's to bring; they are named until they are there."""
    data = installed("fedora-43")
    write(deploy.root, data)
    place = deploy.root / "made"
    done = state.present(str(place))
    names = ("vmlinuz", "initrd.img", "shimx64.efi", "grubx64.efi")
    said = "".join(f"\n{place}/boot/fedora-43/{name}: put it there (docs/netboot.md says whence)" for name in names)
    assert (done["result"], done["comment"]) == (False, said[1:])
    for name in names:
        (place / "boot/fedora-43" / name).write_text("")
    done = state.present(str(place))
    assert (done["result"], done["changes"], done["comment"]) == (True, {}, "all is as the site file says")
    state.__opts__["test"] = True
    assert state.present(str(place))["result"] is True


def test_the_master_says_where_the_site_file_is(state: Any, deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Salt is not in the tests' environment: what reads the master's configuration stands in for it."""
    opts = dict(state.__opts__)
    salt, config = ModuleType("salt"), ModuleType("salt.config")
    salt.config, config.master_config = config, lambda path: {"/etc/salt/master": opts}[path]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "salt", salt)
    monkeypatch.setitem(sys.modules, "salt.config", config)
    state.__opts__ = {"ext_pillar": [], "test": True}
    assert state.present(str(deploy.root / "made"))["result"] is None


def test_a_link_that_cannot_be_made(deploy: Deploy) -> None:
    found = boottree.tree(sources(simple()))
    (deploy.root / "made/boot/undionly.kpxe/x").mkdir(parents=True)
    with pytest.raises(Problems, match="a place for a link"):
        boottree.put(deploy.root / "made", found)


def test_a_desk_of_its_own_looks_at_the_usual_places() -> None:
    desk = trust.Desk()
    assert (desk.store.directory, desk.tree) == (Store().directory, Path("/srv/saltern-boot"))
    assert desk.tell("a", "b", "c") is None
