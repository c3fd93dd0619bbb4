"""What the test guest says on its serial console, and the user data that makes it talk."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

READY = re.compile(r"SALTERN-GUEST ready ip=(\S+) instance-id=(\S+) userdata=(\S+) hostname=(\S+) uptime=(\S+)")
HOST_KEY = re.compile(r"SALTERN-GUEST hostkey (ssh-ed25519 \S+)")
GATEWAY = re.compile(r"SALTERN-GUEST gateway (\S+)")
PING = re.compile(r"SALTERN-GUEST ping (\S+) (\d+) (ok|lost)")

APART = 5000
"""Guests that boot alike would ping under the same numbers (a ping's is its process id), which source NAT in Open
vSwitch's user-space datapath cannot tell apart: their process ids are kept apart, so many for each."""

SCRIPT = """#!/bin/sh
echo {first} >/proc/sys/kernel/ns_last_pid
say() {{ echo "SALTERN-GUEST $*"; }}
say gateway $(ip route show default | awk '{{ print $3; exit }}')
round=0
while :; do
    round=$((round + 1))
    for peer in {peers}; do
        heard=lost
        ping -c 1 -W 1 "$peer" >/dev/null 2>&1 && heard=ok
        say ping "$peer" $round $heard
    done
    sleep 1
done
"""


def user_data(peers: Iterable[str], turn: int = 0) -> str:
    """Return a script that tells the guest's gateway and then pings its peers for ever, a line for each answer.

    ``turn`` counts the guests that are up together.
    """
    return SCRIPT.format(peers=" ".join(peers) or "127.0.0.1", first=APART * (turn % 6 + 1))


def digest(text: str) -> str:
    """Return what the guest reports as ``userdata`` when this text reached it unchanged."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Ready:
    """The guest's own account of how it came up."""

    address: str
    instance: str
    user_data: str
    hostname: str
    uptime: float


def ready(console: str) -> Ready | None:
    """Return the last "ready" line of a console, or None."""
    found = READY.findall(console)
    if not found:
        return None
    address, instance, data, hostname, uptime = found[-1]
    return Ready(address, instance, data, hostname, float(uptime))


def told(pattern: re.Pattern[str], console: str) -> str | None:
    """Return the last thing that a guest told by a pattern of one group, or None."""
    found = pattern.findall(console)
    return found[-1] if found else None


def pings(console: str, peer: str) -> dict[int, bool]:
    """Return round → answered, for one peer; the rounds go on counting as long as the guest lives."""
    return {int(number): word == "ok" for address, number, word in PING.findall(console) if address == peer}


def newest(console: str) -> str:
    """Return what a guest's last pings came to, peer by peer: answered or lost, and since which round."""
    words = []
    for peer in dict.fromkeys(address for address, _, _ in PING.findall(console)):
        answers = pings(console, peer)
        end = max(answers)
        turn = next((number for number in sorted(answers, reverse=True) if answers[number] != answers[end]), 0)
        words.append(f"{peer} {'answered' if answers[end] else 'lost'} in rounds {turn + 1} to {end}")
    return ", ".join(words)


def last(answers: dict[int, bool], count: int) -> list[bool]:
    """Return the last answers, oldest first."""
    return [answers[number] for number in sorted(answers)[-count:]]
