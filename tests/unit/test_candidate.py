"""A candidate and the program that is to read it: small checkers here, the real ones in test_checkers."""

import grp
import os
import pwd
import runpy
import stat
import sys
import time
from pathlib import Path

import pytest
from saltern import candidate, commands
from saltern.errors import SalternError
from saltern.managed_file import ManagedFile

from tests.sample import ROOT

USER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name
STRICT = """\
[ "$#" = 2 ] && [ "$1" = --check ] || exit 9
echo "$2" >>"$0.asked"
stat -c '%a' "$2" "$(dirname "$2")" >"$0.modes"
grep -q '^limit = [0-9]*$' "$2" && exit 0
echo noise
echo "$2: line 3 is no good" >&2
exit 1
"""


@pytest.fixture
def checker(tmp_path):
    """A program that takes a file only when it has a limit, and notes what it was asked."""
    path = tmp_path / "checker"
    path.write_text(f"#!/bin/sh\n{STRICT}")
    path.chmod(0o755)
    return path


@pytest.fixture
def managed(tmp_path, checker):
    """The state function, for one file of a plan; returns what it answers."""

    def state(settings, test=False, secrets=None, context=None, **more):
        path = str(tmp_path / "etc" / "x.cnf")
        entry = {"kind": "ini", "settings": {"s": settings}, "user": USER, "group": GROUP, "mode": "0640"}
        entry |= {"validate": [str(checker), "--check", candidate.WORD], **more}
        services = {"x": {"tier": "service", "files": {path: entry}}}
        pillar = {"saltern": {"services": services, "secrets": secrets or {}}}
        injected = {"__pillar__": pillar, "__opts__": {"test": test}, "__context__": {} if context is None else context}
        return runpy.run_path(str(ROOT / "modules/_states/config_file.py"), injected)["managed"](path, "x")

    (tmp_path / "etc").mkdir()
    return state


def tree(directory: Path) -> dict[str, object]:
    """Return all that a directory holds, with what tells whether it was touched."""
    return {str(each): (each.stat().st_mtime_ns, each.read_bytes() if each.is_file() else "")
            for each in directory.rglob("*")}  # fmt: skip


def test_what_the_checker_takes_is_written(managed, tmp_path, checker):
    assert managed({"limit": 1})["result"] is True
    assert "limit = 1" in (tmp_path / "etc" / "x.cnf").read_text()
    assert os.listdir(tmp_path / "etc") == ["x.cnf"]
    asked = Path(f"{checker}.asked").read_text().splitlines()
    assert asked == [f"{tmp_path}/etc/.x.cnf.saltern-check/x.cnf"]
    assert Path(f"{checker}.modes").read_text().split() == ["600", "700"]


def test_what_it_refuses_replaces_nothing(managed, tmp_path):
    managed({"limit": 1})
    before = tree(tmp_path / "etc")
    answer = managed({"limti": 1})
    path = tmp_path / "etc" / "x.cnf"
    assert answer["result"] is False
    assert answer["changes"] == {}
    assert answer["comment"].splitlines() == [
        f"{path}: checker refuses it: exit status 1", f"{path}: line 3 is no good", "line 3: [s]"]  # fmt: skip
    assert tree(tmp_path / "etc") == before


def test_a_file_that_was_never_there_is_not_there_afterwards(managed, tmp_path):
    assert managed({"limti": 1})["result"] is False
    assert os.listdir(tmp_path / "etc") == []


def test_a_file_that_is_right_already_is_shown_to_nobody(managed, tmp_path, checker):
    managed({"limit": 1})
    asked = Path(f"{checker}.asked")
    asked.unlink()
    assert managed({"limit": 1})["comment"].endswith("is as planned")
    (tmp_path / "etc" / "x.cnf").chmod(0o600)
    assert managed({"limit": 1})["changes"] == {"(mode)": {"old": "0600", "new": "0640"}}
    assert not asked.exists()


def test_a_dry_run_asks_too_and_writes_nothing(managed, tmp_path):
    assert managed({"limti": 1}, test=True)["result"] is False
    answer = managed({"limit": 1}, test=True)
    assert answer["result"] is None
    assert answer["comment"].endswith("would be written")
    assert os.listdir(tmp_path / "etc") == []


def test_a_checker_that_is_not_installed_yet(managed, tmp_path):
    missing = ["/nonexistent/checker", "--check", candidate.WORD]
    dry = managed({"limit": 1}, test=True, validate=missing)
    assert dry["result"] is None
    assert "(not checked yet: /nonexistent/checker is not installed)" in dry["comment"]
    real = managed({"limit": 1}, validate=missing)
    assert real["result"] is False
    assert real["comment"].endswith("x.cnf: cannot be checked: /nonexistent/checker is not installed")
    assert os.listdir(tmp_path / "etc") == []


