"""Differences of configuration files by option."""

import pytest
from saltern.differences import differences
from saltern.render import render

SECRETS = {"db": "hunter2"}


def diff(kind, old, new, secret=frozenset()):
    return differences(kind, old, new, secret, SECRETS)


def test_the_same_text_has_none():
    assert diff("oslo", "x", "x") == {}


@pytest.mark.parametrize("kind", ["oslo", "ini"])
def test_sections(kind):
    old = "# c\nearly = 1\n[a]\nx = 1\ny=2\nflag\n[b]\nm = 1\nm = 2\n"
    new = "; d\n[a]\nx = 2\ny = 2\n[b]\nm = 1\nm = 3\nn =\n"
    assert diff(kind, old, new) == {
        "DEFAULT.early": {"old": "1", "new": None},
        "a.x": {"old": "1", "new": "2"},
        "a.flag": {"old": "", "new": None},
        "b.m": {"old": "1; 2", "new": "1; 3"},
        "b.n": {"old": None, "new": ""},
    }


CASES = {
    "keyvalue": ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": {"old": "2", "new": "3"}}),
    "libvirt": ({"a": "x"}, {"a": "y"}, {"a": {"old": '"x"', "new": '"y"'}}),
    "words": ({"server": ["a x", "b"]}, {"server": "a x"}, {"server": {"old": "a x; b", "new": "a x"}}),
    "shell": ({"A": "1"}, {"A": "2"}, {"A": {"old": '"1"', "new": '"2"'}}),
    "python": ({"A": {"x": 1}}, {"A": {"x": 2}}, {"A": {"old": "{'x': 1}", "new": "{'x': 2}"}}),
    "yaml": (
        {"a": {"b": 1}},
        {"a": {"b": 2, "c": {}}},
        {"a.b": {"old": "1", "new": "2"}, "a.c": {"old": None, "new": "{}"}},
    ),
    "json": ({"a": [1]}, {"a": [2]}, {"a": {"old": "[1]", "new": "[2]"}}),
}


@pytest.mark.parametrize("kind", CASES)
def test_other_kinds(kind):
    old, new, expected = CASES[kind]
    assert diff(kind, render(kind, old), render(kind, new)) == expected


def test_secrets_are_blotted_out():
    old = "[database]\nconnection = mysql://hunter1\nurl = http://hunter2/\nlimit = 1\n[all]\nx = 1\n"
    new = "[database]\nurl = http://host/\nlimit = hunter2\n[all]\nx = 2\n[c]\nmy_password = x\n"
    found = diff("oslo", old, new, {"database.limit", "all"})
    assert found["database.connection"] == {"old": "<secret>", "new": None}
    assert found["database.url"] == {"old": "http://<secret>/", "new": "http://host/"}
    assert found["database.limit"] == {"old": "<secret>", "new": "<secret>"}
    assert found["all.x"] == {"old": "<secret>", "new": "<secret>"}
    assert found["c.my_password"] == {"old": None, "new": "<secret>"}


def test_a_secret_inside_a_python_value_hides_all_of_it():
    assert diff("python", "A = {'K': 'o'}", "A = {'K': 'n'}", {"A.K"}) == {"A": {"old": "<secret>", "new": "<secret>"}}


def test_only_comments():
    assert diff("oslo", "# a\n[x]\n", "[x]\n") == {"text": {"old": None, "new": "only comments, order or spacing"}}


def test_texts_without_options_show_lines():
    assert diff("lines", "a\nb\n", "a\nhunter2\n") == {"text": {"old": None, "new": "@@ -2 +2 @@\n-b\n+<secret>"}}
    assert diff("lines", "a\n", "b\n", {"x"})["text"]["new"] == "changed (holds secrets)"
    long = diff("lines", "", "".join(f"{number}\n" for number in range(100)))["text"]["new"]
    assert long.endswith("… 61 more lines")


def test_what_is_a_secret_by_its_name_is_in_no_line():
    old, new = "user x\npassword old\n", "user y\npassword new\n"
    assert diff("lines", old, new) == {"text": {"old": None, "new": "@@ -1 +1 @@\n-user x\n+user y"}}
    assert diff("lines", "password old\n", "password new\n")["text"]["new"] == "changed (holds secrets)"


def test_what_is_a_secret_by_its_name_is_in_no_value():
    old, new = "A = {'x': 1, 'PASSWORD': 'o'}\n", "A = {'x': 2, 'PASSWORD': 'n'}\n"
    shown = {"old": "{'x': 1, 'PASSWORD': <secret>", "new": "{'x': 2, 'PASSWORD': <secret>"}
    assert diff("python", old, new) == {"A": shown}


def test_a_plain_word_instead_of_a_mapping_has_no_options():
    assert diff("yaml", "word\n", render("yaml", {"a": 1})) == {"a": {"old": None, "new": "1"}}


@pytest.mark.parametrize(("kind", "old"), [("python", "A = ("), ("yaml", "a: ["), ("json", "{")])
def test_a_text_that_cannot_be_read_is_compared_by_lines(kind, old):
    assert "text" in diff(kind, old, render(kind, {"A": 1}))
