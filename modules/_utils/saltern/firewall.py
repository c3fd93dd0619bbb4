"""The host firewall as an nftables ruleset: a table of our own, closed but for what the host's services need."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from saltern.errors import Problem, Problems

Opening = Mapping[str, Any]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

METADATA = "169.254.169.254"
WORD = re.compile(r"[A-Za-z0-9._-]{1,64}")
PROTOCOLS = ("tcp", "udp")
SSH: Opening = {"service": "ssh", "ports": [22], "proto": "tcp"}

ERRORS = "destination-unreachable, time-exceeded, parameter-problem"
ICMP = f"echo-request, {ERRORS}"
# Without neighbour discovery and multicast listener reports there is no IPv6 at all; packet-too-big is its path MTU.
NEIGHBOURS = "nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, mld-listener-query"
ICMPV6 = f"echo-request, {ERRORS}, packet-too-big, {NEIGHBOURS}"


def ruleset(management: str, openings: Iterable[Opening]) -> list[str]:
    """Return the lines of nftables.conf that replace the table ``inet saltern`` in one transaction.

    Tables of others (Neutron's, libvirt's) are left alone. ``openings`` are mappings with ``service``, ``ports``,
    ``proto``, ``sources`` (addresses or CIDRs; empty: everyone) and, if it is to hold on one device only,
    ``interface``. With ``replies`` it lets in what comes *from* the ports on connections that are already there: those
    that were made before the rules are unknown to connection tracking, and silent until this host sends. Where none of
    them is about SSH it is open from the management network: nobody locks himself out.
    Raises Problems with everything that is no port, protocol or address. Reference: nft(8).
    """
    wanted = [*openings]
    if not any(22 in opening["ports"] for opening in wanted):
        wanted.insert(0, {**SSH, "sources": [management]})
    problems = [problem for index, opening in enumerate(wanted) for problem in _mistakes(f"openings:{index}", opening)]
    if problems:
        raise Problems(problems)
    return [
        "#!/usr/sbin/nft -f",
        # Made first, so that deleting it works on the first run too; nft applies a file as one transaction.
        "table inet saltern",
        "delete table inet saltern",
        "table inet saltern {",
        *_chain("input", "drop", [*_basics(), *(line for opening in wanted for line in rules(opening))]),
        *_chain("forward", "accept", [f'ip daddr {METADATA} drop comment "metadata never leaves a host"']),
        "}",
    ]


def rules(opening: Opening) -> list[str]:
    """Return the rules that let one service in: one for everyone, or one for each IP version of its sources."""
    device = f'iifname "{opening["interface"]}" ' if opening.get("interface") else ""
    # A segment that only acknowledges opens no connection.
    match = "sport {} tcp flags & (syn | ack) == ack" if opening.get("replies") else "dport {}"
    port = f'{opening["proto"]} {match.format(_ports(opening["ports"]))} accept comment "{opening["service"]}"'
    return [f"{device}{source}{port}" for source in _sources(tuple(opening["sources"]))]


def _basics() -> list[str]:
    """Return the rules that every host has."""
    return [
        "ct state established,related accept",
        'iifname "lo" accept',
        "ct state invalid drop",
        f"icmp type {{ {ICMP} }} accept",
        f"icmpv6 type {{ {ICMPV6} }} accept",
    ]


def _chain(name: str, policy: str, lines: Iterable[str]) -> list[str]:
    """Return a base chain at its hook."""
    hook = f"type filter hook {name} priority filter; policy {policy};"
    return [f"    chain {name} {{", *(f"        {line}" for line in [hook, *lines]), "    }"]


@lru_cache(maxsize=64)
def _sources(sources: tuple[str, ...]) -> tuple[str, ...]:
    """Return a match for each IP version; a site has few different sets of sources, and many hosts."""
    return tuple(_matches(sources))


def _matches(sources: Iterable[str]) -> Iterator[str]:
    """Yield a match for each IP version; overlapping networks are merged, which nft would refuse in one set."""
    networks: list[Network] = [ipaddress.ip_network(source) for source in sources]
    if not networks:
        yield ""
    four = ipaddress.collapse_addresses(each for each in networks if isinstance(each, ipaddress.IPv4Network))
    six = ipaddress.collapse_addresses(each for each in networks if isinstance(each, ipaddress.IPv6Network))
    for family, found in (("ip", [*four]), ("ip6", [*six])):
        if found:
            yield f"{family} saddr {{ {', '.join(_shown(each) for each in found)} }} "


def _shown(network: Network) -> str:
    """Return a network as nft itself prints it: a single address without its length."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _ports(ports: Iterable[Any]) -> str:
    """Return ports and ranges as a set, in the order of their numbers, each once."""
    ordered = sorted({_range(port) for port in ports})
    return "{ " + ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in ordered) + " }"


def _range(port: Any) -> tuple[int, int]:
    """Return the first and the last port of ``80`` or ``"49152-49215"``; raise ValueError for anything else."""
    low, _, high = str(port).partition("-")
    bounds = int(low), int(high or low)
    if not 0 < bounds[0] <= bounds[1] <= 65535:
        raise ValueError(port)
    return bounds


def _mistakes(path: str, opening: Opening) -> Iterator[Problem]:
    """Yield what nft would not understand, and what could end up as a rule of its own."""
    if opening["proto"] not in PROTOCOLS:
        yield Problem(f"{path}:proto", opening["proto"], f"accepted: {', '.join(PROTOCOLS)}")
    for key in ("service", "interface"):
        if key in opening and not WORD.fullmatch(str(opening[key])):
            yield Problem(f"{path}:{key}", opening[key], "accepted: letters, digits, '-', '_' and '.'")
    if not opening["ports"]:
        yield Problem(f"{path}:ports", opening["ports"], "accepted: one or more ports")
    for port in opening["ports"]:
        try:
            _range(port)
        except ValueError:
            yield Problem(f"{path}:ports", port, "accepted: 1 to 65535, or a range like 5900-6923")
    for source in _not_networks(tuple(opening["sources"])):
        yield Problem(f"{path}:sources", source, "accepted: an address, or a network like 10.20.0.0/24")


@lru_cache(maxsize=64)
def _not_networks(sources: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the sources that are no network."""
    return tuple(source for source in sources if not _is_network(source))


def _is_network(source: Any) -> bool:
    try:
        ipaddress.ip_network(source)
    except ValueError:
        return False
    return True
