"""Configuration files from plain data."""

import json
import string
from collections import OrderedDict

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from oslo_config import cfg
from saltern.errors import Problems
from saltern.render import HEADER, plain, redact, render

GOLDEN = {
    "oslo: DEFAULT first, the rest in its order": (
        "oslo",
        {"zeta": {"b": 1}, "alpha": {}, "DEFAULT": {"debug": True, "quiet": False}},
        "\n[DEFAULT]\ndebug = true\nquiet = false\n\n[zeta]\nb = 1\n\n[alpha]\n",
    ),
    "oslo: lists, repeated keys, mappings, nulls": (
        "oslo",
        {"a": {"list": ["x", 2], "multi": {"multi": ["p", "q"]}, "map": {"k": "v", "l": 1}, "gone": None, "none": []}},
        "\n[a]\nlist = x,2\nmulti = p\nmulti = q\nmap = k:v,l:1\nnone =\n",
    ),
    "oslo: what would be expanded or stripped": (
        "oslo",
        {"a": {"dollar": "p$w", "two": "$$", "back": r"\$x", "space": " x ", "quoted": '"x"', "one": "'", "empty": ""}},
        '\n[a]\ndollar = p$$w\ntwo = $$$$\nback = \\\\$x\nspace = " x "\nquoted = ""x""\none = "\'"\nempty =\n',
    ),
    "ini: flags, repeated keys, systemd's reset": (
        "ini",
        {"Service": {"ExecStart": ["", "/bin/x -y"], "Gone": None}, "mysqld": {"skip-name-resolve": "", "port": 3306}},
        "\n[Service]\nExecStart =\nExecStart = /bin/x -y\n\n[mysqld]\nskip-name-resolve\nport = 3306\n",
    ),
    "keyvalue": (
        "keyvalue",
        {"listeners.tcp": "none", "management.ssl.port": 15671, "x": None, "many": ["a", "b"]},
        "listeners.tcp = none\nmanagement.ssl.port = 15671\nmany = a\nmany = b\n",
    ),
    "words": (
        "words",
        {"server": ["a iburst", "b"], "rtcsync": True, "local": "", "off": False, "gone": None, "-m": 64},
        "server a iburst\nserver b\nrtcsync\nlocal\n-m 64\n",
    ),
    "shell": (
        "shell",
        {"A": 'q"$`\\', "LIST": ["--x", "--y"], "N": 1, "GONE": None},
        'A="q\\"\\$\\`\\\\"\nLIST="--x --y"\nN="1"\n',
    ),
    "python": (
        "python",
        {"DEBUG": False, "CACHES": OrderedDict(default={"KEY": None}), "T": "it's"},
        "DEBUG = False\nCACHES = {'default': {'KEY': None}}\nT = \"it's\"\n",
    ),
    "yaml": ("yaml", {"b": [1, {"c": None}], "a": "é"}, "b:\n- 1\n- c: null\na: é\n"),
    "libvirt": (
        "libvirt",
        {"host": "::", "tls": True, "port": 16514, "acl": ["a", 1], "none": [], "q": 'a"b', "gone": None},
        'host = "::"\ntls = 1\nport = 16514\nacl = [ "a", 1 ]\nnone = []\nq = \'a"b\'\n',
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name):
    kind, settings, text = GOLDEN[name]
    assert render(kind, settings) == HEADER + text


def test_json_and_lines_have_no_header():
    assert json.loads(render("json", {"a": ("é", 1)})) == {"a": ["é", 1]}
    assert render("lines", ["#!/bin/sh", "", "x"]) == "#!/bin/sh\n\nx\n"


REFUSED = {
    "unknown kind": ("osla", {}, "did you mean 'oslo'"),
    "line break": ("oslo", {"a": {"b": "x\ny"}}, "a.b"),
    "section is no mapping": ("oslo", {"a": 1}, "must be a mapping"),
    "settings are no mapping": ("keyvalue", [1], "settings"),
    "section name": ("ini", {"a]": {}}, "not a possible section name"),
    "option name": ("oslo", {"a": {"b c": 1}}, "not a possible option name"),
    "option name with a colon": ("oslo", {"a": {"b:c": 1}}, "not a possible option name"),
    "value that is no scalar": ("words", {"a": {"b": 1}}, "a string, a number or a boolean"),
    "shell name": ("shell", {"A-B": "x"}, "not a possible variable name"),
    "python name": ("python", {"a.b": "x"}, "not a Python name"),
    "lines are no list": ("lines", "text", "must be a list of lines"),
    "both quotes": ("libvirt", {"a": "'\""}, "both kinds of quotes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    kind, settings, words = REFUSED[name]
    with pytest.raises(Problems) as caught:
        render(kind, settings)
    assert words in str(caught.value)


def test_all_problems_are_told_and_values_with_line_breaks_are_not():
    with pytest.raises(Problems) as caught:
        render("oslo", {"a": {"b": "hunter2\n", "c d": 1, "e": object}})
    assert len(caught.value.problems) == 3
    assert "hunter2" not in str(caught.value)


def test_secrets_are_left_out_on_request():
    settings = {
        "database": {"connection": "mysql://u:p@h", "max": 1, "unset": None},
        "s3": {"key": "k", "id": "i", "m": {"multi": ["x"]}},
    }
    text = render("oslo", settings, {"database.connection", "database.unset", "s3"}, redact=True)
    assert "connection = <secret>" in text
    assert "mysql" not in text
    assert "max = 1" in text
    assert "[s3]\nkey = <secret>\nid = <secret>\nm = <secret>\n" in text
    assert "unset" not in text
    assert render("oslo", settings, {"database.connection"}).count("mysql") == 1


def test_redact_knows_the_forms_of_a_secret():
    secrets = {"a": "p/w $1%", "b": "p/w", "empty": "", "number": 12345}
    text = "x p/w $1% y p%2Fw%20%241%25 z p%%2Fw%%20%%241%%25 p/w $$1% p/w 12345 end"
    shown = redact(text, secrets)
    assert shown == "x <secret> y <secret> z <secret> <secret> <secret> <secret> end"


def test_plain_makes_plain_containers():
    assert repr(plain(OrderedDict(a=(1, OrderedDict(b=2))))) == "{'a': [1, {'b': 2}]}"


OPTION_NAMES = st.from_regex(r"\A[a-z][a-z_]{0,11}\Z").filter(lambda name: not hasattr(cfg.ConfigOpts.GroupAttr, name))
LINE = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), max_size=30)


@pytest.mark.no_cover
@settings(deadline=None)
@given(st.dictionaries(OPTION_NAMES, LINE, min_size=1, max_size=6))
def test_oslo_config_reads_back_what_was_written(tmp_path_factory, options):
    path = tmp_path_factory.mktemp("oslo") / "x.conf"
    path.write_text(render("oslo", {"group": options}))
    conf = cfg.ConfigOpts()
    conf.register_opts([cfg.StrOpt(name) for name in options], "group")
    conf([], default_config_files=[str(path)])
    assert {name: conf.group[name] for name in options} == options


ITEM = st.text(string.ascii_letters + string.digits + " .:/$\\-", min_size=1, max_size=10).map(str.strip).filter(bool)


@pytest.mark.no_cover
@settings(deadline=None)
@given(st.lists(ITEM, max_size=5), st.lists(LINE, max_size=4), st.booleans(), st.integers(), st.floats(allow_nan=False))
def test_oslo_config_reads_back_types(tmp_path_factory, items, many, flag, number, real):
    path = tmp_path_factory.mktemp("oslo") / "x.conf"
    values = {"items": items, "many": {"multi": many}, "flag": flag, "number": number, "real": real}
    path.write_text(render("oslo", {"DEFAULT": values}))
    conf = cfg.ConfigOpts()
    conf.register_opts([cfg.ListOpt("items"), cfg.MultiStrOpt("many", default=[])])
    conf.register_opts([cfg.BoolOpt("flag"), cfg.IntOpt("number"), cfg.FloatOpt("real")])
    conf([], default_config_files=[str(path)])
    assert conf["items"] == items
    assert conf["many"] == many
    assert (conf["flag"], conf["number"], conf["real"]) == (flag, number, real)


@pytest.mark.no_cover
@settings(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | LINE, lambda x: st.dictionaries(LINE, x) | st.lists(x)))
def test_yaml_and_json_read_back(data):
    assert yaml.safe_load(render("yaml", data)) == data
    assert json.loads(render("json", data)) == data
