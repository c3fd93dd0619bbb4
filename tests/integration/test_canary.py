"""No secret of the cloud leaks from the first highstate: not into an argument, a log, or a cache.

The lab is one of its own with empty disks, for only its first highstate runs the commands that handle secrets for the
first time: schemas, cells, keystone's bootstrap, users. strace, outside the nodes, sees each execve of everything in
all of them, of what the minions run and of what systemd starts; that nobody was missed is checked before and after.
(The secrets themselves are there already: the master's runner has made them, in its own process.) A planted leak of a
made-up secret must be found at each place that is searched.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from saltern import catalogue, resolve

from lab import master, nodes, sites
from lab.highstate import PYTHON
from lab.layout import REPOSITORY, Lab, Node
from tests import tracing
from tests.lab_tools import Answer, own_lab, salt

LAB = sites.load(os.environ.get("SALTERN_SITE", "lab"))
SHORTEST = 8
SEARCHED = ("var/log", "var/cache/salt")
OPEN = ("/srv/canary", "/var/cache/canary", "/var/log/canary", "/var/tmp/canary")
"""Where files that everyone may read are planted."""
PATIENCE = 5400
"""Seconds for a highstate each of whose system calls is stopped at twice; without a tracer it needs a few minutes."""
HANDLERS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "controller": (
        ("keystone-manage", "fernet_setup"),
        ("keystone-manage", "credential_setup"),
        ("keystone-manage", "bootstrap"),
        ("nova-manage", "cell_v2", "map_cell0"),
        ("nova-manage", "cell_v2", "create_cell"),
        ("mariadbd",),
        ("rabbitmq-server",),
        ("apt-get",),
    ),
    "compute": (("nova-compute",), ("ovs-vsctl",), ("apt-get",)),
    "deploy": (("apt-get",),),
}
"""By role what must have been seen to start, beside the schemas' commands: those that are given secrets, and some that
systemd starts."""

pytestmark = pytest.mark.slow


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
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of its own on which no highstate has run."""
    assert shutil.which("strace"), "strace is not installed; `./saltern test` installs it"
    with own_lab(LAB, tmp_path_factory.mktemp("canary"), "canary") as found:
        yield found


@pytest.fixture(scope="module")
def known(lab: Lab) -> dict[str, str]:
    """All secrets of the cloud, by name."""
    script = "import json, saltern.secrets as s; print(json.dumps(s.read('/etc/saltern/secrets.yaml')))"
    return dict(on_deploy(lab, script))


def on_deploy(lab: Lab, script: str) -> Any:
    """Return what a script prints as JSON that runs on the deploy node with our modules."""
    path = f"PYTHONPATH={nodes.REPOSITORY}/modules/_utils"
    return json.loads(nodes.call(lab, lab.deploy, "env", path, PYTHON, "-B", "-c", script))


@pytest.fixture(scope="module")
def needles(known: dict[str, str]) -> list[Needle]:
    """What is looked for."""
    found = [Needle.of(name, value) for name, value in known.items() if len(value) >= SHORTEST]
    assert len(found) > 10
    return found


def plan(lab: Lab, known: Mapping[str, str], host: str) -> dict[str, Any]:
    """Return a host's plan with its secrets."""
    return resolve.resolve(lab.site, catalogue.load(REPOSITORY / "pillar/services"), known, host).as_data()


@contextmanager
def traced(lab: Lab, folder: Path) -> Iterator[dict[str, tracing.Trace]]:
    """Watch every process of every node, and all that they start."""

    def one(node: Node) -> Any:
        init = nodes.leader(lab, node)
        assert init, f"{node.id} does not run"
        return tracing.watching(folder / node.id, lambda: tracing.of_node(init))

    with ExitStack() as stack:
        yield {node.id: stack.enter_context(one(node)) for node in lab.nodes}


@dataclass(frozen=True)
class First:
    """The first highstate: what was said of it, by host what was started, and who was not watched at its end."""

    answer: Answer
    seen: Mapping[str, bytes]
    missed: Mapping[str, list[str]]


