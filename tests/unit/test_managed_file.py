"""One configuration file: compared, checked, replaced."""

import grp
import os
import pwd
import stat
import sys

import pytest
from saltern.errors import Problems, SalternError
from saltern.managed_file import ManagedFile, check
from saltern.render import HEADER

USER, GROUP = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
SECRETS = {"db": "hunter2"}


def spec(**more):
    settings = {"DEFAULT": {"port": 1}, "database": {"connection": "x://hunter2"}}
    base = {"kind": "oslo", "settings": settings, "secret": ["database.connection"], "user": USER, "group": GROUP}
    return {**base, "mode": "0640", **more}


def test_a_new_file_is_written_with_its_directory_and_mode(tmp_path):
    path = tmp_path / "etc" / "x.conf"
    file = ManagedFile.from_plan(str(path), spec())
    assert file.changes(SECRETS) == {"file": {"old": None, "new": f"7 lines, {USER}:{GROUP} 0640"}}
    file.write()
    assert file.changes(SECRETS) == {}
    assert path.read_text() == HEADER + "\n[DEFAULT]\nport = 1\n\n[database]\nconnection = x://hunter2\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_changes_name_options_and_no_secret(tmp_path):
    path = tmp_path / "x.conf"
    ManagedFile.from_plan(str(path), spec()).write()
    settings = {"DEFAULT": {"port": 2}, "database": {"connection": "x://hunter3"}}
    found = ManagedFile.from_plan(str(path), spec(settings=settings)).changes(SECRETS)
    assert found == {
        "DEFAULT.port": {"old": "1", "new": "2"},
        "database.connection": {"old": "<secret>", "new": "<secret>"},
    }


def test_a_file_of_a_package_is_taken_over_in_one_line(tmp_path):
    path = tmp_path / "x.conf"
    path.write_text("[DEFAULT]\n" + "".join(f"a{number} = 1\n" for number in range(100)))
    assert ManagedFile.from_plan(str(path), spec()).changes(SECRETS)["file"]["old"] == "not managed"


def test_owner_and_mode_alone_do_not_touch_the_content(tmp_path):
    path = tmp_path / "x.conf"
    file = ManagedFile.from_plan(str(path), spec())
    assert file.restarts_readers()
    file.write()
    path.chmod(0o666)
    before = path.stat()
    assert file.changes(SECRETS) == {"(mode)": {"old": "0666", "new": "0640"}}
    assert not file.restarts_readers()
    file.write()
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert file.changes(SECRETS) == {}


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_an_unknown_owner_is_told_by_number(tmp_path):
    path = tmp_path / "x.conf"
    file = ManagedFile.from_plan(str(path), spec())
    file.write()
    os.chown(path, 54321, 54322)
    assert file.changes(SECRETS) == {"(user)": {"old": "54321", "new": USER}, "(group)": {"old": "54322", "new": GROUP}}


def test_a_link_is_replaced_not_followed(tmp_path):
    (tmp_path / "other").write_text("other")
    (tmp_path / "x.conf").symlink_to(tmp_path / "other")
    file = ManagedFile.from_plan(str(tmp_path / "x.conf"), spec())
    assert "file" in file.changes(SECRETS)
    file.write()
    assert (tmp_path / "other").read_text() == "other"


@pytest.mark.parametrize("mode", ["rw", "0888", "u+x"])
def test_a_bad_mode_is_refused(mode):
    with pytest.raises(Problems, match="octal"):
        ManagedFile.from_plan("/x", spec(mode=mode))


def test_an_owner_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(SalternError, match="is its package installed"):
        ManagedFile.from_plan(str(tmp_path / "x"), spec(user="nobody-at-all")).write()
    assert not (tmp_path / "x").exists()


class TestCheck:
    def file(self, **more):
        return ManagedFile.from_plan("/etc/x.conf", spec(python=sys.executable, **more))

    def found(self, file):
        return check([file])["/etc/x.conf"]

    def test_without_namespaces_nothing_is_asked(self):
        assert check([self.file()]) == {}

    def test_what_the_programs_refuse_is_told_and_no_secret(self):
        settings = {"oslo_config": {"x": 1}, "DEFAULT": {"config_source": ["a"], "config_sorce": 1}}
        refused, unchecked = self.found(self.file(settings=settings, check=["oslo.config"]))
        assert unchecked == ""
        assert "/etc/x.conf: oslo_config: no such section" in refused
        assert "/etc/x.conf: DEFAULT.config_sorce: no such option; did you mean 'config_source'?" in refused

    def test_a_value_that_our_data_calls_secret_is_not_told(self):
        file = self.file(secret=["a.b"])
        assert file._reason("a.b", "'hunter2': bad") == "<secret>: not a value that is accepted"
        assert file._reason("a.b", "no such option") == "no such option"
        assert file._reason("a.c", "'x': bad") == "'x': bad"

    def test_what_is_not_installed_is_told(self):
        missing = ([], "option namespaces that are not installed: nova.conf")
        assert self.found(self.file(check=["nova.conf"])) == missing
        file = ManagedFile.from_plan("/etc/x.conf", spec(python="/nonexistent/python3", check=["nova.conf"]))
        assert self.found(file) == ([], "/nonexistent/python3: the check did not answer (FileNotFoundError)")

    def test_each_interpreter_is_asked_once(self, tmp_path):
        asked = tmp_path / "asked"
        script = tmp_path / "python"
        script.write_text(f'#!/bin/sh\necho >>{asked}; exec {sys.executable} "$@"\n')
        script.chmod(0o755)
        given = {"a": ["oslo.config"], "b": ["nowhere"], "c": ["oslo.config"]}
        files = [ManagedFile.from_plan(name, spec(python=str(script), check=each)) for name, each in given.items()]
        other = ManagedFile.from_plan("d", spec(python="/nonexistent/python3", check=["oslo.config"]))
        found = check([*files, other, self.file()])
        assert list(found) == ["a", "b", "c", "d"]
        assert found["b"] == ([], "option namespaces that are not installed: nowhere")
        assert "c: database: no such section" in found["c"][0]
        assert "did not answer" in found["d"][1]
        assert len(asked.read_text().splitlines()) == 1

    @pytest.mark.parametrize("answer", ["[]", "{}", "[1]", "7"])
    def test_an_answer_that_is_none(self, tmp_path, answer):
        script = tmp_path / "python"
        script.write_text(f"#!/bin/sh\ncat >/dev/null; echo '{answer}'\n")
        script.chmod(0o755)
        file = ManagedFile.from_plan("/etc/x.conf", spec(python=str(script), check=["x"]))
        assert self.found(file) == ([], f"{script}: the check answered nonsense")
