"""What is kept of a failed step: each server's state and console, and what the hosts' services logged meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from openstack.exceptions import SDKException

from smoke import guest
from smoke.cloud import Cloud

#: The level in a line of oslo.log (its default format), and of Open vSwitch.
TROUBLE = r"[ |](ERROR|CRITICAL|ERR|EMER)[ |]"
LINES = 200
SHOWN = 5


def keep(cloud: Cloud, step: str, since: float) -> str:
    """Write the evidence below the log folder; return for the report where it is, and the first lines of trouble."""
    folder = cloud.options.logs / step.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    consoles = dict(keep_consoles(cloud, folder))
    troubles = {host: lines for host, lines in logged(since).items() if lines}
    for host, lines in troubles.items():
        (folder / f"log-of-{host}.txt").write_text("\n".join([*lines, ""]))
    shown = [f"\n    {name}: {words}" for name, words in consoles.items() if words]
    shown += [f"\n    {host}: {line}" for host, lines in sorted(troubles.items()) for line in lines[:SHOWN]]
    kept = [*(f"console of {name}" for name in consoles), *(f"log of {host}" for host in sorted(troubles))]
    return f"; {', '.join(kept)} in {folder}{''.join(shown)}" if kept else ""


def keep_consoles(cloud: Cloud, folder: Path) -> Iterator[tuple[str, str]]:
    """Write every server's console and state into the folder; yield the servers' names and what their pings came to."""
    for name in cloud.servers:
        with suppress(SDKException):
            server = cloud.server(name)
            words = f"{server.status} task={server.task_state} host={server.compute_host} fault={server.fault}\n"
            console = cloud.console(name)
            (folder / f"{name}.txt").write_text(words + console)
            yield name, guest.heard(console)


def logged(since: float) -> Mapping[str, list[str]]:
    """Return host → what its services logged as errors since a time (seconds of the epoch), the newest lines of it.

    journalctl(1): ``--grep``, ``--since=@SECONDS``; with ``--lines`` the newest comes first.
    """
    from salt.client import LocalClient

    argv = ["journalctl", "--quiet", "--no-pager", "--output=cat", f"--since=@{since:.0f}", f"--lines={LINES}"]
    words = " ".join([*argv, f"'--grep={TROUBLE}'"])
    answers = LocalClient().cmd("*", "cmd.run_stdout", [words], timeout=30, kwarg={"ignore_retcode": True})
    return {
        host: [each for each in reversed(answer.splitlines()) if each] for host, answer in answers.items() if answer
    }