@pytest.fixture(scope="module")
def first(lab: Lab, known: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> First:
    """The first highstate of all hosts, as an operator runs it, with every process of every node watched."""
    # A minion under a tracer takes its time to say that it is still at work.
    master.install(lab, lab.deploy, "/etc/salt/master.d/canary.conf", "gather_job_timeout: 300\n")
    hosts = [node.id for node in lab.nodes]
    with traced(lab, tmp_path_factory.mktemp("traces") / "first") as traces:
        answer = salt(lab, hosts, "state.highstate", timeout=PATIENCE)
        missed = {host: trace.described(trace.missed()) for host, trace in traces.items()}
    return First(answer, {host: trace.seen() for host, trace in traces.items()}, missed)


def texts(lab: Lab, node: Node) -> Iterator[tuple[str, bytes]]:
    """Yield every place of a node where a leak would stay: logs, Salt's caches, the journal."""
    root = Path(f"/proc/{nodes.leader(lab, node)}/root")
    for folder in SEARCHED:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and "/journal/" not in str(path):
                yield str(path.relative_to(root)), path.read_bytes()
    yield "journal", nodes.call(lab, node, "journalctl", "--all", "--no-pager", "--output=verbose").encode()


def leaks(lab: Lab, needles: Iterable[Needle]) -> list[tuple[str, str, str]]:
    """Return where secrets were found: host, place and the secret's name."""
    wanted = list(needles)
    return [
        (node.id, place, needle.name)
        for node in lab.nodes
        for place, content in texts(lab, node)
        for needle in wanted
        if needle.within(content)
    ]


def test_the_first_highstate_ends_well_under_trace(lab: Lab, first: First) -> None:
    assert first.answer.code == 0, first.answer.words[-5000:]
    for node in lab.nodes:
        assert first.answer.not_true(node.id) == {}
        assert first.answer.changes(node.id), f"{node.id}: nothing changed: this was not its first highstate"


def test_nobody_has_escaped_the_tracer(lab: Lab, first: First) -> None:
    assert first.missed == {node.id: [] for node in lab.nodes}


def test_commands_that_handle_secrets_were_traced(lab: Lab, known: dict[str, str], first: First) -> None:
    for node in lab.nodes:
        steps = [step for part in plan(lab, known, node.id)["services"].values() for step in part.get("steps") or ()]
        wanted = [tuple(step["arguments"]["command"]) for step in steps if step["state"] == "schema.current"]
        if "controller" in node.host.roles:
            tools = {"keystone-manage", "glance-manage", "placement-manage", "nova-manage", "neutron-db-manage"}
            assert {words[0] for words in wanted} >= tools
        wanted += [words for role in node.host.roles for words in HANDLERS[role]]
        unseen = [" ".join(words) for words in wanted if not tracing.started(first.seen[node.id], *words)]
        assert unseen == [], f"{node.id}: not seen to start"


def test_no_program_is_started_with_a_secret(first: First, needles: list[Needle]) -> None:
    found = [f"{host}: {needle.name}" for host, seen in first.seen.items() for needle in needles if needle.within(seen)]
    assert not found


def test_no_secret_stays_in_logs_or_caches(lab: Lab, first: First, needles: list[Needle]) -> None:
    assert leaks(lab, needles) == []


def test_no_secret_is_in_what_the_highstate_said(first: First, needles: list[Needle]) -> None:
    assert [needle.name for needle in needles if needle.within(first.answer.words.encode())] == []


def exposed(lab: Lab) -> dict[str, Any]:
    """Return host → what it says of files that everyone may read and that hold one of its secrets."""
    answer = salt(lab, [node.id for node in lab.nodes], "saltern_facts.facts", '["exposed"]')
    assert answer.code == 0, answer.words
    return {host: said["exposed"] if isinstance(said, dict) else said for host, said in answer.hosts.items()}


def exposed_of_all(lab: Lab) -> Any:
    """Return the same of the deploy node for all secrets of the cloud, which it reads itself."""
    script = "from saltern import host_facts as h, secrets as s; import json; print(json.dumps(h.exposed({'secrets': "
    return on_deploy(lab, script + "s.read('/etc/saltern/secrets.yaml')})))")


def test_no_file_with_a_secret_is_open_to_everyone(lab: Lab, first: First) -> None:
    assert exposed(lab) == {node.id: [] for node in lab.nodes}
    assert exposed_of_all(lab) == []


def test_a_file_with_a_secret_that_is_open_is_found(lab: Lab, known: dict[str, str], first: First) -> None:
    """The control of the test above, with real secrets: each host is given one of its own, and they go at once."""
    others = {name: value for name, value in known.items() if name not in plan(lab, known, lab.deploy.id)["secrets"]}
    foreign = next((value for value in others.values() if "\n" not in value), None)
    try:
        for node in lab.nodes:
            own = next(value for value in plan(lab, known, node.id)["secrets"].values() if "\n" not in value)
            for path in OPEN:
                master.install(lab, node, path, f"password = {own}\n", "0644")
        found = exposed(lab)
        for path in OPEN if foreign else ():
            master.install(lab, lab.deploy, path, f"password = {foreign}\n", "0644")
        of_all = exposed_of_all(lab)
    finally:
        for node in lab.nodes:
            nodes.call(lab, node, "rm", "-f", *OPEN)
    assert found == {node.id: list(OPEN) for node in lab.nodes}
    assert of_all == list(OPEN)


PLANTED = ("run by the minion", "started by systemd", "in a URL", "journal", "log", "master's cache", "highstate cache")


@pytest.fixture
def planted() -> dict[str, str]:
    """Made-up secrets, one for each way in which one is leaked on purpose."""
    return {way: f"canary+{secrets.token_hex(16)}" for way in PLANTED}


def test_a_planted_leak_is_found_everywhere(lab: Lab, first: First, planted: dict[str, str], tmp_path: Path) -> None:
    """The control: made-up secrets in arguments, a job, the journal, a log and caches are each seen there."""
    node = lab.node(lab.site.having("controller")[0].id)
    assert node
    with traced(lab, tmp_path / "traces") as traces:
        assert salt(lab, [node.id], "cmd.run", f"true {planted['run by the minion']}").code == 0
        assert salt(lab, [node.id], "cmd.run", f"true amqp://u:{quote(planted['in a URL'], safe='')}@h").code == 0
        nodes.call(lab, node, "systemd-run", "--wait", "--quiet", "--collect", "true", planted["started by systemd"])
    seen = traces[node.id].seen()
    needles = {way: Needle.of(way, value) for way, value in planted.items()}
    unseen = [way for way in ("run by the minion", "in a URL", "started by systemd") if not needles[way].within(seen)]
    assert unseen == []
    nodes.call(lab, node, "logger", planted["journal"])
    master.install(lab, node, "/var/log/canary.log", planted["log"])
    master.install(lab, lab.deploy, "/var/cache/salt/master/minions/canary/data.p", planted["master's cache"])
    into_highstate_cache(lab, node, planted["highstate cache"])
    found = leaks(lab, needles.values())
    assert {
        (node.id, "journal", "journal"),
        (node.id, "var/log/canary.log", "log"),
        (lab.deploy.id, "var/cache/salt/master/minions/canary/data.p", "master's cache"),
        (node.id, "var/cache/salt/minion/highstate.cache.p", "highstate cache"),
    } <= set(found)
    jobs = [each for each in found if each[1].startswith("var/cache/salt/master/jobs/")]
    assert {"run by the minion", "in a URL"} <= {way for _, _, way in jobs}


def into_highstate_cache(lab: Lab, node: Node, value: str) -> None:
    """Have Salt itself keep a value that stands in a state's argument."""
    state = json.dumps({"canary": {"test.succeed_without_changes": [{"name": value}]}})
    master.install(lab, node, "/root/canary/canary.sls", state)
    nodes.call(lab, node, "salt-call", "--local", "--file-root=/root/canary", "state.sls", "canary")
