"""The keeper: the process that decides, as root and without a network, what machines are given. A program.

It answers on a Unix socket that only root and the boot service's application may open: one line of JSON in, one out.
It holds nothing in memory that counts: it may be killed and started again at any moment.
"""

from __future__ import annotations

import argparse
import grp
import json
import os
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from saltern import events, masterkeys, trust
from saltern.derive import CA_FILE
from saltern.errors import SalternError, described
from saltern.hoststore import DIRECTORY, NAME, Store
from saltern.masterkeys import Keys
from saltern.trust import Desk, Reply

SOCKET = "/run/saltern-keeper/socket"
LIMIT = 65536
"""Bytes of a question; the largest one carries a key and the last words of an installer."""
PATIENCE = 10.0
"""Seconds that a question may take to come in."""
PAUSE = 30.0
"""Seconds between two looks at what has expired."""

Ask = Callable[..., Reply]


def asks(desk: Desk) -> Mapping[str, tuple[tuple[str, ...], Ask]]:
    """Return what can be asked for: the names of its words, all of them texts, and who answers."""

    def boots(mac: str, address: str) -> Reply:
        return Reply(200, desk.boots(mac, address))

    return {
        "boots": (("mac", "address"), boots),
        "answers": (("host", "address"), desk.answers),
        "exchange": (("host", "address", "token", "serial", "key"), desk.exchange),
        "progress": (("host", "address", "secret", "step", "percent", "words"), desk.progress),
    }


def answered(desk: Desk, line: bytes) -> Reply:
    """Return the reply to one question; whatever comes in, there is one."""
    try:
        question = json.loads(line)
        names, ask = asks(desk)[question.pop("ask")]
        if {*question} != {*names} or not all(isinstance(each, str) and each.isascii() for each in question.values()):
            raise ValueError
        if not NAME.fullmatch(question.get("host", "a")):
            return trust.UNKNOWN
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Reply(400, "not a question\n")
    try:
        return ask(**question)
    except (SalternError, OSError) as error:
        said = described(error) if isinstance(error, OSError) else str(error)
        sys.stderr.write(
            f"{question}: {said}\n" if "token" not in question and "secret" not in question else f"{said}\n"
        )
        return Reply(503, "not now; the deploy host's journal says why\n")


class Handler(socketserver.StreamRequestHandler):
    """Answers one question of one connection."""

    timeout = PATIENCE

    def handle(self) -> None:
        """Read a line, answer it; who sends nothing or goes away gets nothing."""
        try:
            reply = answered(self.server.desk, self.rfile.readline(LIMIT))  # type: ignore[attr-defined]
            self.wfile.write(json.dumps({"status": reply.status, "text": reply.text}).encode() + b"\n")
        except OSError:
            return


class Keeper(socketserver.ThreadingUnixStreamServer):
    """The socket and who answers on it."""

    request_queue_size = 256
    daemon_threads = True

    def __init__(self, path: str, group: str, desk: Desk) -> None:
        """Listen on a path that root and this group may open."""
        self.desk = desk
        Path(path).unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            super().__init__(path, Handler)
        finally:
            os.umask(before)
        os.chown(path, 0, grp.getgrnam(group).gr_gid)
        os.chmod(path, 0o660)


def watch(desk: Desk, over: threading.Event, pause: float = PAUSE) -> None:
    """Let expire what is not used in time, and finish what a kill has left undone, until it is over."""
    while True:
        try:
            desk.sweep()
        except (SalternError, OSError) as error:
            sys.stderr.write(f"{described(error) if isinstance(error, OSError) else error}\n")
        if over.wait(pause):
            return


def arguments(words: Sequence[str]) -> Any:
    """Return what the command line says; each place has its usual one."""
    parser = argparse.ArgumentParser(prog="saltern.keeper")
    parser.add_argument("--socket", default=SOCKET)
    parser.add_argument("--group", required=True)
    parser.add_argument("--hosts", default=DIRECTORY)
    parser.add_argument("--tree", default=trust.TREE)
    parser.add_argument("--authority", default=CA_FILE)
    parser.add_argument("--keys", default=masterkeys.DIRECTORY)
    parser.add_argument("--salt", default=events.PROGRAMS)
    return parser.parse_args(words)


def main(words: Sequence[str]) -> None:
    """Answer until killed."""
    said = arguments(words)
    keys = Keys(Path(said.keys), (f"{said.salt}/salt-key", *masterkeys.FORGET[1:]))
    desk = Desk(Store(said.hosts), keys, Path(said.tree), Path(said.authority), tell=events.Teller(said.salt))
    watcher = threading.Thread(target=watch, args=(desk, threading.Event()), daemon=True)
    with Keeper(said.socket, said.group, desk) as server:
        watcher.start()
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
