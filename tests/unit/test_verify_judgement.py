"""What verification makes of what hosts say: who must have knocked, and who may listen where."""

from __future__ import annotations

from typing import Any

import pytest

from tests import stand_ins
from tests.sample import plan

stand_ins.install()

import expected  # noqa: E402 - needs the stand-ins
import knocking  # noqa: E402

DOORS = ["clear 5000", "tls 5000"]


def test_everyone_alive_has_knocked_everywhere() -> None:
    answers = {"ctl1": ["silent", "verified"], "cmp1": ["silent", "closed"], "cmp2": "Traceback"}
    found = knocking.met(DOORS, ["ctl1", "cmp1"], answers)
    assert found == {
        "ctl1": {"clear 5000": "silent", "tls 5000": "verified"},
        "cmp1": {"clear 5000": "silent", "tls 5000": "closed"},
    }
    assert knocking.among(found, "tls 5000", {"cmp1", "cmp2"}) == {"cmp1": "closed"}


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"ctl1": ["silent", "verified"]}, "cmp1: no answer"),
        ({"ctl1": ["silent", "verified"], "cmp1": "Passed invalid arguments"}, "cmp1: Passed invalid"),
        ({"ctl1": ["silent", "verified"], "cmp1": ["silent"]}, "cmp1: "),
        ({"ctl1": ["silent", "verified"], "cmp1": False}, "cmp1: False"),
    ],
)
def test_a_host_that_is_alive_and_has_not_knocked_is_named(answers: dict[str, Any], said: str) -> None:
    with pytest.raises(AssertionError, match=f"all of 2 doors: {said}"):
        knocking.met(DOORS, ["ctl1", "cmp1"], answers)


def test_nobody_alive_is_not_passed() -> None:
    with pytest.raises(AssertionError, match="no host is alive"):
        knocking.met(DOORS, [], {})


def test_a_question_to_nobody_is_skipped_in_words_or_fails() -> None:
    with pytest.raises(pytest.skip.Exception, match="mariadb: the site has no other host"):
        knocking.among({"aio": {"mariadb": "open"}}, "mariadb", set())
    with pytest.raises(AssertionError, match="mariadb: nobody has knocked: not alive: cmp1, cmp2"):
        knocking.among({"ctl1": {"mariadb": "open"}}, "mariadb", {"cmp2", "cmp1"})


@pytest.mark.parametrize(
    ("host", "address", "proto", "port", "allowed"),
    [
        ("deploy", "10.20.0.5", "tcp", 4505, True),
        ("deploy", "0.0.0.0", "tcp", 4505, False),  # noqa: S104
        ("deploy", "*", "tcp", 4506, False),
        ("cmp1", "10.20.0.21", "tcp", 4505, False),
        ("cmp1", "0.0.0.0", "tcp", 22, True),  # noqa: S104
        ("ctl1", "10.20.0.11", "tcp", 3306, True),
        ("ctl1", "::", "tcp", 3306, False),
        ("ctl1", "10.20.0.11", "tcp", 4369, True),
        ("cmp1", "10.20.0.21", "tcp", 11211, False),
    ],
)
def test_who_may_listen_where(
    host: str, address: str, proto: str, port: int, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expected, "plans", lambda: {host: plan(host).as_data()})
    assert expected.allowed(host, {"address": address, "proto": proto, "port": port}) is allowed
