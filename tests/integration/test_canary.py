"""No secret of the cloud leaks from a highstate that writes all of them: not into an argument, a log, or a cache.

The highstate runs on every host under strace, which sees each execve, with the files and accounts that hold secrets
taken away first. A planted leak of a made-up secret must be found at each place that is searched.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from saltern import catalogue, resolve

from lab import nodes, sites
from lab.highstate import PYTHON
from lab.layout import REPOSITORY, Lab, Node

pytestmark = [pytest.mark.lab, pytest.mark.slow]
SHORTEST = 8
SALT_CALL = "/opt/saltern/salt/bin/salt-call"
TRACE = ("strace", "-f", "-qq", "-s", "100000", "-e", "trace=execve,execveat", "-e", "signal=none")
SEARCHED = ("var/log", "var/cache/salt/minion", "var/cache/salt/master/jobs")


@dataclass(frozen=True)
class Needle:
    """A secret's name and the forms in which it could appear."""

    name: str
    forms: tuple[bytes, ...]

    @classmethod
    def of(cls, name: str, value: str) -> Needle:
        """Return the needle of a secret: of one with several lines, its longest line."""
        line = max(value.splitlines(), key=len)
        return cls(name, tuple({line.encode(), quote(line, safe="").encode(), escaped(line).encode()}))

    def within(self, content: bytes) -> bool:
        """Tell whether the secret is in some content."""
        return any(form in content for form in self.forms)


def escaped(text: str) -> str:
    """Return a text as strace and JSON print it."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


@pytest.fixture(scope="module")
def lab() -> Lab:
    """The running lab."""
    found = sites.load(os.environ.get("SALTERN_SITE", "lab"))
    assert nodes.leader(found, found.deploy), f"the lab {found.name} does not run"
    assert shutil.which("strace"), "strace is not installed"
    return found


@pytest.fixture(scope="module")
def known(lab: Lab) -> dict[str, str]:
    """All secrets of the cloud, by name."""
    reader = "import json, saltern.secrets as s; print(json.dumps(s.read('/etc/saltern/secrets.yaml')))"
    path = f"PYTHONPATH={nodes.REPOSITORY}/modules/_utils"
    return dict(json.loads(nodes.call(lab, lab.deploy, "env", path, PYTHON, "-B", "-c", reader)))


@pytest.fixture(scope="module")
def needles(known: dict[str, str]) -> list[Needle]:
    """What is looked for."""
    found = [Needle.of(name, value) for name, value in known.items() if len(value) >= SHORTEST]
    assert len(found) > 10
    return found


@pytest.fixture(scope="module")
def planted() -> Needle:
    """A made-up secret that is leaked on purpose."""
    return Needle.of("planted", f"canary+{secrets.token_hex(16)}")


def take_away(lab: Lab, known: dict[str, str]) -> None:
    """Remove every file and account that holds a secret: the next highstate writes them all."""
    services = catalogue.load(REPOSITORY / "pillar/services")
    for node in lab.nodes:
        plan = resolve.resolve(lab.site, services, known, node.id).as_data()
        parts = plan["services"].values()
        files = [path for part in parts for path, entry in part["files"].items() if entry["secret"]]
        nodes.call(lab, node, "rm", "-f", *files)
        users = {entry["user"] for part in parts for entry in (part.get("databases") or {}).values()}
        if users and "mariadb" in plan["services"]:
            asked = "select concat(quote(user), '@', quote(host)) from mysql.user where user in ({})"
            quoted = ", ".join(f"'{user}'" for user in sorted(users))
            accounts = nodes.call(lab, node, "mariadb", "-NBe", asked.format(quoted)).split()
            nodes.call(lab, node, "mariadb", "-e", f"drop user {', '.join(accounts)}")


@dataclass(frozen=True)
class Traced:
    """A traced run: what every program was started with, and whether the run ended well."""

    node: Node
    starts: bytes
    code: int
    words: str


def traced(lab: Lab, folder: Path, argv: dict[str, list[str]]) -> list[Traced]:
    """Run a command on each node at once under strace, with what the node's systemd starts meanwhile."""
    watchers, runs = [], []
    try:
        for name, words in argv.items():
            node = lab.node(name)
            assert node
            watch = [*TRACE, "-o", str(folder / f"{name}.init"), "-p", str(nodes.leader(lab, node))]
            watchers.append(subprocess.Popen(watch, stdin=subprocess.DEVNULL))
            command = [*TRACE, "--seccomp-bpf", "-o", str(folder / f"{name}.run"), *nodes.enter(lab, node, *words)]
            options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
            runs.append((node, subprocess.Popen(command, text=True, **options)))
        ended = [(node, run.communicate(timeout=1500)[0], run.returncode) for node, run in runs]
    finally:
        for each in (*watchers, *(run for _, run in runs)):
            each.terminate()
            each.wait()
    return [Traced(node, starts(folder, node), code, words) for node, words, code in ended]


