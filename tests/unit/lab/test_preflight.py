"""What a machine must have: all that is missing at once, in words."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from lab import layout, preflight, sites
from lab.command import LabError
from lab.preflight import GIB, Facts

GOOD = Facts(root=True, apt=True, namespaces=True, overlay=True, tun=True, memory=16 * GIB, disk=40 * GIB)


def test_a_good_machine_lacks_nothing() -> None:
    assert preflight.missing(GOOD, 8 * GIB) == []


@pytest.mark.parametrize("lacking", ["root", "apt", "namespaces", "overlay", "tun"])
def test_each_lack_is_one_sentence(lacking: str) -> None:
    assert len(preflight.missing(replace(GOOD, **{lacking: False}), 8 * GIB)) == 1


def test_everything_is_said_at_once_with_figures() -> None:
    bad = Facts(False, False, False, False, False, memory=GIB, disk=3 * GIB)
    sentences = preflight.missing(bad, 8 * GIB)
    assert len(sentences) == 7
    assert "memory: 1.0 GiB available, 8.0 GiB needed" in sentences
    assert sentences[-1].startswith("disk: 3.0 GiB free")
    assert sentences[-1].endswith("12 GiB needed")


@pytest.mark.parametrize(
    ("running", "prepared", "fits"), [(False, False, False), (False, True, True), (True, True, True)]
)
def test_a_lab_that_is_stopped_has_its_disks(
    running: bool, prepared: bool, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "gather", lambda: replace(GOOD, disk=2 * GIB))
    outcome = nullcontext() if fits else pytest.raises(LabError, match=r"disk: 2.0 GiB free .* 12 GiB needed")
    with outcome:
        preflight.check(sites.load("lab"), running, prepared)


def test_the_need_for_memory_follows_the_roles() -> None:
    lab, one = (preflight.needed_memory(sites.load(name)) for name in ("lab", "allinone"))
    assert sum(preflight.BESIDE.values()) * GIB < one < lab < 10 * GIB


def test_the_readme_says_what_is_asked_for() -> None:
    text = " ".join((layout.REPOSITORY / "README.md").read_text().split())
    lab, one = (sites.load(name) for name in ("lab", "allinone"))
    third = replace(lab.site.hosts["cmp2"], id="cmp3")
    larger = replace(lab, site=replace(lab.site, hosts={**lab.site.hosts, "cmp3": third}))
    beside = preflight.needed_memory(lab) - sum(preflight.BESIDE.values()) * GIB + preflight.needed_memory(larger)
    for said, size in (
        ("needs {:.1f} GiB of available memory and", preflight.needed_memory(lab)),
        ("GiB of available memory and {:.0f} GiB of disk", preflight.DISK),
        ("one host with every role; needs {:.1f} GiB", preflight.needed_memory(one)),
        ("a third compute host), and needs {:.1f} GiB of memory in all", beside),
    ):
        assert said.format(size / GIB) in text


def test_available_memory_is_read_in_bytes() -> None:
    assert preflight.available("MemTotal: 10 kB\nMemAvailable:    2048 kB\n") == 2048 * 1024


def test_packages_of_missing_programs_are_named_once() -> None:
    programs = {"ip": "iproute2", "ss": "iproute2", "debootstrap": "debootstrap", "sh": "dash"}
    assert list(preflight.packages(lambda name: name == "sh", programs)) == ["debootstrap", "iproute2"]


def test_the_trial_of_an_overlay_leaves_nothing_behind(tmp_path: Path) -> None:
    preflight.overlay(tmp_path / "not" / "there")
    assert list(tmp_path.iterdir()) == []
