"""Profiles, layouts and templates: what is wrong in them, and the rules that templates keep."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from saltern import profiles
from saltern.errors import Problems

from tests.unit.boot_samples import KICKSTART, LAYOUTS, PROFILES

TEMPLATES = sorted((KICKSTART / "templates").iterdir())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(KICKSTART, tmp_path / "kickstart")
    return tmp_path / "kickstart"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_what_is_shipped() -> None:
    found = profiles.load(KICKSTART).profiles
    assert tuple(found) == PROFILES
    for profile in found.values():
        assert profile.layouts == LAYOUTS
        assert all(profile.minimum(layout) == profile.disks[layout].minimum for layout in LAYOUTS)
        assert (KICKSTART / "templates" / profile.answers).exists()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("profiles/debian-13.yaml", "suite:", "siute:", "siute: 'siute': unknown; did you mean 'suite'"),
        ("profiles/debian-13.yaml", "suite: trixie", "", "debian-13.yaml:suite: None: this key is required"),
        ("profiles/debian-13.yaml", "mirror: debian", "mirror: suse", "accepted: debian, fedora"),
        ("profiles/debian-13.yaml", "family: debian", "family: suse", "accepted: debian, fedora"),
        ("profiles/debian-13.yaml", "family: debian", "family: 7", "in quotes"),
        ("profiles/debian-13.yaml", "kernel: debian", "kernel: ../debian", "a path below the tree"),
        ("profiles/debian-13.yaml", "plain, lvm", "plane, lvm", "did you mean 'plain'"),
        ("profiles/debian-13.yaml", "layouts: [plain, lvm, raid1]", "layouts: []", "one or more of plain, lvm, raid1"),
        ("layouts/debian.yaml", "minimum: 10240", "minimum: small", "plain:minimum: 'small': an integer"),
        ("layouts/debian.yaml", "raid1:", "raid6:", "did you mean 'raid1'"),
        ("layouts/debian.yaml", "plain:", "plain: [", "debian.yaml:"),
    ],
)
def test_mistakes(copy: Path, file: str, old: str, new: str, message: str) -> None:
    change(copy / file, old, new)
    with pytest.raises(Problems, match=re.escape(message)):
        profiles.load(copy)


def test_a_layout_that_is_not_there_is_not_offered(copy: Path) -> None:
    text = (copy / "layouts/debian.yaml").read_text()
    (copy / "layouts/debian.yaml").write_text(text[: text.index("# Each disk")])
    with pytest.raises(Problems, match=r"debian-13\.yaml:layouts: 'raid1': unknown; accepted: lvm, plain"):
        profiles.load(copy)


def test_no_directory_no_profiles(tmp_path: Path) -> None:
    assert profiles.load(tmp_path / "none").profiles == {}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_decide_nothing(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) <= 60
    words = re.compile(r"^\s*(if|elif|else|for|case|iseq|isset|menu)\b|\{%|\{\{")
    assert [line for line in lines if words.search(line)] == []


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("a @{word} b", ["a w b"]),
        ("@{word}", ["w"]),
        ("@{list}", ["1", "2"]),
        ("@{none}", []),
        ("$word ${word} \\ @@core", ["$word ${word} \\ @core"]),
    ],
)
def test_lines(line: str, lines: list[str]) -> None:
    assert list(profiles.fill(line, {"word": "w", "list": ["1", "2"], "none": []})) == lines


@pytest.mark.parametrize("line", ["@{unknown}", "a @{unknown}", "@word", "a@"])
def test_a_placeholder_that_means_nothing_is_never_passed_on(line: str) -> None:
    with pytest.raises(Problems, match="with one of word"):
        list(profiles.fill(line, {"word": "w"}))