def starts(folder: Path, node: Node) -> bytes:
    """Return all that strace wrote of a node."""
    return b"".join((folder / f"{node.id}.{kind}").read_bytes() for kind in ("init", "run"))


@pytest.fixture(scope="module")
def highstate(lab: Lab, known: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[Traced]:
    """A highstate of all hosts that writes every secret anew, traced."""
    take_away(lab, known)
    words = [SALT_CALL, "--out=json", "--retcode-passthrough", "state.highstate"]
    return traced(lab, tmp_path_factory.mktemp("canary"), {node.id: words for node in lab.nodes})


def texts(lab: Lab, node: Node) -> Iterator[tuple[str, bytes]]:
    """Yield every place of a node where a leak would stay: logs, Salt's caches, the journal."""
    root = Path(f"/proc/{nodes.leader(lab, node)}/root")
    for folder in SEARCHED:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and "/journal/" not in str(path):
                yield str(path.relative_to(root)), path.read_bytes()
    yield "journal", nodes.call(lab, node, "journalctl", "--all", "--no-pager", "--output=verbose").encode()


def leaks(lab: Lab, needles: Iterable[Needle]) -> list[str]:
    """Return where secrets were found: host, place and the secret's name."""
    wanted = list(needles)
    return [
        f"{node.id}: {place}: {needle.name}"
        for node in lab.nodes
        for place, content in texts(lab, node)
        for needle in wanted
        if needle.within(content)
    ]


def test_highstate_ends_well_under_trace(highstate: list[Traced]) -> None:
    bad = {each.node.id: each.words[-2000:] for each in highstate if each.code}
    assert not bad
    few = [each.node.id for each in highstate if each.starts.count(b"execve(") < 20]
    assert not few, f"hardly a program was seen to start on {few}"


def test_no_program_is_started_with_a_secret(highstate: list[Traced], needles: list[Needle]) -> None:
    found = [f"{each.node.id}: {needle.name}" for each in highstate for needle in needles if needle.within(each.starts)]
    assert not found


def test_no_secret_stays_in_logs_or_caches(lab: Lab, highstate: list[Traced], needles: list[Needle]) -> None:
    assert leaks(lab, needles) == []


def test_no_secret_is_in_what_the_highstate_said(highstate: list[Traced], needles: list[Needle]) -> None:
    found = [f"{each.node.id}: {n.name}" for each in highstate for n in needles if n.within(each.words.encode())]
    assert not found


def test_no_file_with_a_secret_is_open_to_everyone(lab: Lab, highstate: list[Traced]) -> None:
    said = nodes.call(lab, lab.deploy, "salt", "--static", "--out=json", "*", "saltern_facts.facts", '["exposed"]')
    assert re.findall(r'"(/[^"]+)"', said) == []


def test_a_planted_leak_is_found_everywhere(lab: Lab, planted: Needle, tmp_path: Path) -> None:
    """The control: the made-up secret is in an argument, a job, the journal, a log and a cache, and is seen at each."""
    value = next(form.decode() for form in planted.forms if b"+" in form)
    node = lab.node(lab.site.having("controller")[0].id)
    assert node
    planted_at = ("var/log/canary.log", "var/cache/salt/minion/canary")
    script = f"logger {value}; for each in {' '.join(planted_at)}; do echo {value} >/$each; done"
    run = traced(lab, tmp_path, {node.id: ["sh", "-c", script]})[0]
    assert planted.within(run.starts), "an argument"
    assert planted.within(quoted_form(lab, tmp_path, node, value)), "an argument in a URL"
    nodes.call(lab, lab.deploy, "salt", "--static", node.id, "cmd.run", f"echo {value}")
    found = leaks(lab, [planted])
    nodes.call(lab, node, "rm", *(f"/{each}" for each in planted_at))
    places = {each.rsplit(": ", 2)[-2] for each in found}
    assert {"journal", *planted_at} <= places
    assert any(place.startswith("var/cache/salt/master/jobs/") for place in places), places


def quoted_form(lab: Lab, folder: Path, node: Node, value: str) -> bytes:
    """Return the trace of a program that was started with the quoted value."""
    return traced(lab, folder, {node.id: ["true", f"amqp://u:{quote(value, safe='')}@h"]})[0].starts
