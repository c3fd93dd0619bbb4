"""What is kept of a failed step: each server's state and console, what the hosts' services logged, pings on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from smoke import guest
from smoke.cloud import REFUSALS, Cloud

#: The level in a line of oslo.log (its default format), and of Open vSwitch.
TROUBLE = r"[ |](ERROR|CRITICAL|ERR|EMER)[ |]"
LINES = 200
SHOWN = 5
WIDTH = 400


def keep(cloud: Cloud, step: str, since: float) -> str:
    """Write the evidence below the log folder; return for the report where it is, and the first lines of trouble."""
    folder = cloud.options.logs / step.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    consoles = dict(keep_consoles(cloud, folder))
    troubles = logged(since)
    for host, lines in troubles.items():
        (folder / f"log-of-{host}.txt").write_text("\n".join([*lines, ""]))
    flows = switched()
    for host, lines in flows.items():
        (folder / f"pings-in-{host}.txt").write_text("\n".join([*lines, ""]))
    shown = [f"\n    {name}: {words}" for name, words in consoles.items() if words]
    for found in (troubles, flows):
        shown += [f"\n    {host}: {line[:WIDTH]}" for host, lines in sorted(found.items()) for line in lines[:SHOWN]]
    kept = [f"console of {name}" for name in consoles]
    kept += [f"log of {host}" for host in sorted(troubles)] + [f"pings in {host}" for host in sorted(flows)]
    return f"; {', '.join(kept)} in {folder}{''.join(shown)}" if kept else ""


def keep_consoles(cloud: Cloud, folder: Path) -> Iterator[tuple[str, str]]:
    """Write every server's console and state into the folder; yield the servers' names and what their pings came to."""
    for name in cloud.servers:
        with suppress(*REFUSALS):
            server = cloud.server(name)
            words = f"{server.status} task={server.task_state} host={server.compute_host} fault={server.fault}\n"
            console = cloud.console(name)
            (folder / f"{name}.txt").write_text(words + console)
            yield name, guest.newest(console)


def asked(command: str) -> dict[str, list[str]]:
    """Return host → the lines that a command printed there, of the hosts where it printed any."""
    from salt.client import LocalClient

    answers = LocalClient().cmd("*", "cmd.run_stdout", [command], timeout=30, kwarg={"ignore_retcode": True})
    lines = {host: [each for each in str(answer).splitlines() if each] for host, answer in answers.items()}
    return {host: each for host, each in lines.items() if each}


def switched() -> dict[str, list[str]]:
    """Return host → what its switch does with pings at this moment: the flows of ICMP in Open vSwitch's datapath.

    ovs-vswitchd(8), ``dpctl/dump-flows``. Those that drop come first.
    """
    flows = {
        host: sorted((each for each in lines if "proto=1," in each), key=lambda each: "actions:drop" not in each)
        for host, lines in asked("ovs-appctl dpctl/dump-flows --names").items()
    }
    return {host: lines for host, lines in flows.items() if lines}


def logged(since: float) -> dict[str, list[str]]:
    """Return host → what its services logged as errors since a time (seconds of the epoch), the newest lines of it.

    journalctl(1): ``--grep``, ``--since=@SECONDS``; with ``--lines`` the newest comes first.
    """
    argv = ["journalctl", "--quiet", "--no-pager", "--output=cat", f"--since=@{since:.0f}", f"--lines={LINES}"]
    return {host: lines[::-1] for host, lines in asked(" ".join([*argv, f"'--grep={TROUBLE}'"])).items()}
