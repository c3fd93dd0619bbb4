"""Small pure pieces of the lab: names, tags, settings of pip, the driver's words."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lab import disk, image, recipe, saltconf, sites, status, tagger
from lab.command import LabError
from lab.layout import REPOSITORY, Lab
from lab.mirror import Entry
from lab.units import Unit, wait

FRAME = bytes.fromhex("ffffffffffff 020000000001 0806") + b"payload of the frame"


def test_a_tag_goes_on_and_comes_off() -> None:
    tagged = tagger.tagged(FRAME, 200)
    assert tagged[:12] == FRAME[:12]
    assert tagged[12:16] == bytes.fromhex("8100 00c8")
    assert tagger.untagged(tagged, 200) == FRAME


@pytest.mark.parametrize("frame", [FRAME, tagger.tagged(FRAME, 201), b"", FRAME[:12]])
def test_frames_of_other_networks_stay_outside(frame: bytes) -> None:
    assert tagger.untagged(frame, 200) is None


def test_the_priority_in_a_tag_does_not_matter() -> None:
    tagged = FRAME[:12] + bytes.fromhex("8100 e0c8") + FRAME[12:]
    assert tagger.untagged(tagged, 200) == FRAME


def test_settings_of_pip_come_from_files_and_the_environment_wins() -> None:
    listing = ":env:.cert='/env.crt'\nglobal.cert='/file.crt'\nglobal.index-url='https://i.example/simple'\n"
    settings = image.pip_settings(listing, {"PIP_CERT": "/env.crt", "HOME": "/root"})
    assert settings == {"PIP_CERT": "/env.crt", "PIP_INDEX_URL": "https://i.example/simple"}


def test_paths_that_pip_speaks_of_are_found(tmp_path: Path) -> None:
    (tmp_path / "index" / "simple").mkdir(parents=True)
    (tmp_path / "wheels").mkdir()
    settings = {
        "PIP_EXTRA_INDEX_URL": f"file://{tmp_path}/index/simple https://i.example/simple",
        "PIP_FIND_LINKS": f"{tmp_path}/wheels {tmp_path}/gone",
        "PIP_DEFAULT_TIMEOUT": "180",
    }
    assert image.mentioned(settings) == {tmp_path / "index", tmp_path / "wheels"}


def test_another_mirror_or_recipe_is_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = Entry("http://a.example/debian", "trixie"), Entry("http://b.example/debian", "trixie")
    names = {image.key([one]), image.key([two])}
    monkeypatch.setattr("lab.recipe.IMAGE", ("other",))
    names.add(image.key([one]))
    assert len(names) == 3


def test_what_is_not_pinned_is_seen(tmp_path: Path) -> None:
    for name in ("salt-3008.3", "More_Itertools-11.2.1", "new_one-1.0"):
        (tmp_path / f"{name}-py3-none-any.whl").touch()
    assert image.unpinned(tmp_path, ["salt==3008.4", "more-itertools==11.2.1"]) == ["new_one==1.0", "salt==3008.3"]


def test_the_image_is_made_from_what_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(image, "run", lambda *words, **options: subprocess.CompletedProcess(words, 0, ""))
    monkeypatch.setattr(image, "inside", lambda root, *words, **options: calls.append(words))
    monkeypatch.setattr(image, "bind", lambda source, root, target=None: None)
    monkeypatch.setattr(image, "apt", lambda root, *words: None)
    monkeypatch.setattr("lab.layout.CACHE", tmp_path)

    def built(root: Path, wheels: Path) -> None:
        assert (wheels / "constraints.txt").read_text().splitlines() == list(recipe.CONSTRAINTS)
        (wheels / "stranger-1.0-py3-none-any.whl").touch()

    with monkeypatch.context() as patch:
        patch.setattr(image, "build_wheels", built)
        with pytest.raises(LabError, match=r"salt-constraints.txt: not pinned: stranger==1.0"):
            image.salt(tmp_path / "base.part")
        patch.setattr(image, "build_wheels", lambda root, wheels: None)
        image.salt(tmp_path / "base.part")
    image.build_wheels(tmp_path / "base.part", tmp_path / "wheels")
    asked = [words for words in calls if words[0].endswith("/pip")]
    assert [words[1] for words in asked] == ["install", "wheel"]
    for words in asked:
        assert words[-len(recipe.LIBRARIES) - 1 :] == ("--constraint=/mnt/constraints.txt", *recipe.LIBRARIES)


def test_the_proxys_address_is_no_hosts() -> None:
    lab = sites.load("lab")
    assert lab.proxy_address == "10.20.0.254"
    assert lab.proxy_address not in {node.host.address for node in lab.nodes}


def test_cables_have_short_distinct_names() -> None:
    names = [cable for node in sites.load("lab").nodes for cable in node.cables.values()]
    assert len(set(names)) == len(names) == 8
    assert max(map(len, names)) <= 15


def test_a_site_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(LabError, match=r"'labb'.*allinone, lab"):
        sites.load("labb")


def test_a_lab_needs_a_host_for_the_master(tmp_path: Path) -> None:
    data = yaml.safe_load(sites.find("lab").read_text())
    del data["hosts"]["deploy"]
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(LabError, match="none with the role 'deploy'"):
        sites.load(str(path))


def test_the_master_accepts_nobody_by_itself() -> None:
    lab = sites.load("lab")
    settings = saltconf.master(lab)
    assert settings["auto_accept"] is False
    assert "open_mode" not in settings
    assert settings["interface"] == "10.20.0.5"


def test_the_master_keeps_no_copy_of_the_pillar() -> None:
    guide = (REPOSITORY / "docs/operators-guide.md").read_text()
    assert saltconf.master(sites.load("lab"))["minion_data_cache"] is False
    assert "\nminion_data_cache: false" in guide


@pytest.fixture(scope="module")
def with_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with a state of its own; making its keys takes seconds."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl; `lab up` installs it")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lab.layout.STATE", tmp_path_factory.mktemp("state"))
        yield sites.load("lab")


def test_keys_are_made_once_and_pinned_on_both_sides(with_keys: Lab) -> None:
    lab = with_keys
    deploy, cmp1 = (disk.files(lab, node, ()) for node in (lab.nodes[0], lab.nodes[2]))
    assert cmp1["etc/salt/pki/minion/minion.pub"] == deploy["etc/salt/pki/master/minions/cmp1"]
    assert cmp1["etc/salt/pki/minion/minion_master.pub"] == deploy["etc/salt/pki/master/master.pub"]
    assert "PRIVATE" in cmp1["etc/salt/pki/minion/minion.pem"]
    private = [path for path, text in {**deploy, **cmp1}.items() if "PRIVATE" in text]
    assert sorted(private) == ["etc/salt/pki/master/master.pem", "etc/salt/pki/minion/minion.pem"]
    assert saltconf.keys(lab)["cmp1"][1] == cmp1["etc/salt/pki/minion/minion.pub"]


def test_no_node_has_a_route_out() -> None:
    lab = sites.load("lab")
    for node in lab.nodes:
        text = "".join(disk.network(lab, node).values())
        assert f"Address={node.host.address}/24" in text
        assert "Gateway" not in text
        assert "Route" not in text


def test_libvirt_guests_is_masked_on_compute_hosts_only(with_keys: Lab) -> None:
    lab = with_keys
    unit = "etc/systemd/system/libvirt-guests.service"
    assert [unit in disk.files(lab, node, ()) for node in lab.nodes] == [False, False, True, True]


def test_a_process_that_is_gone_has_no_id(tmp_path: Path) -> None:
    unit = Unit("saltern-none.proxy", tmp_path)
    assert unit.pid is None
    unit.pidfile.write_text("1 0 another-boot")
    assert unit.pid is None
    unit.pidfile.write_text("half")
    assert unit.pid is None


def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(LabError, match="in vain for the moon"):
        wait(lambda: False, 0.1, "the moon")


def test_status_lines_name_what_failed() -> None:
    row = {"node": "ctl1", "address": "10.0.0.1", "roles": ("controller",), "pid": 7, "memory": 3 << 20}
    data = {
        "site": "lab",
        "network": True,
        "proxy": None,
        "memory": 3 << 20,
        "nodes": [{**row, "failed": ("x.service",)}],
    }
    text = "\n".join(status.lines(data))
    assert "network up, proxy down" in text
    assert "failed: x.service" in text
    assert "3 MiB" in text
