"""Who has knocked at which door, and what was met there; a question that nobody was asked is not passed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pytest

Met = Mapping[str, Mapping[str, str]]


def met(doors: Iterable[str], alive: Iterable[str], answers: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return host → door → what it met; asserts that every host that is alive has knocked at all doors."""
    names = list(doors)
    said = {host: answers.get(host, "no answer") for host in alive}
    odd = [f"{host}: {each}" for host, each in said.items() if not (isinstance(each, list) and len(each) == len(names))]
    assert said, "no host is alive"
    assert not odd, f"hosts that did not knock at all of {len(names)} doors: {'; '.join(odd)[:2000]}"
    return {host: dict(zip(names, each, strict=True)) for host, each in said.items()}


def among(found: Met, door: str, hosts: Collection[str]) -> dict[str, str]:
    """Return what some hosts met at a door, of those that are alive; where the site has none of them it is skipped."""
    if not hosts:
        pytest.skip(f"{door}: the site has no other host to knock there")
    said = {host: found[host][door] for host in sorted(hosts) if host in found}
    assert said, f"{door}: nobody has knocked: not alive: {', '.join(sorted(hosts))}"
    return said
