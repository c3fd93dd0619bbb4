"""What is shown of a file never holds a secret, neither ours nor one that only the file knows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from saltern import masking, render

PASSWORD = "p4ss/w0rd$1"
OLD = "last-years-password"
URL = "mysql+pymysql://nova:p4ss%2Fw0rd%241@ctl1:3306/nova"
KEY = "-----BEGIN KEY-----\nAAAAAAAA\nBBBBBBBB\n-----END KEY-----\n"
SECRETS = {"db": PASSWORD, "key": KEY}


def entry(kind: str, settings: Any, secret: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"kind": kind, "settings": settings, "secret": list(secret)}


OSLO = entry(
    "oslo",
    {"DEFAULT": {"debug": False, "my_ip": "10.0.0.1"}, "database": {"connection": URL}},
    ("database.connection",),
)
KEYED = entry("words", {"user": "x", "password": PASSWORD}, ("password",))
JSON = entry("json", {"users": [{"hash": PASSWORD}], "a": 1}, ("users",))
YAML = entry("yaml", {"users": [{"hash": PASSWORD}], "a": 1}, ("users",))
LINES = entry("lines", ["first", *KEY.splitlines()], ("",))
FREE = entry("lines", ["first", f"x {PASSWORD}"])
PYTHON = entry("python", {"A": 1, "B": {"password": PASSWORD}}, ("B",))
ALL = [OSLO, KEYED, JSON, YAML, LINES, FREE, PYTHON]


@pytest.mark.parametrize("each", ALL, ids=lambda each: each["kind"])
def test_a_file_as_planned_shows_no_difference(each: dict[str, Any]) -> None:
    shown = masking.wanted(each, SECRETS)
    assert masking.applied(render.render(each["kind"], each["settings"]), each, SECRETS) == shown
    assert render.SECRET in shown
    for line in (PASSWORD, "p4ss%2Fw0rd", *KEY.splitlines()):
        assert line not in shown


def applied(each: dict[str, Any], *changes: tuple[str, str]) -> str:
    text = render.render(each["kind"], each["settings"])
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return masking.applied(text, each, SECRETS)


def test_a_changed_option_is_shown_and_the_secret_is_not() -> None:
    shown = applied(OSLO, ("debug = false", "debug = true"))
    assert shown == masking.wanted(OSLO, SECRETS).replace("debug = false", "debug = true")


def test_another_secret_is_told_from_ours_and_not_shown() -> None:
    shown = applied(OSLO, ("p4ss%2Fw0rd%241", OLD))
    assert f"connection = {masking.OTHER}" in shown.splitlines()
    assert OLD not in shown


def test_what_the_plan_does_not_have_keeps_its_name_only() -> None:
    text = f"[DEFAULT]\n# {OLD}\nmy_ip=10.0.0.9\ntransport = {OLD}\n   {OLD}\n\n[{'old'}]\npassword={OLD}\n"
    shown = masking.applied(text, OSLO, SECRETS)
    hidden = masking.HIDDEN
    assert shown == f"[DEFAULT]\nmy_ip=10.0.0.9\ntransport = {hidden}\n\n[old]\npassword={masking.OTHER}\n"


def test_a_flat_file() -> None:
    assert f"password {masking.OTHER}" in applied(KEYED, (PASSWORD, OLD), ("user x", "user y"))
    assert "user y" in applied(KEYED, (PASSWORD, OLD), ("user x", "user y"))


@pytest.mark.parametrize("each", [JSON, YAML], ids=["json", "yaml"])
def test_structured_files_are_read_and_shown_without_their_secrets(each: dict[str, Any]) -> None:
    data = {"users": [{"hash": OLD}], "a": 2}
    shown = masking.applied(render.render(each["kind"], data), each, SECRETS)
    assert shown == render.render(each["kind"], {"users": render.SECRET, "a": 2})


@pytest.mark.parametrize(
    "text", [f"{{{OLD}", f"[[[{OLD}: x", json.dumps(OLD), "", "[" * 100_000, f'{{"a": NaN, "b": "{OLD}"']
)
@pytest.mark.parametrize("each", ALL, ids=lambda each: each["kind"])
def test_a_broken_file_is_not_shown(each: dict[str, Any], text: str) -> None:
    if each["secret"]:
        assert OLD not in masking.applied(text, each, SECRETS)


def test_other_kinds_show_only_lines_of_the_plan() -> None:
    text = render.render("python", PYTHON["settings"]) + f"{OLD}\n"
    lines = masking.applied(text, PYTHON, SECRETS).splitlines()
    assert lines == [render.HEADER.rstrip(), "A = 1", masking.HIDDEN, masking.HIDDEN]


def test_of_a_file_that_is_a_secret_only_a_difference_is_shown() -> None:
    assert applied(LINES, ("AAAAAAAA", OLD)) == f"{masking.OTHER}\n"


@pytest.mark.parametrize("each", [JSON, YAML], ids=["json", "yaml"])
def test_structured_files_keep_the_names_of_foreign_keys(each: dict[str, Any]) -> None:
    shown = masking.applied(render.render(each["kind"], {"a": 1, "b": {"c": OLD}}), each, SECRETS)
    assert shown == render.render(each["kind"], {"a": 1, "b": masking.HIDDEN})


def test_a_file_without_secret_options_shows_all_but_known_secrets() -> None:
    assert applied(FREE, ("first", "second")) == f"second\nx {render.SECRET}\n"


def test_what_is_a_secret_by_its_name_is_not_shown_either() -> None:
    each = entry("ini", {"client": {"user": "x", "password_lifetime": 90}})
    shown = applied(each, ("user = x", f"user = y\npassword = {OLD}\n  {OLD}\n#passwd: {OLD}"))
    assert f"[client]\nuser = y\npassword = {masking.OTHER}\n#passwd: {masking.OTHER}\n" in shown
    # of the plan itself, in which secrets are marked, a name hides nothing
    assert "password_lifetime = 90" in shown
    text = applied(entry("python", {"A": {"x": 1}}), ("{'x': 1}", f"{{'x': 2, 'PASSWORD': '{OLD}'}}"))
    assert text.endswith(f"A = {{'x': 2, 'PASSWORD': {masking.OTHER}\n")
