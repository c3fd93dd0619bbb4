"""A disk that is full or read-only: states and the front door say so in words, and the old file still stands."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from saltern import atomic, outcome, pki
from saltern.errors import SalternError, described

from frontdoor import __main__ as main

ROOT = Path(__file__).resolve().parents[2]
PATHS = {**os.environ, "PYTHONUNBUFFERED": "", "PYTHONPATH": f"{ROOT}:{ROOT}/modules/_utils"}
FULL = "No space left on device"

# Runs in a mount namespace of its own: a disk of 64 KiB, and the state as Salt's loader gives it its names.
STATE = f"""
import grp, importlib.util, json, os, pathlib, subprocess, sys
place = pathlib.Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "small", place], check=True)
spec = importlib.util.spec_from_file_location("config_file", {str(ROOT / "modules/_states/config_file.py")!r})
state = importlib.util.module_from_spec(spec)
spec.loader.exec_module(state)
path = str(place / "x.conf")
def managed(*lines):
    entry = {{"kind": "lines", "settings": list(lines), "group": grp.getgrgid(os.getgid()).gr_name}}
    plan = {{"services": {{"x": {{"tier": "service", "files": {{path: entry}}}}}}, "secrets": {{}}}}
    vars(state).update(__pillar__={{"saltern": plan}}, __opts__={{"test": False}}, __context__={{}})
    return {{**state.managed(path, "x"), "text": open(path).read()[:9], "left": sorted(os.listdir(place))}}
found = [managed("small"), managed("large" * 50000)]
subprocess.run(["mount", "-o", "remount,ro", place], check=True)
print(json.dumps([*found, managed("other")]))
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="only root mounts a small disk")
def test_a_state_on_a_disk_that_is_full_or_read_only_fails_in_words(tmp_path: Path) -> None:
    command = ["unshare", "--mount", sys.executable, "-c", STATE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=PATHS)
    written, full, fixed = json.loads(done.stdout)
    assert (written["result"], written["text"]) == (True, "small\n")
    path = f"{tmp_path}/x.conf"
    for found, why in ((full, FULL), (fixed, "Read-only file system")):
        assert (found["result"], found["comment"], found["changes"]) == (False, f"{path}: {why}", {})
        assert (found["text"], found["left"]) == ("small\n", ["x.conf"])


def test_a_file_that_cannot_be_replaced_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        atomic.write(str(tmp_path / "x"), "text", 0o600)
    assert described(caught.value) == f"{tmp_path}/x: Is a directory"
    assert [each.name for each in tmp_path.iterdir()] == ["x"]


def test_an_authority_that_cannot_be_written_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place, said in ((f"{tmp_path}/file/pki", r"services\.key: Not a directory"), ("/proc/none", "No such file")):
        with pytest.raises(SalternError, match=rf"^{place}.*{said}"):
            pki.ensure_authority(place, "services")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, FULL, "/a"), f"/a: {FULL}"),
        (OSError(28, FULL), FULL),
        (OSError("HTTP status 503"), "HTTP status 503"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_what_the_system_refuses_is_said_in_words(error: OSError, said: str) -> None:
    @outcome.reported
    def state(name: str) -> dict[str, Any]:
        raise error

    assert state("x") == outcome.failure("x", said)


def test_the_front_door_names_the_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(arguments: object) -> int:
        raise OSError(28, FULL, "/var/x")

    monkeypatch.setattr(main, "verbs", lambda: {"fill": ("", lambda parser: None, full)})
    assert main.main(["fill"]) == main.TROUBLE
    assert capsys.readouterr().err == f"/var/x: {FULL}\n"


def front_door(*words: str, stdout: Any) -> tuple[int, str]:
    command = [sys.executable, "-P", "-m", "frontdoor", *words]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, env=PATHS)
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", [["validate", "lab"], ["plan", "--site", "lab"], ["--help"], ["bench", "--help"]])
def test_an_output_that_takes_no_more_is_said(words: list[str]) -> None:
    with Path("/dev/full").open("w") as device:
        code, said = front_door(*words, stdout=device)
    assert (code, said) == (main.TROUBLE, f"standard output: {FULL}\n")


def test_a_site_file_that_did_not_fit_is_not_taken_for_one(tmp_path: Path) -> None:
    # a limit stands for the disk: what does not fit is refused in the middle of the file
    file = tmp_path / "site.yaml"
    limited = ["sh", "-c", 'trap "" XFSZ; ulimit -f 1; exec "$@"', "sh", sys.executable, "-P", "-m", "frontdoor"]
    command = [*limited, "init", "--site", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=PATHS, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (1, f"{file}: 'File too large': a file that can be written\n")
    assert list(tmp_path.iterdir()) == []
