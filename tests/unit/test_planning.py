"""Plans of whole sites without secrets, and how they differ from what hosts have."""

from __future__ import annotations

from saltern import planning, site
from saltern.resolve import required_secrets, resolve

from tests.sample import real_catalogue
from tests.unit.site_samples import full

NOVA = "/etc/nova/nova.conf"


def test_every_host_is_planned_and_no_secret_is_shown() -> None:
    model, catalogue = site.parse(full()), real_catalogue()
    named = {name: f"canary-{name}-canary" for name in required_secrets(model, catalogue) if "ssh" not in name}
    plan = planning.plan(model, catalogue, named)
    assert list(plan) == list(model.hosts)
    assert "connection = <secret>" in plan["ctl1"][NOVA]
    assert "reserved_host_memory_mb = 1024" in plan["cmp2"][NOVA]
    assert "reserved_host_memory_mb" not in plan["cmp1"][NOVA]
    assert not [path for files in plan.values() for path, text in files.items() if "canary" in text]


def test_the_secrets_make_no_difference_to_what_is_shown() -> None:
    model, catalogue = site.parse(full()), real_catalogue()
    assert planning.plan(model, catalogue, {}) == planning.plan(model, catalogue, {"mariadb_nova": "x" * 20})


def test_an_absent_secret_is_named() -> None:
    found = resolve(site.parse(full()), real_catalogue(), planning.Placeholders({"a": "b"}), "ctl1")
    assert found.secrets["mariadb_nova"] == "<secret mariadb_nova>"


def test_texts_of_one_host() -> None:
    found = planning.texts(resolve(site.parse(full()), real_catalogue(), planning.Placeholders(), "cmp1"))
    assert {"/etc/hosts", NOVA} <= set(found)


def test_whole() -> None:
    assert planning.whole({"/a": "1\n", "/b": None, "/c": "2\n"}) == "==> /a <==\n1\n\n==> /c <==\n2\n"


def test_diff_of_hosts() -> None:
    wanted = {
        "h1": {"/same": "a\n", "/changed": "a\nb\n", "/new": "x\n"},
        "h2": {"/same": "a\n"},
        "silent": {"/a": "b"},
    }
    applied = {"h1": {"/same": "a\n", "/changed": "a\nc\n", "/new": None}, "h2": {"/same": "a\n"}}
    found = planning.diff(wanted, applied)
    assert list(found) == ["h1", "h2"]
    assert found["h2"] == ""
    assert found["h1"] == (
        "--- /changed\n+++ /changed\n@@ -1,2 +1,2 @@\n a\n-c\n+b\n--- /dev/null\n+++ /new\n@@ -0,0 +1 @@\n+x\n"
    )
