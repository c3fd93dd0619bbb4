"""The operator's verbs on real files: what they answer, and that every mistake comes at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from saltern import secrets, verbs
from saltern.errors import Problems

from tests.sample import SERVICES
from tests.unit.site_samples import full


@pytest.fixture
def inputs(tmp_path: Path) -> verbs.Inputs:
    """A valid site with all its secrets."""
    file = tmp_path / "site.yaml"
    file.write_text(yaml.safe_dump(full(), sort_keys=False))
    found = verbs.Inputs(file, SERVICES, tmp_path / "secrets.yaml")
    assert len(verbs.complete_secrets(found)) > 10
    return found


def change(inputs: verbs.Inputs, old: str, new: str) -> None:
    text = inputs.site.read_text()
    assert old in text
    inputs.site.write_text(text.replace(old, new))


def paths(inputs: verbs.Inputs) -> list[str]:
    with pytest.raises(Problems) as caught:
        verbs.validate(inputs)
    return [problem.path for problem in caught.value.problems]


def test_a_valid_site(inputs: verbs.Inputs) -> None:
    assert verbs.validate(inputs).endswith("site lab is valid: 4 hosts (1 deploy, 1 controller, 2 compute)")
    assert verbs.validate(verbs.Inputs(inputs.site, SERVICES))


@pytest.mark.parametrize("entry", [None, {}, {"site": "/a.yaml"}])
def test_where_things_are_has_defaults(entry: dict[str, str] | None) -> None:
    found = verbs.Inputs.of({"ext_pillar": [{"other": 1}, {"saltern": entry}]})
    assert str(found.site) == ("/a.yaml" if entry else "/etc/saltern/site.yaml")
    assert (str(found.secrets), found.pki) == ("/etc/saltern/secrets.yaml", "/etc/saltern/authorities")
    assert found.gpg_home == "/etc/salt/gpgkeys"
    assert found == verbs.Inputs.of({}, entry or {})


def test_keys_are_where_salt_has_its_own() -> None:
    assert verbs.Inputs.of({"config_dir": "/x"}, {}).gpg_home == "/x/gpgkeys"
    assert verbs.Inputs.of({"config_dir": "/x", "gpg_keydir": "/y"}, {}).gpg_home == "/y"


@pytest.mark.parametrize("entries", [None, [], [{"other": {}}], [{"saltern": "site.yaml"}]])
def test_a_master_that_does_not_name_us_is_told_so(entries: list[dict[str, object]] | None) -> None:
    with pytest.raises(Problems, match="ext_pillar"):
        verbs.Inputs.of({"ext_pillar": entries})


def test_mistakes_of_the_site_and_the_secrets_come_at_once(inputs: verbs.Inputs) -> None:
    assert inputs.secrets
    change(inputs, "release: '2025.1'", "release: '2019.1'")
    change(inputs, "nova:", "nvoa:")
    secrets.write(inputs.secrets, {"a": "short"})
    assert paths(inputs) == ["release", "services:nvoa", "hosts:cmp2:services:nvoa", "secrets:a"]


def test_missing_secrets_and_unrenderable_values_come_at_once(inputs: verbs.Inputs) -> None:
    assert inputs.secrets
    values = secrets.read(inputs.secrets)
    del values["mariadb_nova"]
    secrets.write(inputs.secrets, values)
    change(inputs, "reserved_host_memory_mb: 1024", 'reserved_host_memory_mb: "1\\n2"')
    assert paths(inputs) == [
        "secrets:mariadb_nova",
        "services:nova:files:/etc/nova/nova.conf:DEFAULT.reserved_host_memory_mb",
    ]


def test_explain(inputs: verbs.Inputs) -> None:
    assert "= 1024\n" in verbs.explain(inputs, "cmp2", "nova", "DEFAULT.reserved_host_memory_mb")
    with pytest.raises(Problems, match="did you mean 'cmp2'"):
        verbs.explain(inputs, "cmp3", "nova", "DEFAULT.debug")


def test_plan(inputs: verbs.Inputs) -> None:
    assert list(verbs.plan(inputs)) == ["deploy", "ctl1", "cmp1", "cmp2"]
    assert list(verbs.plan(inputs, ["cmp1"])) == ["cmp1"]
    with pytest.raises(Problems) as caught:
        verbs.plan(inputs, ["cmp1", "x1", "x2"])
    assert len(caught.value.problems) == 2


def test_secrets_need_a_file(inputs: verbs.Inputs) -> None:
    assert verbs.complete_secrets(inputs) == []
    with pytest.raises(Problems, match="the path of the secrets file"):
        verbs.complete_secrets(verbs.Inputs(inputs.site, SERVICES))
