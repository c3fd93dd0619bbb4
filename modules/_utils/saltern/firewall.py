"""The host firewall as an nftables ruleset: a table of our own, closed but for what the host's services need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

METADATA = "169.254.169.254"


def ruleset(management: str, openings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the lines of nftables.conf that replace the table ``inet saltern`` in one transaction.

    Tables of others (Neutron's, libvirt's) are left alone. ``openings`` are mappings with ``service``, ``ports``,
    ``proto`` and ``sources`` (addresses or CIDRs; empty: everyone). Source: nft(8).
    """
    return [
        "#!/usr/sbin/nft -f",
        f"# The management network is {management}.",
        "table inet saltern",
        "delete table inet saltern",
        "table inet saltern {",
        "    chain input {",
        "        type filter hook input priority filter; policy drop;",
        "        ct state established,related accept",
        "        ct state invalid drop",
        '        iifname "lo" accept',
        "        meta l4proto { icmp, ipv6-icmp } accept",
        *(f"        {rule(opening)}" for opening in openings),
        "    }",
        "    chain forward {",
        "        type filter hook forward priority filter; policy accept;",
        f"        ip daddr {METADATA} drop",
        "    }",
        "}",
    ]


def rule(opening: Mapping[str, Any]) -> str:
    """Return the rule that lets one service in."""
    sources = f"ip saddr {_set(opening['sources'])} " if opening["sources"] else ""
    return f"{sources}{opening['proto']} dport {_set(opening['ports'])} accept comment \"{opening['service']}\""


def _set(values: Sequence[Any]) -> str:
    return "{ " + ", ".join(str(each) for each in values) + " }"
