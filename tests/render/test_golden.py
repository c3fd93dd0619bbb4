"""Every file of every role, whole: the sample site rendered and compared with what is kept under ``golden/``.

``SALTERN_GOLDEN=write pytest tests/render`` writes them anew; read the difference before you commit it.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from saltern import highdata, render

from tests.sample import golden_sites, plan

GOLDEN = Path(__file__).parent / "golden"


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


@pytest.mark.parametrize("name", golden_sites())
def test_files_are_as_they_were_agreed(name: str) -> None:
    text, kept = rendered(*golden_sites()[name]), GOLDEN / f"{name}.txt"
    if os.environ.get("SALTERN_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        kept.write_text(text)
    assert text == kept.read_text()
    assert "canary" not in text.replace("public half of canary", "")


@pytest.mark.parametrize("name", golden_sites())
def test_each_service_alone_compiles_on_each_role(name: str) -> None:
    host, data = golden_sites()[name]
    whole = plan(host, data).as_data()
    for service in whole["services"]:
        for body in highdata.build(whole, [service]).values():
            assert len(body) == 1


@pytest.mark.parametrize("name", golden_sites())
def test_units_read_only_what_the_plan_brings(name: str) -> None:
    """A path that nobody writes would never restart the unit: a typo in ``reads`` must not pass."""
    whole = plan(*golden_sites()[name]).as_data()["services"].values()
    files = {path for service in whole for path in service["files"]}
    pki = {each[key] for service in whole for each in service.get("certificates", {}).values()
           for key in ("cert", "key", "ca_file", "bundle") if key in each}  # fmt: skip
    # what machines boot from, dnsmasq's configuration with it, is rendered where it is served
    trees = [each["arguments"]["name"] for service in whole for each in service.get("steps", [])
             if each["state"] == "boot_tree.present"]  # fmt: skip
    pki |= {f"{each}/dnsmasq.conf" for each in trees}
    for service in whole:
        for unit, each in service.get("units", {}).items():
            assert set((each or {}).get("reads", [])) <= files | pki, unit
