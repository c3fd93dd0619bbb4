"""Is this host still reached, and does it reach what it must? Asked before and after a change of its networks.

Every answer is bounded by a few seconds. The probes are what the site file says: the Salt master, the gateway, and
hosts to which a packet of the full size must get in one piece.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from saltern.commands import ENVIRONMENT
from saltern.errors import Problem, Problems

PORTS = (4505, 4506)
"""The Salt master's: it publishes jobs on the first one and takes answers on the second one."""
SECONDS = 2
HEADERS = 28
"""Bytes of an IPv4 header and of that of an ICMP echo (RFC 791, RFC 792)."""
KEYS = ("master", "gateway", "peers", "mtu")

Words = Sequence[str]


def ask(words: Words) -> tuple[int, str]:
    """Run a program for a few seconds; return its exit status and what it said."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=5 * SECONDS, env=ENVIRONMENT)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, done.stdout + done.stderr


@dataclass(frozen=True)
class Probes:
    """What is asked; the addresses of the master (None on its own host), the gateway and the peers, and the MTU."""

    master: str | None = None
    gateway: str | None = None
    peers: tuple[str, ...] = ()
    mtu: int = 1500
    ask: Callable[[Words], tuple[int, str]] = ask
    ports: tuple[int, ...] = PORTS

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Probes:
        """Return the probes that the plan describes; raises Problems for a key that there is not."""
        if unknown := [key for key in data if key not in KEYS]:
            raise Problems(Problem(f"probes:{key}", data[key], f"accepted: {', '.join(KEYS)}") for key in unknown)
        return cls(data.get("master"), data.get("gateway"), tuple(data.get("peers") or ()), int(data.get("mtu", 1500)))

    def judged(self) -> Probes:
        """Return the probes that can be held against a change.

        On the master's own host peers count if one of them is there now: it may be the first host of all.
        """
        if self.master or any(not self._pinged(peer)[0] for peer in self.peers):
            return self
        return replace(self, peers=())

    def failing(self) -> dict[str, str]:
        """Ask everything once; return what does not answer, each with the words of what happened."""
        found = {"salt-master": self._master(), "gateway": self._gateway(), "MTU": self._mtu()}
        return {name: words for name, words in found.items() if words}

    def names(self) -> list[str]:
        """Return what is asked, for people."""
        asked = {
            f"salt-master {self.master}": self.master,
            f"gateway {self.gateway}": self.gateway,
            f"MTU {self.mtu} to a peer": self.peers,
        }
        return [name for name, there in asked.items() if there]

    def _master(self) -> str:
        for port in self.ports if self.master else ():
            try:
                with closing(socket.create_connection((self.master, port), timeout=SECONDS)):
                    pass
            except OSError as error:
                return f"{self.master} port {port}: {error}"
        return ""

    def _gateway(self) -> str:
        """A gateway need not answer pings; one that is there answers the question for its MAC (RFC 826)."""
        if not self.gateway:
            return ""
        if not self._pinged(self.gateway)[0]:
            return ""
        _, said = self.ask(["ip", "-json", "neigh", "show", "to", self.gateway, "nud", "reachable"])
        try:
            reachable = json.loads(said or "[]")
        except ValueError:
            reachable = []
        return "" if reachable else f"{self.gateway}: answers neither a ping nor the question for its MAC"

    def _mtu(self) -> str:
        """One peer is enough: others may be down, or have another MTU until their own change."""
        for peer in self.peers:
            status, said = self._pinged(peer, "-M", "do", "-s", str(self.mtu - HEADERS))
            if not status:
                return ""
        if not self.peers:
            return ""
        words = next((line for line in reversed(said.splitlines()) if "rror" in line or "loss" in line), said.strip())
        return f"no packet of {self.mtu} bytes gets to {', '.join(self.peers)} in one piece: {words.strip()}"

    def _pinged(self, address: str, *options: str) -> tuple[int, str]:
        return self.ask(["ping", "-n", "-c", "1", "-W", str(SECONDS), *options, address])


def wait(probes: Callable[[], dict[str, str]], seconds: float, pause: float = 1.0) -> dict[str, str]:
    """Ask until everything answers or the time is over; return what does not."""
    end = time.monotonic() + seconds
    while (left := probes()) and time.monotonic() < end:
        time.sleep(pause)
    return left
