"""The command line's verbs about the site file, run as an operator runs them."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from saltern import secrets, site

from frontdoor import site_template, site_verbs
from tests.unit.site_samples import full


def run(*words: str) -> int:
    parser = ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, (text, arguments, action) in site_verbs.VERBS.items():
        verb = verbs.add_parser(name, help=text)
        arguments(verb)
        verb.set_defaults(run=action)
    args = parser.parse_args(words)
    code: int = args.run(args)
    return code


@pytest.fixture(autouse=True)
def not_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())


def written(path: Path, data: Any = None) -> str:
    path.write_text(yaml.safe_dump(data or full(), sort_keys=False))
    return str(path)


def test_validate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("validate", written(tmp_path / "site.yaml")) == 0
    assert "4 hosts" in capsys.readouterr().out
    assert run("validate", "lab") == 0
    assert "site lab is valid" in capsys.readouterr().out
    assert run("validate", str(tmp_path / "none.yaml")) == 1
    assert "No such file" in capsys.readouterr().err


def test_validate_says_everything_that_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "site.yaml", full() | {"release": "x", "source": "y"})
    (tmp_path / "secrets.yaml").write_text("a: hunter2hunter2\n")
    (tmp_path / "secrets.yaml").chmod(0o644)
    assert run("validate", file) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["release", "source", str(tmp_path / "secrets.yaml")]


def test_explain_and_plan_of_a_site_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", "cmp1", "nova", "libvirt.virt_type", "--site", "lab") == 0
    assert "qemu   <- wins" in capsys.readouterr().out
    assert run("plan", "--site", "lab", "--host", "cmp1", "--host", "cmp2") == 0
    out = capsys.readouterr().out
    assert ("# host cmp1\n" in out, "# host ctl1\n" in out, "==> /etc/nova/nova.conf <==" in out) == (True, False, True)
    assert run("plan", "--site", "lab", "--host", "cmp9") == 1
    assert "did you mean" in capsys.readouterr().err


def test_without_a_site_file_the_labs_is_shown_but_never_called_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(site_verbs, "OWN_SITE", tmp_path / "site.yaml")
    assert run("plan", "--host", "cmp1") == 0
    shown = capsys.readouterr()
    assert "==> /etc/nova/nova.conf <==" in shown.out
    assert "not there yet (`./saltern init` writes it); this is the site lab" in shown.err
    assert run("explain", "cmp1", "nova", "DEFAULT.my_ip") == 0
    assert "this is the site lab" in capsys.readouterr().err
    assert run("validate") == 1
    assert "`./saltern init` writes it; or name a site" in capsys.readouterr().err
    written(tmp_path / "site.yaml")
    assert run("plan", "--host", "cmp1") == 0
    assert capsys.readouterr().err == ""


def test_the_reader_may_go_away() -> None:
    code = "import sys; from frontdoor import site_verbs; sys.exit(site_verbs.answer(lambda: 'x\\n' * 200000))"
    path = {"PYTHONPATH": f"{site_verbs.REPOSITORY}:{site_verbs.REPOSITORY}/modules/_utils"}
    with subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, env=path) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)


def test_diff_runs_the_masters_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(site_verbs, "SALT_RUN", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run("plan", "--diff") == 1
    assert "no salt-run here" in capfd.readouterr().err
    (tmp_path / "salt-run").write_text('#!/bin/sh\necho "$@"\nexit 3\n')
    (tmp_path / "salt-run").chmod(0o755)
    assert run("plan", "--diff", "--host", "a", "--host", "b") == 3
    assert capfd.readouterr().out == "saltern.plan hosts=a,b\n"
    assert run("plan", "--diff", "--site", "lab") == 1
    assert "--site or --secrets" in capfd.readouterr().err


def test_init_makes_a_valid_site_with_all_its_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "site.yaml"
    assert run("init", "--site", str(file), "--computes", "3", "--gateway", "10.20.0.1", "--vlans", "300-310,7") == 0
    model = site.load(file)
    assert [host.id for host in model.having("compute")] == ["cmp1", "cmp2", "cmp3"]
    assert (model.management.gateway, model.trunk.vlans) == ("10.20.0.1", ((300, 310), (7, 7)))
    assert model.hosts["cmp1"].tunnel_address == "10.30.0.21"
    before = secrets.read(tmp_path / "secrets.yaml")
    text = file.read_text()
    assert run("init", "--site", str(file)) == 0
    assert "kept as it is" in capsys.readouterr().out
    assert (file.read_text(), secrets.read(tmp_path / "secrets.yaml")) == (text, before)
    assert run("validate", str(file)) == 0


def test_init_with_hosts_of_ones_own(tmp_path: Path) -> None:
    file, kept = tmp_path / "s.yaml", tmp_path / "kept.yaml"
    words = ["--no-tunnel", "--trunk-device", "en2", "--name", "1e3", "--controller", "a=10.20.0.9"]
    assert run("init", "--site", str(file), "--secrets", str(kept), *words, "--compute", "a=10.20.0.9") == 0
    model = site.load(file)
    assert (model.name, model.tunnel, list(model.hosts)) == ("1e3", None, ["a"])
    assert (model.hosts["a"].roles, model.hosts["a"].device("trunk")) == (("controller", "compute"), "en2")
    assert secrets.read(kept)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--management", "10.20.0.5/24"], "10.20.0.0/24"),
        (["--management", "nonsense"], "an IPv4 network"),
        (["--management", "255.255.255.240/28"], "an IPv4 address"),
        (["--domain", "a: {b"], "domain"),
        (["--controller", "ctl1"], "hosts:ctl1:address"),
        (["--name", "x\ny"], "name"),
        (["--vlans", "9-5"], "5-9"),
    ],
)
def test_init_writes_nothing_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert run("init", "--site", str(tmp_path / "s.yaml"), *words) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", [["validate"], ["init", "--site"], ["plan", "--site"]])
def test_paths_that_cannot_even_be_looked_at(capsys: pytest.CaptureFixture[str], verb: list[str]) -> None:
    assert run(*verb, f"/{'x' * 300}/site.yaml") == 1
    assert "File name too long" in capsys.readouterr().err


def test_init_makes_the_directories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, kept = tmp_path / "etc" / "saltern" / "site.yaml", tmp_path / "root" / "secrets.yaml"
    before = os.umask(0o077)
    try:
        assert run("init", "--site", str(file), "--secrets", str(kept)) == 0
    finally:
        os.umask(before)
    found = [stat.S_IMODE(each.stat().st_mode) for each in (file.parent.parent, file.parent, file, kept.parent, kept)]
    assert found == [0o755, 0o755, 0o644, 0o755, 0o600]
    assert run("validate", str(file), "--secrets", str(kept)) == 0


def test_init_leaves_a_directory_that_is_there_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(0o700)
    assert run("init", "--site", str(tmp_path / "mine" / "site.yaml")) == 0
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("below", "accepted"), [("s.yaml", "a file that can be written"), ("etc/s.yaml", "a directory that can be made")]
)
def test_init_where_nothing_can_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], below: str, accepted: str
) -> None:
    # not even root can: what is above it is no directory
    (tmp_path / "file").touch()
    assert run("init", "--site", str(tmp_path / "file" / below)) == 1
    said = capsys.readouterr().err
    assert said == f"{tmp_path / 'file' / below.split('/')[0]}: 'Not a directory': {accepted}\n"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


class Terminal:
    """A terminal at which somebody types."""

    def __init__(self, *lines: str) -> None:
        self.lines = [*lines]

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return f"{self.lines.pop(0)}\n" if self.lines else ""


def test_init_asks_at_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("mine", "", "10.9.0.0/24"))
    assert run("init", "--site", str(tmp_path / "s.yaml")) == 0
    model = site.load(tmp_path / "s.yaml")
    assert (model.name, model.domain, model.management.cidr) == ("mine", "cloud.example", "10.9.0.0/24")
    assert len(model.having("compute")) == 2


def test_sites_without_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert site_verbs.find_site(None) == site_verbs.OWN_SITE
    monkeypatch.chdir(tmp_path)
    assert site_verbs.find_site("lab.yaml") == Path("lab.yaml")


def test_words_are_read_back_as_they_are() -> None:
    for word in ("a", "1", "1e3", "yes", "null", "10.0.0.1", "10.0.0.0/8", "a: b", "", "#", "0x1", "100-199", "12:30"):
        assert yaml.safe_load(f"[{site_template._word(word)}]") == [word]
