"""What is to become of a host's networks by the site file, and other people's files that are in the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from saltern import networkd
from saltern.differences import differences
from saltern.errors import Problem
from saltern.model import Host, Site
from saltern.network_change import KINDS, MARK

PEERS = 5
"""How many hosts are asked for a packet of the full size."""
DIRECTORIES = (
    "/etc/systemd/network",
    "/run/systemd/network",
    "/usr/local/lib/systemd/network",
    "/usr/lib/systemd/network",
)
"""Where systemd-networkd reads files; of two with one name the first directory's counts (systemd.network(5))."""
IFUPDOWN = ("/etc/network/interfaces", "/etc/network/interfaces.d")
MADE = {"ether", "vlan", "bond", "bridge"}
"""What Type= may say of a device that a file of ours makes."""

Files = Mapping[str, Mapping[str, str]]
"""The sections [Match] of files, by the files' names."""


def probes(site: Site, host: Host) -> dict[str, Any]:
    """Return what must answer: the master, the gateway, and a few hosts of the management network, the master first."""
    masters = site.having("deploy")
    others = [each.address for each in (*masters, *site.having("controller"), *site.hosts.values())]
    found = {
        "master": next((each.address for each in masters if each.id != host.id), None),
        "gateway": site.management.gateway,
        "peers": [each for each in dict.fromkeys(others) if each != host.address][:PEERS],
        "mtu": site.management.mtu,
    }
    return {key: value for key, value in found.items() if value}


def changes(present: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, Any]:
    """Return by path what a change does to each of our files: its options' old and new values."""
    found: dict[str, Any] = {}
    for name in sorted({*present, *wanted}):
        old, new = present.get(name), wanted.get(name)
        if old is None or new is None:
            found[name] = {"old": old and "there", "new": new and "there"}
        elif old != new:
            found[name] = differences("ini", old, new, frozenset(), {})
    return {f"{networkd.DIRECTORY}/{name}": each for name, each in found.items()}


def read(directories: Sequence[str] = DIRECTORIES) -> dict[str, str]:
    """Return the texts of all files of systemd-networkd by path; of a file that has drop-ins, each of those, too."""
    found: dict[str, str] = {}
    for directory in map(Path, directories):
        for path in sorted(directory.glob("*")) if directory.is_dir() else ():
            inner = sorted(path.glob("*.conf")) if path.is_dir() else [path]
            kind = path.with_suffix("").suffix if path.is_dir() else path.suffix
            if kind in KINDS:
                found |= {str(each): each.read_text(errors="replace") for each in inner if not each.is_dir()}
    return found


def foreign(files: Mapping[str, str], wanted: Mapping[str, str]) -> list[Problem]:
    """Return a problem for each file of others that would win over one of ours, alter it, or make the same device.

    Of several files that match a device the first by name counts, whatever its directory (systemd.network(5)).
    """
    found = []
    matched = {name: keys(text, "Match") for name, text in wanted.items() if name.endswith(".network")}
    made = {keys(text, "NetDev")["Name"]: name for name, text in wanted.items() if name.endswith(".netdev")}
    for path, text in files.items():
        name, parent = Path(path).name, Path(path).parent
        if parent.name.endswith(".d"):
            if parent.name.removesuffix(".d") in wanted:
                found.append(Problem(path, "a drop-in", f"none for {parent.name.removesuffix('.d')}, a file of ours"))
        elif str(parent) == networkd.DIRECTORY and name in wanted and not text.startswith(MARK):
            found.append(Problem(path, "a file of others", "a place for our file of this name: move it away"))
        elif not text.startswith(MARK):
            found += _rivals(path, text, matched, made)
    return found


def _rivals(path: str, text: str, matched: Files, made: Mapping[str, str]) -> list[Problem]:
    name = Path(path).name
    if name.endswith(".netdev"):
        device = keys(text, "NetDev").get("Name", "")
        return [Problem(path, device, f"no such file: {made[device]} makes this device")] if device in made else []
    said = keys(text, "Match")
    return [
        Problem(path, named(ours, match), f"no file that wins over {ours}: move it away")
        for ours, match in matched.items()
        if name < ours and _matches(said, named(ours, match), match.get("PermanentMACAddress", ""), made)
    ]


def named(name: str, match: Mapping[str, str]) -> str:
    """Return the name of the device that a file of ours is for; the file's name has it where its MAC is matched."""
    return match.get("Name") or name.partition("-")[2].removesuffix(".network")


def _matches(said: Mapping[str, str], device: str, mac: str, made: Mapping[str, str]) -> bool:
    """Tell whether a section [Match] fits a device of ours; a key that cannot be judged from here counts as fitting."""
    macs = said.get("PermanentMACAddress") or said.get("MACAddress")
    kinds = said.get("Type", "ether").split()
    fits = [
        bool(said),  # systemd-networkd passes over a file that says nothing here
        _fits(said.get("Name", "*"), device),
        not macs or (mac in macs.lower().replace("-", ":").split() if mac else device not in made),
        bool((MADE if device in made else {"ether"}) & set(kinds)) or kinds[0].startswith("!"),
    ]
    return all(fits)


def _fits(patterns: str, name: str) -> bool:
    words = patterns.lstrip("!").split()
    return any(fnmatchcase(name, word) for word in words) is not patterns.startswith("!")


def interfaces(texts: Mapping[str, str], wanted: Mapping[str, str]) -> list[Problem]:
    """Return a problem for each device of ours that ifupdown configures, too (interfaces(5))."""
    names = {named(name, keys(text, "Match")) for name, text in wanted.items() if name.endswith(".network")}
    return [
        Problem(path, line.strip(), f"nothing of {words[1]}: systemd-networkd configures it")
        for path, text in texts.items()
        for line in text.splitlines()
        if len(words := line.split()) > 1 and words[0] == "iface" and words[1] in names
    ]


def read_interfaces(paths: Sequence[str] = IFUPDOWN) -> dict[str, str]:
    """Return the texts of ifupdown's files by path."""
    files = [each for path in map(Path, paths) for each in ([path] if path.is_file() else sorted(path.glob("*")))]
    return {str(path): path.read_text(errors="replace") for path in files if path.is_file()}


def keys(text: str, section: str) -> dict[str, str]:
    """Return the keys of the sections of a name, with their last values."""
    return {key: value for name, pairs in _sections(text) if name == section for key, value in pairs}


def _sections(text: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    name, pairs = "", list[tuple[str, str]]()
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            yield name, pairs
            name, pairs = line[1:-1], []
        elif "=" in line and line[0] not in "#;":
            key, _, value = line.partition("=")
            pairs.append((key.strip(), value.strip()))
    yield name, pairs
