"""The provider's side of the cloud: what reaches an instance from a machine on the provider VLAN.

A deploy host has no leg there. So the probes run where one is: behind a command prefix (``--probe-from PREFIX``), or
at the other end of a pipe (``--probe-from -``): a line ``@probe {json}`` on standard output asks, a line on standard
input answers.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from smoke.runner import Failed, Skipped

MARK = "@probe "
FETCH = """
import sys, urllib.request as request
opener = request.build_opener(request.ProxyHandler({}))
print(opener.open(sys.argv[1], timeout=10).read().decode())
"""


class Outside(Protocol):
    """Something that can ask from the provider's side."""

    def ask(self, question: Mapping[str, Any]) -> str:
        """Return the answer to a question; raise Failed when there is none."""


class Nowhere:
    """No machine on the provider's side is known."""

    def ask(self, question: Mapping[str, Any]) -> str:
        """Skip whatever needs one."""
        raise Skipped("nothing probes from the provider's side; see --probe-from")


class Prefix:
    """Probes run behind a command prefix in which ``{vlan}`` stands for the VLAN."""

    def __init__(self, words: Sequence[str]) -> None:
        """Keep the prefix."""
        self.words = words

    def ask(self, question: Mapping[str, Any]) -> str:
        """Run the probe."""
        prefix = [word.format(vlan=question["vlan"]) for word in self.words]
        what = f"{question['kind']} to {question['address']} from VLAN {question['vlan']}"
        with tempfile.TemporaryDirectory() as folder:
            argv = [*prefix, *command(question, Path(folder))]
            try:
                done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
            except subprocess.TimeoutExpired as error:
                raise Failed(f"{what}: no end after 60 s") from error
        if done.returncode:
            words = " / ".join((done.stderr or done.stdout).strip().splitlines()[-2:])
            raise Failed(f"{what}: {words}")
        return done.stdout


class Pipe:
    """Probes run at the other end of standard input and output."""

    def ask(self, question: Mapping[str, Any]) -> str:
        """Send the question and wait for the answer."""
        sys.stdout.write(f"{MARK}{json.dumps(dict(question))}\n")
        sys.stdout.flush()
        answer = json.loads(sys.stdin.readline() or '{"failed": "the other end of the pipe is gone"}')
        if "failed" in answer:
            raise Failed(answer["failed"])
        return str(answer["said"])


def answer(line: str, side: Outside) -> str:
    """Return the line that answers a line of :class:`Pipe`."""
    try:
        return json.dumps({"said": side.ask(json.loads(line.removeprefix(MARK)))})
    except (Failed, Skipped) as error:
        return json.dumps({"failed": str(error)})


def command(question: Mapping[str, Any], folder: Path) -> list[str]:
    """Return the command that asks a question; a key goes through a file that only we can read."""
    address = str(question["address"])
    if question["kind"] == "ping":
        return ["ping", "-n", "-c", "3", "-W", "3", "-i", "0.5", address]
    if question["kind"] == "http":
        return [sys.executable, "-c", FETCH, f"http://{address}/{question.get('path', '')}"]
    if question["kind"] != "ssh":
        raise Failed(f"no such probe: {question['kind']}")
    (folder / "known").write_text(f"{address} {question['host_key']}\n")
    (folder / "key").touch(mode=0o600)
    (folder / "key").write_text(str(question["key"]))
    options = {"BatchMode": "yes", "StrictHostKeyChecking": "yes", "UserKnownHostsFile": folder / "known"}
    options |= {"IdentitiesOnly": "yes", "ConnectTimeout": "15"}
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "none", "-i", str(folder / "key"), *words, f"root@{address}", str(question["command"])]


def side(words: str) -> Outside:
    """Return the provider's side that ``--probe-from`` names."""
    if not words:
        return Nowhere()
    try:
        words.format(vlan=1)
    except (ValueError, LookupError, AttributeError) as error:
        raise Failed(f"--probe-from: {words!r}: accepted: a command in which {{vlan}} stands for the VLAN") from error
    return Pipe() if words == "-" else Prefix(words.split())
