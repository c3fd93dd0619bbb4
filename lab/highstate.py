"""A state run on the lab's hosts, watched from this machine and recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from saltern import catalogue, highdata, planning, resolve

from lab import nodes, saltconf
from lab.command import LabError
from lab.layout import REPOSITORY, Lab
from lab.progress import Board, shown

PYTHON = "/opt/saltern/salt/bin/python"
DRIVER = f"{nodes.REPOSITORY}/lab/drive.py"


def events(lab: Lab, order: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what the driver on the deploy node reports; raises when it ends before its time."""
    argv = nodes.enter(lab, lab.deploy, PYTHON, "-P", DRIVER, json.dumps(order))
    ended, other = False, []
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1) as process:
        assert process.stdout  # noqa: S101 - it is a pipe
        for line in process.stdout:
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                other.append(line.rstrip())
                continue
            ended = ended or event["event"] == "end"
            if event["event"] == "error":
                raise LabError(event["message"])
            yield event
    if not ended:
        raise LabError("the state run broke off:\n" + "\n".join(other[-15:]))


def run(
    lab: Lab,
    hosts: Iterable[str] | None = None,
    function: str = "state.highstate",
    arguments: Iterable[str] = (),
    keywords: Mapping[str, Any] | None = None,
    ahead: float = 0.0,
) -> Board:
    """Run a state function on hosts, all at once, showing progress; returns how it went, recorded on disk too.

    ``ahead`` are the seconds that the command had taken before: the times that are shown go on from there.
    """
    targets = list(hosts or (node.id for node in lab.nodes))
    board = Board(targets)
    # A run that was broken off on this machine may still be at work on the hosts: wait for it there.
    settings = {"queue": True, "localconfig": saltconf.PROGRESS, **(keywords or {})}
    order = {"function": function, "arguments": list(arguments), "keywords": settings, "hosts": targets}
    with shown(board, sys.stdout, ahead) as view:
        for host, states in outline(lab, targets) if function == "state.highstate" else ():
            board.apply({"event": "outline", "host": host, "states": states})
        for event in events(lab, order):
            view.update(board.apply(event), event)
    record(lab, board, order)
    return board


def outline(lab: Lab, hosts: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each host with the ids of its highstate's states, in their order."""
    services, secrets = catalogue.load(REPOSITORY / "pillar/services"), planning.Placeholders()
    for host in hosts:
        yield host, list(highdata.build(resolve.resolve(lab.site, services, secrets, host).as_data()))


def record(lab: Lab, board: Board, order: Mapping[str, Any]) -> Path:
    """Keep a run's results, readable by root only, for reports on where the time goes."""
    directory = lab.state / "runs"
    directory.mkdir(exist_ok=True, mode=0o700)
    path = directory / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps({**order, **board.record()}, indent=1))
    latest = directory / "latest.json"
    latest.unlink(missing_ok=True)
    latest.symlink_to(path.name)
    return path
