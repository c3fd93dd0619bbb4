"""Which device an address belongs to, as the kernel has learnt it from the wire (proc_net_arp, arp(7))."""

from __future__ import annotations

from pathlib import Path

TABLE = "/proc/net/arp"
COMPLETE = 0x2
"""The flag of an entry that somebody has answered for (``ATF_COM``)."""


def mac_of(address: str, table: str | None = None) -> str:
    """Return the MAC of a neighbour in lower case, or "": not on this network, or two devices claim the address."""
    lines = (Path(TABLE).read_text() if table is None else table).splitlines()[1:]
    found = {
        words[3].lower()
        for words in map(str.split, lines)
        if len(words) >= 6 and words[0] == address and int(words[2], 16) & COMPLETE
    }
    return found.pop() if len(found) == 1 else ""
