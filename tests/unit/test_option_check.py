"""Option names, types and choices, checked against real declarations of oslo.config and keystoneauth."""

import io
import json
import os
import subprocess
import sys
import textwrap

import pytest
from saltern import option_check
from stevedore import _cache, extension

DECLARATIONS = """
from oslo_config import cfg
from keystoneauth1 import loading
common = [
    cfg.IntOpt("port", min=1, max=65535, deprecated_name="old-port", deprecated_group="former"),
    cfg.BoolOpt("enabled", deprecated_opts=[cfg.DeprecatedOpt(None, group="former")]),
    cfg.StrOpt("driver", choices=["kvm", "qemu"]),
    cfg.StrOpt("token", secret=True, choices=["a"]),
    cfg.MultiOpt("many", item_type=cfg.types.Integer()),
    cfg.FloatOpt("my-ratio"),
    cfg.StrOpt("enabled_backends"),
]
def options():
    print("noise on standard output")
    auth = loading.get_auth_common_conf_options()
    return [(None, common), (cfg.OptGroup("auth"), auth), ("authtoken", auth), ("glance_store", [cfg.IntOpt("chunk")])]
def broken():
    raise RuntimeError("hunter2")
"""
TEXT = """
[DEFAULT]
port = 80
port = 8080
old = $port
driver = kvm
[former]
old_port = 99999
enabled = maybe
enabld = true
[auht]
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution that declares options, as OpenStack's packages do."""
    (tmp_path / "demo_options.py").write_text(DECLARATIONS)
    info = tmp_path / "demo-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: demo\nVersion: 1\n")
    points = "[oslo.config.opts]\ndemo = demo_options:options\nbroken = demo_options:broken\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    # stevedore keeps what it found for the life of a process
    monkeypatch.setattr(_cache, "_c", _cache.Cache())
    monkeypatch.setattr(extension.ExtensionManager, "ENTRY_POINT_CACHE", {})
    return tmp_path


def check(text, namespaces=("demo",)):
    return dict(option_check.check(textwrap.dedent(text), namespaces))


@pytest.mark.usefixtures("installed")
class TestCheck:
    def test_a_correct_text_has_no_problem(self):
        text = """
        [DEFAULT]
        port = 80
        my_ratio = 1.5
        driver = qemu
        many = 1
        many = 2
        enabled_backends = fast:file, slow
        [fast]
        chunk = 1
        [slow]
        chunk = 2
        [os_glance_tasks_store]
        chunk = 3
        [authtoken]
        auth_section = auth
        [auth]
        auth_type = password
        user_domain_name = Default
        password = x
        [oslo_limit]
        auth_type = password
        username = x
        cafile = /x
        region_name = R
        """
        assert check(text) == {}

    def test_names_values_and_choices_are_all_told(self):
        found = check(TEXT)
        assert found["DEFAULT.old"].startswith("no such option")
        assert "99999" in found["former.old_port"]
        assert "Unexpected boolean" in found["former.enabled"]
        assert found["former.enabld"] == "no such option; did you mean 'enabled'?"
        assert found["auht"] == "no such section; did you mean 'auth'?"
        assert set(found) == {"DEFAULT.old", "former.old_port", "former.enabled", "former.enabld", "auht"}

    def test_only_the_last_value_counts_except_for_multi(self):
        assert check("[DEFAULT]\nport = x\nport = 80\n") == {}
        assert "DEFAULT.many" in check("[DEFAULT]\nmany = x\nmany = 1\n")

    def test_a_reference_is_left_to_the_program_and_a_doubled_dollar_is_one(self):
        assert check("[DEFAULT]\nport = $enabled\n") == {}
        assert "'$x'" in check("[DEFAULT]\ndriver = $$x\n")["DEFAULT.driver"]

    def test_the_value_of_a_secret_option_is_not_told(self):
        assert "hunter2" not in check("[DEFAULT]\ntoken = hunter2\n")["DEFAULT.token"]

    def test_an_unknown_plugin_leaves_its_options_unknown(self):
        found = check("[auth]\nauth_type = pasword\nusername = x\n")
        assert list(found) == ["auth.username"]

    def test_options_before_the_first_section_belong_to_default(self):
        assert "DEFAULT.prot" in check("prot = 1\n")

    def test_answers(self):
        assert option_check.answer({"text": "", "namespaces": ["demo"]}) == {"problems": []}
        assert option_check.answer({"text": "", "namespaces": ["demo", "nowhere"]}) == {"missing": ["nowhere"]}
        error = option_check.answer({"text": "", "namespaces": ["broken"]})["error"]
        assert "RuntimeError" in error
        assert "hunter2" not in error

    def test_main_keeps_standard_output_for_the_answer(self, monkeypatch, capsys):
        given = [{"text": "[DEFAULT]\nprot = 1\n", "namespaces": ["demo"]}, {"text": "", "namespaces": ["nowhere"]}]
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(given)))
        monkeypatch.setattr("logging.disable", lambda level: None)
        assert option_check.main() == 0
        first, second = json.loads(capsys.readouterr().out)
        assert first == {"problems": [["DEFAULT.prot", "no such option; did you mean 'port'?"]]}
        assert second == {"missing": ["nowhere"]}


def test_each_request_has_a_process_of_its_own(monkeypatch, capsys):
    # two programs in one process may declare the same option in two ways: DuplicateOptError
    monkeypatch.setattr(option_check, "answer", lambda request: {"pid": os.getpid()})
    monkeypatch.setattr(sys, "stdin", io.StringIO("[{}, {}]"))
    monkeypatch.setattr("logging.disable", lambda level: None)
    assert option_check.main() == 0
    assert len({os.getpid(), *(each["pid"] for each in json.loads(capsys.readouterr().out))}) == 3


def test_the_script_runs_alone():
    request = json.dumps([{"text": "[DEFAULT]\n", "namespaces": ["oslo.config"]}])
    command = [sys.executable, "-I", option_check.__file__]
    done = subprocess.run(command, input=request, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [{"problems": []}]