def test_a_dry_run_does_not_ask_about_what_needs_a_file_that_comes_before(managed, tmp_path, checker):
    certificate = tmp_path / "api.pem"
    context = {"saltern: foreseen": {str(certificate), "/nonexistent/of-no-interest"}}
    answer = managed({"crt": str(certificate)}, test=True, context=context)
    assert answer["result"] is None
    assert f"(not checked yet: {certificate} is not there yet)" in answer["comment"]
    assert not Path(f"{checker}.asked").exists()
    certificate.touch()  # an older one is: the checker can be asked
    assert managed({"crt": str(certificate)}, test=True, context=context)["result"] is False
    assert managed({"crt": str(certificate)}, test=True, context={}, validate=[])["result"] is None


def test_declared_options_come_first(managed, checker):
    answer = managed({"limit": 1}, check=["no.such"], python=sys.executable, kind="oslo")
    assert "cannot be checked: option namespaces that are not installed: no.such" in answer["comment"]
    assert not Path(f"{checker}.asked").exists()


def test_no_secret_is_told_nor_in_the_command(managed, checker):
    checker.write_text(
        '#!/bin/sh\necho "$@" >>"$0.argv"\ncat "$2" >&2\necho "stray hunter2%2F and line 4" >&2\nexit 1\n'
    )
    settings = {"password": "hunter2/", "url": "x://hunter2%2F@y", "key": "one"}
    answer = managed(settings, secrets={"db": "hunter2/", "pem": "hunter1\nhunter2"}, secret=["s.password"])
    assert "hunter" not in str(answer)
    assert "url = x://<secret>@y" in answer["comment"]
    assert "line 4: password = <secret>" in answer["comment"]
    assert "hunter" not in Path(f"{checker}.argv").read_text()


def test_what_it_says_is_bounded_and_the_rest_of_its_output_left_out(managed, checker):
    checker.write_text("#!/bin/sh\nseq 5000\nfor i in $(seq 100); do printf '%05000d\\n' $i >&2; done; exit 3\n")
    told = managed({"limit": 1})["comment"].splitlines()
    assert len(told) == 1 + commands.LINES
    assert max(map(len, told[1:])) == candidate.WIDTH


def test_a_line_that_does_not_exist_is_not_told(managed, checker):
    checker.write_text("#!/bin/sh\necho line 0, line 4 >&2; exit 1\n")
    assert managed({"limit": 1})["comment"].splitlines()[1:] == ["line 0, line 4"]


def test_a_checker_that_hangs_is_ended(managed, checker, monkeypatch, tmp_path):
    checker.write_text("#!/bin/sh\nsleep 600 & wait\n")
    monkeypatch.setattr(candidate, "TIMEOUT", 0.2)
    began = time.monotonic()
    answer = managed({"limit": 1})
    assert time.monotonic() - began < 10
    assert answer["result"] is False
    assert "checker refuses it: was killed after" in answer["comment"]
    assert os.listdir(tmp_path / "etc") == []


def test_what_a_killed_run_left_goes(managed, tmp_path):
    left = tmp_path / "etc" / ".x.cnf.saltern-check"
    left.mkdir(mode=0o700)
    (left / "x.cnf").write_text("half")
    assert managed({"limit": 1})["result"] is True
    assert os.listdir(tmp_path / "etc") == ["x.cnf"]


def test_a_directory_that_cannot_be_made_is_no_traceback(managed, tmp_path):
    (tmp_path / "etc" / ".x.cnf.saltern-check").write_text("in the way")
    answer = managed({"limit": 1})
    assert answer["result"] is False
    assert "saltern-check cannot be made, to check it there: File exists" in answer["comment"]


def test_a_directory_that_is_not_made_yet_is_not_made_for_the_check(tmp_path):
    with candidate.near(str(tmp_path / "not" / "yet" / "x.ini"), "text") as path:
        assert path == str(tmp_path / ".x.ini.saltern-check" / "x.ini")
        assert Path(path).read_text() == "text"
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives directories away")
def test_a_directory_of_a_services_user_is_not_used(tmp_path):
    home = tmp_path / "nova"
    home.mkdir()
    os.chown(home, 12345, 12345)
    with candidate.near(str(home / "config"), "text") as path:
        assert Path(path).parent.parent == tmp_path


def test_an_error_of_the_caller_leaves_nothing_behind(tmp_path):
    with pytest.raises(SalternError), candidate.near(str(tmp_path / "x"), "text"):
        raise SalternError("stop")
    assert os.listdir(tmp_path) == []


def test_a_file_without_a_checker_is_not_tried():
    assert ManagedFile.from_plan("/etc/x", {"settings": []}).tried({}) == ([], "")
