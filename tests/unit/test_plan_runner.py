"""The runner and the execution module behind ``salt-run saltern.plan``, put together as Salt's loader does it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from saltern import planning, render, secrets, verbs
from saltern.resolve import resolve

from tests.sample import SERVICES
from tests.unit.site_samples import full

MODULES = Path(__file__).parents[2] / "modules"
NOVA = "/etc/nova/nova.conf"


def loaded(path: str, **names: Any) -> ModuleType:
    """A module of ours with the names that Salt's loader puts into it."""
    spec = importlib.util.spec_from_file_location(f"loaded_{Path(path).stem}", MODULES / path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module).update(names)
    return module


class Cloud:
    """A master with a site and its secrets; minions whose files live below directories."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.site, self.secrets = root / "site.yaml", root / "secrets.yaml"
        self.site.write_text(yaml.safe_dump(full(), sort_keys=False))
        self.minions = ["ctl1", "cmp1"]
        settings = {"site": str(self.site), "secrets": str(self.secrets), "catalogue": str(SERVICES)}
        self.opts = {"ext_pillar": [{"other": {}}, {"saltern": settings}], "config_dir": str(root)}
        self.runner = loaded("_runners/saltern.py", __opts__=self.opts, __salt__={"salt.execute": self.execute})

    def minion(self, host: str) -> ModuleType:
        """The execution module on a minion, its paths below the minion's own root."""
        inputs = verbs.Inputs(self.site, SERVICES, self.secrets)
        pillar = {"saltern": resolve(*inputs.load(), inputs.values(), host).as_data()}
        return loaded("_modules/saltern_plan.py", __pillar__=pillar, Path=lambda path: self.root / host / path[1:])

    def execute(self, hosts: list[str], function: str, timeout: int, tgt_type: str) -> dict[str, Any]:
        assert (function, tgt_type) == ("saltern_plan.applied", "list")
        return {host: self.minion(host).applied() for host in hosts if host in self.minions}

    def put(self, host: str, path: str, text: str) -> None:
        file = self.root / host / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    found = Cloud(tmp_path)
    assert "mariadb_nova" in found.runner.secrets()
    return found


def test_secrets_are_made_once(cloud: Cloud) -> None:
    before = secrets.read(cloud.secrets)
    assert cloud.runner.secrets() == "added: none, all are there"
    assert secrets.read(cloud.secrets) == before


def test_validate_and_explain(cloud: Cloud) -> None:
    assert "4 hosts" in cloud.runner.validate()
    assert "= 1024" in cloud.runner.explain("cmp2", "nova", "DEFAULT.reserved_host_memory_mb")
    failed = cloud.runner.explain("cmp2", "nova", "DEFAULT.nonsense")
    assert (failed["data"]["retcode"], set(failed)) == (1, {"data", "outputter"})
    cloud.site.write_text("schema: 1\n")
    assert len(cloud.runner.validate()["data"]["problems"]) == 4


def test_a_master_without_our_pillar(cloud: Cloud) -> None:
    cloud.opts["ext_pillar"] = []
    assert "ext_pillar" in cloud.runner.validate()["data"]["problems"][0]


def test_plan_names_what_differs_and_who_is_silent(cloud: Cloud) -> None:
    wanted = cloud.runner.plan()
    assert wanted["data"]["cmp2"].startswith("no answer")
    assert f"+++ {NOVA}" in wanted["data"]["ctl1"]
    assert wanted["data"]["retcode"] == 1


def test_plan_of_hosts_that_are_as_planned(cloud: Cloud) -> None:
    inputs = verbs.Inputs(cloud.site, SERVICES, cloud.secrets)
    plan = resolve(*inputs.load(), inputs.values(), "ctl1")
    for service in plan.services.values():
        for path, file in service.files.items():
            data = file.as_data()
            cloud.put("ctl1", path, render.render(data["kind"], data["settings"]))
    assert cloud.runner.plan("ctl1") == {"ctl1": "as planned"}
    values = inputs.values()
    text = (cloud.root / "ctl1" / NOVA[1:]).read_text()
    assert values["mariadb_nova"] in text
    cloud.put(
        "ctl1",
        NOVA,
        text.replace(values["mariadb_nova"], "an-older-password").replace("use_stderr = true", "use_stderr = 0"),
    )
    found = cloud.runner.plan(["ctl1"])["ctl1"]
    assert "-use_stderr = 0\n+use_stderr = true\n" in found
    assert "-connection = <secret, not this one>\n+connection = <secret>\n" in found
    assert "an-older-password" not in found
    assert not [name for name, value in values.items() if value in found]


KEYSTONE = "/etc/keystone/keystone.conf"
WRITTEN = "of-the-directory"
ASKED = "kept-elsewhere"


def test_a_secret_in_an_override_is_never_shown(cloud: Cloud) -> None:
    def overridden(**ldap: Any) -> None:
        data = full()
        data["services"]["keystone"] = {"files": {KEYSTONE: {"ldap": ldap}}}
        cloud.site.write_text(yaml.safe_dump(data, sort_keys=False))

    def text() -> str:
        settings = cloud.minion("ctl1").__pillar__["saltern"]["services"]["keystone"]["files"][KEYSTONE]["settings"]
        return render.render("oslo", settings)

    secrets.write(cloud.secrets, {**secrets.read(cloud.secrets), "ldap_user": ASKED})
    overridden(url="ldap://x", password=WRITTEN, user={"secret": "ldap_user"})
    cloud.put("ctl1", KEYSTONE, text())
    assert f"password = {WRITTEN}\n" in text()
    assert f"user = {ASKED}\n" in text()
    inputs = verbs.Inputs(cloud.site, SERVICES, cloud.secrets)
    shown = [planning.whole(verbs.plan(inputs, ["ctl1"])["ctl1"]), cloud.minion("ctl1").applied([KEYSTONE])[KEYSTONE]]
    for each in shown:
        assert "[ldap]\nurl = ldap://x\npassword = <secret>\nuser = <secret>\n" in each
    shown += [verbs.explain(inputs, "ctl1", "keystone", f"ldap.{option}") for option in ("password", "user")]
    overridden(url="ldap://x", password="another")
    shown += [cloud.runner.plan(["ctl1"])["ctl1"]]
    assert "-password = <secret, not this one>\n" in shown[-1]
    overridden(url="ldap://y")
    shown += [cloud.minion("ctl1").applied([KEYSTONE])[KEYSTONE], cloud.runner.plan(["ctl1"])["ctl1"]]
    assert "+url = ldap://y\n" in shown[-1]
    assert not [each for each in shown if WRITTEN in each or ASKED in each or "another\n" in each]


def test_applied_of_one_file(cloud: Cloud) -> None:
    cloud.put("cmp1", "/etc/hosts", "127.0.0.1 x\n")
    assert cloud.minion("cmp1").applied(["/etc/hosts"]) == {"/etc/hosts": "127.0.0.1 x\n"}
    assert loaded("_modules/saltern_plan.py", __pillar__={}).applied() == {}
