"""Where a value comes from: every layer's word, the winner, and no secret."""

from __future__ import annotations

from typing import Any

import pytest
from saltern import site
from saltern.errors import Problems
from saltern.explain import explain
from saltern.resolve import FilePlan, HostPlan, ServicePlan, resolve

from tests.sample import Recognisable, real_catalogue
from tests.unit.site_samples import full

PATH = "/etc/x.conf"


def made(kind: str, *layered: tuple[str, Any], settings: Any = None, secret: tuple[str, ...] = ()) -> HostPlan:
    """A plan with one file of one service."""
    model = site.parse(full())
    file = FilePlan(kind, settings, secret=secret, layered=layered)
    return HostPlan(model, model.hosts["cmp2"], {"x": ServicePlan("x", "service", {}, {PATH: file})}, [])


def test_all_layers_of_a_real_option() -> None:
    data = full()
    data["hosts"]["cmp2"]["services"]["nova"]["files"]["/etc/nova/nova.conf"]["DEFAULT"]["cpu_allocation_ratio"] = 2
    plan = resolve(site.parse(data), real_catalogue(), Recognisable(ssh()), "cmp2")
    assert explain(plan, "nova", "DEFAULT.cpu_allocation_ratio") == (
        "cmp2: nova: /etc/nova/nova.conf: DEFAULT.cpu_allocation_ratio = 2\n"
        "    derived    -\n"
        "    catalogue  -\n"
        "    site       8.0\n"
        "    host       2   <- wins (site file, hosts:cmp2:services:nova:files:/etc/nova/nova.conf)\n"
    )
    assert "my_ip = 10.20.0.22" in explain(plan, "nova", "DEFAULT.my_ip")
    assert "(follows from the site file)" in explain(plan, "nova", "DEFAULT.my_ip")
    password = explain(plan, "nova", "placement.password")
    assert "placement.password = <secret>" in password
    assert "canary" not in password


def ssh() -> dict[str, str]:
    """Stand-ins for the keys, which are read and not only passed on."""
    return {name: f"<secret {name}>" for name in ("nova_ssh_key", "nova_ssh_host_key")}


CASES = [
    # kind, layers, settings, option, expected lines
    ("oslo", [("catalogue", {"a": {"b": 1}}), ("site", {"a": {"b": None}})], {"a": {}}, "a.b",
     ["a.b = (removed: upstream's default applies)", "catalogue  1", "site       null (removes it)   <- wins"]),
    ("oslo", [("catalogue", {"a": {"b": 1}}), ("site", {"a": {"b": None}})], {}, "a.b", ["a.b = (removed"]),
    ("words", [("derived", {"k": ["x", True]})], {"k": ["x", True]}, "k", ['k = ["x", true]', "derived    ["]),
    ("words", [("site", {"k": None})], {}, "k", ["k = (removed"]),
    ("lines", [("derived", ["x"]), ("host", ["ü"])], ["ü"], "", [" = [\"ü\"]", 'host       ["ü"]   <- wins']),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "layered", "settings", "option", "lines"), CASES)
def test_cases(kind: str, layered: Any, settings: Any, option: str, lines: list[str]) -> None:
    text = explain(made(kind, *layered, settings=settings), "x", option)
    assert [line for line in lines if line not in text] == []


def test_an_override_of_a_secret_option_is_not_shown_either() -> None:
    layered = (("derived", {"a": {"b": "one"}}), ("site", {"a": {"b": "hunter2"}}))
    text = explain(made("oslo", *layered, settings={"a": {"b": "hunter2"}}, secret=("a.b",)), "x", "a.b")
    assert "hunter2" not in text
    assert text.count("<secret>") == 3


@pytest.mark.parametrize(
    ("service", "option", "message"),
    [("y", "a.b", "cmp2:services: 'y': unknown"), ("x", "a.bb", "no layer sets it, .*did you mean 'a.b'")],
)
def test_unknown_names(service: str, option: str, message: str) -> None:
    with pytest.raises(Problems, match=message):
        explain(made("oslo", ("site", {"a": {"b": 1}}), settings={"a": {"b": 1}}), service, option)
