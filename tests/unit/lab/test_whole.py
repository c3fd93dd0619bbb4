"""A lab is whole or not there, and it is only itself: kills, names, what is left behind."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lab import down, fabric, image, layout, master, nodes, outside, router, saltconf, sites
from lab.command import LabError
from lab.layout import Lab
from lab.mirror import Entry

ENTRIES = (Entry("http://m.example/debian", "trixie"),)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab of which nothing is there yet."""
    monkeypatch.setattr(layout, "STATE", tmp_path / "state")
    monkeypatch.setattr(layout, "CACHE", tmp_path / "state" / "cache")
    monkeypatch.setattr(fabric, "NAMESPACES", tmp_path / "netns")
    return sites.load("lab")


def named(tmp_path: Path, name: str) -> str:
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(sites.find("lab").read_text()) | {"name": name}))
    return str(path)


@pytest.mark.parametrize("name", ["cache", "lab.2", "lab-gw", "lab-r7", "lab-probe"])
def test_a_name_that_means_a_part_of_another_lab_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LabError, match=f"name: '{name}': no name for a lab; accepted: "):
        sites.load(named(tmp_path, name))


@pytest.mark.parametrize("name", ["lab-rack1", "lab-r7a", "cached", "gw", "r7"])
def test_other_names_are_fine(tmp_path: Path, name: str) -> None:
    found = sites.load(named(tmp_path, name))
    assert found.name == name
    assert sites.option(found) == f" --site {tmp_path}/site.yaml"


def test_a_command_names_a_site_of_the_repository_shortly() -> None:
    assert [sites.option(sites.load(name)) for name in ("lab", "allinone")] == ["", " --site allinone"]


def test_a_cable_keeps_its_name_when_hosts_come_and_go(lab: Lab) -> None:
    fewer = replace(lab, site=replace(lab.site, hosts=dict(list(lab.site.hosts.items())[1:])))
    assert [node.cables for node in fewer.nodes] == [node.cables for node in lab.nodes][1:]


def test_routers_of_other_labs_are_none_of_ours(lab: Lab) -> None:
    for name in ("saltern-lab", "saltern-lab-r200", "saltern-lab-r7", "saltern-lab-rack1", "saltern-lab-rack1-r5"):
        (fabric.NAMESPACES / name).mkdir(parents=True)
    assert sorted(router.there(lab)) == [7, 200]


def test_a_lab_is_removed_whole_or_not_at_all(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = lab.state / "nodes/ctl1/upper/etc"
    disk.mkdir(parents=True)

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            down.remove(lab)
    assert not lab.state.exists()
    disk.mkdir(parents=True)
    down.remove(lab)
    assert list(layout.STATE.iterdir()) == []
    down.remove(lab)


def test_two_may_remove_a_lab_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    (lab.state / "nodes/ctl1").mkdir(parents=True)
    whole = shutil.rmtree

    def raced(path: Path) -> None:
        inner = path / "nodes/ctl1"
        if inner.exists():
            inner.rmdir()
            raise FileNotFoundError(inner)
        whole(path)

    monkeypatch.setattr(shutil, "rmtree", raced)
    down.remove(lab)
    assert list(layout.STATE.iterdir()) == []


def test_nodes_of_hosts_that_left_the_site_are_known(lab: Lab) -> None:
    for name in ("ctl1", "old1"):
        (lab.state / "nodes" / name).mkdir(parents=True)
    assert [each.name for each in down.strays(lab)] == ["saltern-lab.old1"]


def test_only_what_a_lab_was_started_with_is_a_process_of_it(lab: Lab) -> None:
    node = lab.nodes[0]
    mine = [
        nodes.command(lab, node),
        ["python", "-m", "lab.proxy", str(outside.config_file(lab))],
        ["python", "-m", "lab.tagger", str(fabric.NAMESPACES / lab.fabric), "r200"],
    ]
    others = [
        ["saltern", "lab", "down", "--site", f"{lab.state}/site.yaml"],
        ["tail", "-f", f"{lab.place(node)}/{node.id}.log"],
        ["systemd-nspawn", f"--directory={lab.state}2/nodes/ctl1/root"],
    ]
    assert [down.ours(lab, words) for words in (*mine, *others)] == [True] * 3 + [False] * 3


def test_a_disk_whose_base_is_gone_is_not_written_again(lab: Lab, tmp_path: Path) -> None:
    base, node = tmp_path / "base-1", lab.nodes[0]
    base.mkdir()
    nodes.prepare(lab, node, base, {"etc/hostname": "one"})
    assert nodes.prepared(lab, node)
    base.rmdir()
    assert not nodes.prepared(lab, node)
    with pytest.raises(LabError, match=rf"{node.id}: the base image .*base-1.*down --purge"):
        nodes.prepare(lab, node, tmp_path, {"etc/hostname": "two"})
    assert (lab.place(node) / "upper/etc/hostname").read_text() == "one"


def test_settings_that_a_kernel_without_ipv6_lacks_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "net/ipv4").mkdir(parents=True)
    (tmp_path / "net/ipv4/ip_forward").touch()
    assert fabric.settings(tmp_path) == ["net.ipv4.ip_forward=0"]


def test_a_new_hosts_key_reaches_the_master_and_nothing_else_does(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    written: dict[str, str] = {}
    pairs = {name: (f"{name} private", f"{name} public") for name in (".master", *(node.id for node in lab.nodes))}
    there = {f"/{saltconf.ACCEPTED}/{node.id}" for node in lab.nodes[:-1]}
    monkeypatch.setattr(saltconf, "keys", lambda lab: pairs)
    monkeypatch.setattr(nodes, "leader", lambda lab, node: 7)
    monkeypatch.setattr(nodes, "call", lambda lab, node, *words: words)
    monkeypatch.setattr(Path, "exists", lambda path: str(path).removeprefix("/proc/7/root") in there)
    monkeypatch.setattr(master, "install", lambda lab, node, path, text, mode: written.update({path: text}))
    master.accept(lab)
    assert written == {"/etc/salt/pki/master/minions/cmp2": "cmp2 public"}


def test_the_builder_of_an_image_holds_the_lock_on_its_own(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed run leaves it at work: the next one is to wait for it."""
    builders = []

    def start(argv: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        wait = [sys.executable, "-c", "input()"]
        builders.append(subprocess.Popen(wait, stdin=subprocess.PIPE, pass_fds=options["pass_fds"]))  # type: ignore[arg-type]
        return subprocess.CompletedProcess(argv, 0)

    with monkeypatch.context() as patch:
        patch.setattr(image.subprocess, "run", start)
        image.ensure(ENTRIES)
    with (layout.CACHE / ".lock").open() as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        builders[0].communicate(b"\n", timeout=20)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
