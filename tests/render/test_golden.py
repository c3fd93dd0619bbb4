"""Every file of every role, whole: the sample site rendered and compared with what is kept under ``golden/``.

``SALTERN_GOLDEN=write pytest tests/render`` writes them anew; read the difference before you commit it.
"""

import configparser
import os
from pathlib import Path
from typing import Any

import pytest
from saltern import highdata, render

from tests.sample import plan, sample_data

GOLDEN = Path(__file__).parent / "golden"


def variants() -> dict[str, tuple[str, dict[str, Any]]]:
    data = sample_data()
    everything = {"roles": ["deploy", "controller", "compute"], "address": "10.20.0.11",
                  "interfaces": {"eth0": {"carries": "management"}, "eth1": {"carries": "trunk"}}}  # fmt: skip
    return {
        "deploy": ("deploy", data),
        "controller": ("ctl1", data),
        "compute": ("cmp1", data),
        "compute-tcp": ("cmp1", {**data, "live_migration": "tcp"}),
        "allinone": ("aio", {**data, "hosts": {"aio": everything}}),
    }


def rendered(host: str, data: dict[str, Any]) -> str:
    """Return all files of a host as one text, secrets redacted, and the ids of its states."""
    whole = plan(host, data)
    parts = []
    for service in whole.services.values():
        for path, entry in service.files.items():
            file = entry.as_data()
            text = render.render(file["kind"], file["settings"], frozenset(file["secret"]), redact=True)
            parts.append(f"##### {path} {file['mode']} {file['user']}:{file['group']}\n{text}")
    states = "".join(f"{identity} | {next(iter(body))}\n" for identity, body in highdata.build(whole.as_data()).items())
    return "\n".join([*parts, f"##### states\n{states}"])


@pytest.mark.parametrize("name", variants())
def test_files_are_as_they_were_agreed(name: str) -> None:
    text, kept = rendered(*variants()[name]), GOLDEN / f"{name}.txt"
    if os.environ.get("SALTERN_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        kept.write_text(text)
    assert text == kept.read_text()
    assert "canary" not in text.replace("public half of canary", "")


@pytest.mark.parametrize("name", variants())
def test_each_service_alone_compiles_on_each_role(name: str) -> None:
    host, data = variants()[name]
    whole = plan(host, data).as_data()
    for service in whole["services"]:
        for body in highdata.build(whole, [service]).values():
            assert len(body) == 1


@pytest.mark.parametrize("name", variants())
def test_units_read_only_what_the_plan_brings(name: str) -> None:
    """A path that nobody writes would never restart the unit: a typo in ``reads`` must not pass."""
    whole = plan(*variants()[name]).as_data()["services"].values()
    files = {path for service in whole for path in service["files"]}
    pki = {each[key] for service in whole for each in service.get("certificates", {}).values()
           for key in ("cert", "key", "ca_file", "bundle") if key in each}  # fmt: skip
    for service in whole:
        for unit, each in service.get("units", {}).items():
            assert set((each or {}).get("reads", [])) <= files | pki, unit


@pytest.mark.parametrize("name", variants())
def test_oslo_files_are_read_back_as_they_were_meant(name: str) -> None:
    for service in plan(*variants()[name]).services.values():
        for path, entry in service.files.items():
            if entry.kind == "oslo":
                reader = configparser.RawConfigParser(strict=True, default_section="")
                reader.read_string(render.render("oslo", entry.as_data()["settings"]))
                assert set(reader.sections()) == {key for key, value in entry.settings.items() if value}, path
