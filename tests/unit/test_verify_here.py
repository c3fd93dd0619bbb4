"""Verification on a deploy host: what is installed there first, what is run, and with which exit code."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from typing import Any

import pytest

from frontdoor import verify
from lab import guest_image, preflight
from lab.command import LabError
from tests import stand_ins

stand_ins.install()

from smoke import outside  # noqa: E402 - needs the path


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would be run, the package manager's among them; qemu-img is not there yet."""
    found: list[list[str]] = []

    def started(argv: list[str], **_: Any) -> Any:
        found.append(argv)
        return subprocess.CompletedProcess(argv, 1 if "pytest" in argv else 0)

    def run(*words: str, **_: Any) -> None:
        found.append(list(words))

    monkeypatch.setattr(subprocess, "run", started)
    monkeypatch.setattr(preflight, "run", run)
    monkeypatch.setattr(preflight.packages, "__defaults__", (lambda name: name != "qemu-img", preflight.PROGRAMS))
    monkeypatch.setattr(guest_image, "build", lambda cache: guest_image.named(cache, "abc"))
    return found


def here(*words: str) -> int:
    parser = argparse.ArgumentParser()
    verify.add_arguments(parser)
    return verify.here(parser.parse_args(words), ())


def test_what_the_guest_image_needs_is_installed_first(
    ran: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert here("--probe-from", "ip netns exec provider{vlan}") == 1, "testinfra has failed"
    assert ran[0][:3] == ["apt-get", "-qq", "update"]
    assert "qemu-utils" in ran[1]
    assert "installed qemu-utils" in capsys.readouterr().out
    assert "pytest" in ran[2]
    assert ran[3][ran[3].index("--probe-from") + 1] == "ip netns exec provider{vlan}"
    assert ran[3][ran[3].index("--image") + 1].endswith("guest-abc.qcow2")


def test_without_the_smoke_test_nothing_is_installed(ran: list[list[str]]) -> None:
    here("--no-smoke")
    assert [each[2] for each in ran] == ["pytest"]


def test_a_host_without_the_package_manager_is_told_in_words(
    ran: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*words: str, **_: Any) -> None:
        raise LabError(f"{words[0]}: not installed")

    monkeypatch.setattr(preflight, "run", missing)
    with pytest.raises(LabError, match="apt-get: not installed"):
        here("--smoke-only")


def test_every_program_that_the_smoke_test_starts_is_needed(tmp_path: Path) -> None:
    question = {"address": "198.51.100.7", "host_key": "k", "key": "k", "command": "id"}
    started = {outside.command({**question, "kind": kind}, tmp_path)[0] for kind in ("ping", "ssh")}
    assert started <= set(verify.NEEDED)
    assert set(guest_image.HOST_PACKAGES) <= set(verify.NEEDED.values())
