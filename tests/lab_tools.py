"""What tests of a running lab share: Salt's command line, the master's site file, what runs in the nodes."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from saltern import catalogue, highdata, resolve
from saltern.model import Site

from frontdoor import testing
from lab import down, master, nodes, saltconf, sites, up
from lab.layout import Lab
from lab.units import wait
from tests.sample import SERVICES, Recognisable

States = dict[str, dict[str, Any]]
Slip = Mapping[str, Any] | tuple[str, str]


@dataclass(frozen=True)
class Answer:
    """What `salt` said: its exit code, each host's return, all its words, and the seconds that it took."""

    code: int
    hosts: Mapping[str, Any]
    words: str
    seconds: float

    def states(self, host: str) -> States:
        """Return a host's states by their identifiers; a run that did not start is an assertion's business."""
        found = self.hosts.get(host)
        assert isinstance(found, dict), f"{host}: no state ran: {found!r}\n{self.words[-2000:]}"
        return {each["__id__"]: each for each in sorted(found.values(), key=lambda each: each["__run_num__"])}

    def changes(self, host: str) -> dict[str, Any]:
        """Return what a host's states changed, or would change, by identifier."""
        return {name: each["changes"] for name, each in self.states(host).items() if each["changes"]}

    def not_true(self, host: str) -> dict[str, str]:
        """Return the states of a host whose result is not True, with their comments."""
        return {name: each["comment"] for name, each in self.states(host).items() if each["result"] is not True}


def salt(lab: Lab, hosts: Iterable[str], *words: str, timeout: float = 900) -> Answer:
    """Run a job by the master's command line, as an operator does (`--static` would swallow the return codes)."""
    argv = ["salt", "--out=json", "--log-level=error", "-L", ",".join(hosts), *words]
    began = time.monotonic()
    done = subprocess.run(
        nodes.enter(lab, lab.deploy, *argv), capture_output=True, text=True, timeout=timeout, check=False
    )
    seconds = time.monotonic() - began
    found = {host: value for each in documents(done.stdout) for host, value in each.items()}
    return Answer(done.returncode, found, done.stdout + done.stderr, seconds)


def documents(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a text that is one after the other."""
    decoder, position = json.JSONDecoder(), text.find("{")
    while position >= 0:
        found, end = decoder.raw_decode(text, position)
        yield found
        position = text.find("{", end)


def nothing_to_do(answer: Answer, hosts: Iterable[str]) -> None:
    """Assert that the states of hosts all held already."""
    assert answer.code == 0, f"exit code {answer.code}: {answer.words[-3000:]}"
    for host in hosts:
        assert answer.states(host), f"{host}: no states"
        assert answer.not_true(host) == {}
        assert answer.changes(host) == {}


@contextmanager
def own_lab(
    like: Lab, folder: Path, name: str, hosts: Mapping[str, Any] | None = None, booted: bool = True
) -> Iterator[Lab]:
    """Give a lab like another one under a name of its own, with empty disks and more hosts; in the end it is gone."""
    data = yaml.safe_load(like.source.read_text())
    data |= {"name": name, "hosts": {**data["hosts"], **(hosts or {})}}
    copy = folder / "site.yaml"
    copy.write_text(yaml.safe_dump(data, sort_keys=False))
    found = sites.load(str(copy))
    testing.claim(found)
    try:
        if booted:
            up.boot(found, up.Steps())
        yield found
    finally:
        down.down(found, purge=True)


def site_text(lab: Lab) -> str:
    """Return the master's site file."""
    return nodes.call(lab, lab.deploy, "cat", saltconf.SITE)


def write_site(lab: Lab, data: Mapping[str, Any] | str) -> None:
    """Replace the master's site file."""
    text = data if isinstance(data, str) else yaml.safe_dump(dict(data), sort_keys=False)
    master.install(lab, lab.deploy, saltconf.SITE, text)


def override(data: dict[str, Any], service: str, path: str, section: str, **options: Any) -> None:
    """Set options of a service's file in a site file."""
    files = data.setdefault("services", {}).setdefault(service, {}).setdefault("files", {})
    files.setdefault(path, {}).setdefault(section, {}).update(options)


def mislaid(model: Site, host: str, service: str, path: str, slip: Slip) -> Any:
    """Return settings for an override that brings a slip into a file: they themselves, or a file's lines with a word
    in place of another one.
    """
    if isinstance(slip, Mapping):
        return dict(slip)
    lines = plan(model, host)["services"][service]["files"][path]["settings"]
    return [line.replace(*slip) for line in lines]


def plan(model: Site, host: str) -> dict[str, Any]:
    """Return a host's plan as its minion has it, but for the secrets."""
    return resolve.resolve(model, catalogue.load(SERVICES), Recognisable(), host).as_data()


def state_ids(model: Site, host: str) -> dict[str, str]:
    """Return the states of a host's highstate in their order: identifier → ``module.function``."""
    return {name: next(iter(body)) for name, body in highdata.build(plan(model, host)).items()}


def starts(lab: Lab, host: str) -> dict[str, str]:
    """Return, for each unit of a host's plan, what changes whenever it is started."""
    units = {unit for data in plan(lab.site, host)["services"].values() for unit in data.get("units", {})}
    show = ("systemctl", "show", "--property=Id,InvocationID,MainPID", *sorted(units))
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in show_blocks(lab, host, show)]
    return {block["Id"]: f"{block['InvocationID']} {block.get('MainPID')}" for block in blocks}


def show_blocks(lab: Lab, host: str, command: tuple[str, ...]) -> list[str]:
    """Return the blocks that `systemctl show` prints, one for each unit."""
    node = lab.node(host)
    assert node
    return [block for block in nodes.call(lab, node, *command).strip().split("\n\n") if block]


def file_of(lab: Lab, host: str, path: str) -> bytes:
    """Return a file of a node."""
    node = lab.node(host)
    assert node
    return Path(f"/proc/{nodes.leader(lab, node)}/root{path}").read_bytes()


def answering(lab: Lab, hosts: Iterable[str], seconds: float = 120) -> None:
    """Wait until the minions of hosts answer."""
    wanted = set(hosts)
    wait(lambda: wanted <= saltconf.answering(lab), seconds, f"the minions of {', '.join(sorted(wanted))}", pause=1)
