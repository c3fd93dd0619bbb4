"""What a site file says of installing machines: the schema of these keys, and what they become.

Keys under ``install`` of the site hold for all hosts that have an ``install`` of their own; a host's own keys win.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Any

from saltern.checks import (
    Check,
    Key,
    Refused,
    Report,
    address,
    boolean,
    device,
    identifier,
    is_mapping,
    listing,
    mac,
    mapping,
    matching,
    network,
    one_of,
    pool,
    record,
    scalar,
)
from saltern.model import LAYOUTS, Bond, DiskHints, Install, Interface, Member, Provisioning
from saltern.siterules import Data, counterpart, dig

FIRMWARES = ("bios", "uefi")
BOND_MODES = (
    "active-backup",
    "802.3ad",
    "balance-xor",
    "balance-rr",
    "broadcast",
    "balance-tlb",
    "balance-alb",
)
UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
MIB = 2**20
TOLERANCE = 0.01
"""How far a disk's size may be from the number on its label."""


def _wwn(value: Any) -> str:
    text = value.lower() if isinstance(value, str) else ""
    found = re.fullmatch(r"(?:0x|naa\.|eui\.)?([0-9a-f]{16}|[0-9a-f]{32})", text)
    if not found:
        raise Refused('16 or 32 hexadecimal digits in quotes, such as "0x5000c500a1b2c3d4"')
    return found[1]


def _size(value: Any) -> tuple[int, int]:
    """Return the least and the most MiB of a disk that is sold as this large."""
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) ?([KMGT]i?B)", value) if isinstance(value, str) else None
    if not found or found[2] not in UNITS or not float(found[1]):
        raise Refused(f'a number and one of {", ".join(UNITS)}, such as "480 GB"')
    size = float(found[1]) * UNITS[found[2]] / MIB
    return math.floor(size * (1 - TOLERANCE)), math.ceil(size * (1 + TOLERANCE))


_serial = matching(r"\S(.*\S)?", "a disk's serial number as `lsblk --nodeps --output NAME,SERIAL` shows it")
_HINTS = {
    "serial": Key(_serial),
    "wwn": Key(scalar(_wwn)),
    "size": Key(scalar(_size)),
    "model": Key(matching(r"\S(.*\S)?", "a disk's model as `lsblk --nodeps --output NAME,MODEL` shows it")),
    "name": Key(
        matching(
            r"(/dev/)?(?!.*//|.*\.\.)[A-Za-z0-9][A-Za-z0-9_.:+/-]*", "nvme0n1, or a link such as /dev/disk/by-path/…"
        )
    ),
}


def _disk(keys: Mapping[str, Key]) -> Check:
    """Make a check for a mapping that says by which of these keys a disk is known."""
    known = record(keys)

    def check(value: Any, path: str, report: Report) -> DiskHints | None:
        if not is_mapping(value, path, report):
            return None
        if not any(value.get(key) is not None for key in keys):
            report.add(path, dict(value), f"at least one of {', '.join(keys)}")
        return DiskHints(**known(value, path, report))

    return check


_KEY_TYPES = r"ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com"
_machine = matching(
    r"[!-~]([ -~]*[!-~])?", "a machine's serial number as `dmidecode --string system-serial-number` shows it"
)
_ssh_key = matching(rf"({_KEY_TYPES}) [A-Za-z0-9+/]{{40,}}={{0,3}}( .+)?", "the line of an OpenSSH public key")
_console = matching(r"tty(S|AMA|USB)?[0-9]{1,2}(,[0-9]{3,7}[noe]?[5-8]?)?", "a console such as ttyS0,115200n8 or tty0")

_SHARED = {
    "profile": Key(identifier),
    "firmware": Key(one_of(*FIRMWARES)),
    "layout": Key(one_of(*LAYOUTS)),
    "disks": Key(listing(_disk(_HINTS), at_least="the hints of at least one disk")),
    "ssh_keys": Key(listing(_ssh_key, at_least="at least one key: root has no password")),
    "console": Key(_console),
}

SITE_INSTALL = record(_SHARED)
HOST_INSTALL = record(
    {
        **_SHARED,
        "mac": Key(mac),
        "serial": Key(_machine),
        "wipe": Key(listing(_disk({key: _HINTS[key] for key in ("serial", "wwn")}))),
    }
)

PROVISIONING = record(
    {
        "cidr": Key(network, required=True),
        "gateway": Key(address),
        "range": Key(pool),
        "dhcp": Key(one_of("server", "proxy"), "server"),
        "relayed": Key(boolean, False),
        "dns": Key(listing(address), ()),
    }
)

BOND = record(
    {
        "mode": Key(one_of(*BOND_MODES), BOND_MODES[0]),
        "members": Key(mapping(device, record({"mac": Key(mac)})), required=True),
    }
)


def boot_network(data: Data) -> str:
    """Return the name of the network from which machines boot: provisioning, or management where there is none."""
    return "management" if dig(data, "networks", "provisioning") is None else "provisioning"


def settings(data: Data, host: Data) -> dict[str, Any]:
    """Return what holds for a host: the site's keys, and the host's own over them."""
    own, site = host.get("install") or {}, data.get("install") or {}
    return {**site, **{key: value for key, value in own.items() if value is not None}}


def plugs(device: Data | None) -> dict[str, Any]:
    """Return the MAC, or None, of each network device that has a plug: the members of a bond, or the one itself."""
    members = dig(device, "bond", "members")
    return {"": dig(device, "mac")} if members is None else {name: dig(each, "mac") for name, each in members.items()}


def boot_mac(host: Data) -> str | None:
    """Return the MAC with which a host boots: the one it names, or its own on the provisioning or management network.

    Of a bond it is the first member's.
    """
    carried: dict[str, Data] = {dig(each, "carries"): each for each in (host.get("interfaces") or {}).values()}
    own = plugs(carried.get("provisioning") or carried.get("management"))
    named: str | None = dig(host, "install", "mac") or next(iter(own.values()), None)
    return named


def provisioning_address(data: Data, host: Data) -> Any:
    """Return a host's address on the provisioning network: its own, or the one with its management address's host part.

    Only hosts that are installed, or that have a device on that network, have one.
    """
    carried = [dig(each, "carries") for each in (host.get("interfaces") or {}).values()]
    if host.get("provisioning_address") is not None:
        return host["provisioning_address"]
    if host.get("install") is None and "provisioning" not in carried:
        return None
    management, own = (dig(data, "networks", name, "cidr") for name in ("management", "provisioning"))
    return counterpart(host, management, own)


def interface(name: str, data: Data) -> Interface:
    """Return a network device."""
    bond = data["bond"]
    members = tuple(Member(each, mac) for each, mac in plugs(data).items()) if bond else ()
    return Interface(name, data["carries"], data["mac"], Bond(bond["mode"], members) if bond else None, data["bridge"])


def install(data: Data, host: Data) -> Install | None:
    """Return how a host is installed; None where somebody else does it."""
    if host.get("install") is None:
        return None
    chosen = {key: value for key, value in settings(data, host).items() if value is not None}
    return Install(**{**chosen, "mac": boot_mac(host)})


def provisioning(data: Data | None) -> Provisioning | None:
    """Return the network from which machines boot, where it is one of its own."""
    if data is None:
        return None
    cidr: IPv4Network = data["cidr"]
    limits = data["range"] and (str(data["range"][0]), str(data["range"][1]))
    gateway = None if data["gateway"] is None else str(data["gateway"])
    dns = tuple(str(each) for each in data["dns"])
    return Provisioning(str(cidr), gateway, limits, data["dhcp"], dns, data["relayed"])
