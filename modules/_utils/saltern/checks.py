"""Checks of plain data from which a schema is put together; each reports what is wrong and carries on.

A check takes a value, its path and a :class:`Report`, and returns the value in its final form, or None after it has
reported a problem. None also stands for a key that was left out and has no default.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from saltern.errors import Problem, Problems, suggestion


@dataclass
class Report:
    """The problems found so far, each with its path."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, path: str, value: object, accepted: str) -> None:
        """Note that ``value`` at ``path`` should be something ``accepted``."""
        self.problems.append(Problem(path, value, accepted))

    def finish(self) -> None:
        """Raise Problems when there are any."""
        if self.problems:
            raise Problems(self.problems)


Check = Callable[[Any, str, Report], Any]


class Refused(ValueError):
    """Raised by a parser of one value; its text says what is accepted."""


def join(path: str, key: object) -> str:
    """Return the path of a key; a key that is no printable word appears as Python writes it."""
    word = key if isinstance(key, str) and key.isprintable() and key else repr(key)
    return f"{path}:{word}" if path else word


def scalar(parse: Callable[[Any], Any]) -> Check:
    """Make a check from a function that returns a value's final form or raises Refused."""

    def check(value: Any, path: str, report: Report) -> Any:
        try:
            return parse(value)
        except Refused as refused:
            report.add(path, value, str(refused))
            return None

    return check


@dataclass(frozen=True)
class Key:
    """One key of a record: how its value is checked, and what it is when the file does not say."""

    check: Check
    default: Any = None
    required: bool = False


def record(keys: Mapping[str, Key]) -> Check:
    """Make a check for a mapping with known keys; the result has every key."""

    def check(value: Any, path: str, report: Report) -> dict[str, Any]:
        if not is_mapping(value, path, report):
            return {}
        for word in value:
            if word not in keys:
                report.add(join(path, word), word, suggestion(word, keys))
        return {word: _member(key, value.get(word), join(path, word), report) for word, key in keys.items()}

    return check


def _member(key: Key, value: Any, path: str, report: Report) -> Any:
    if value is not None:
        return key.check(value, path, report)
    if key.required:
        report.add(path, None, "this key is required")
    return key.default


def mapping(name: Check, value: Check, *, at_least: str = "") -> Check:
    """Make a check for a mapping whose keys are free; ``at_least`` says what an empty one lacks."""

    def check(values: Any, path: str, report: Report) -> dict[str, Any]:
        if not is_mapping(values, path, report):
            return {}
        if not values and at_least:
            report.add(path, values, at_least)
        found = {}
        for key, each in values.items():
            where = join(path, key)
            known = name(key, where, report)
            found[known] = value(each, where, report)
        found.pop(None, None)
        return found

    return check


def listing(member: Check, *, at_least: str = "") -> Check:
    """Make a check for a list without repeated members; the result is a tuple."""

    def check(values: Any, path: str, report: Report) -> tuple[Any, ...]:
        if not isinstance(values, list):
            report.add(path, values, "a list")
            return ()
        if not values and at_least:
            report.add(path, values, at_least)
        found: dict[Any, None] = {}
        for index, each in enumerate(values):
            checked = member(each, join(path, index), report)
            if checked is not None and checked in found:
                report.add(join(path, index), each, "each member once")
            found[checked] = None
        return tuple(each for each in found if each is not None)

    return check


def is_mapping(value: Any, path: str, report: Report) -> bool:
    """Return whether a value is a mapping, and report it when it is not."""
    if not isinstance(value, Mapping):
        report.add(path or "site file", value, "a mapping (key: value lines)")
    return isinstance(value, Mapping)


def plain(value: Any, path: str, report: Report) -> Any:
    """Check data that is passed on as it is: mappings with words as keys, lists, text, finite numbers, truth, null."""
    if isinstance(value, Mapping):
        return _plain_mapping(value, path, report)
    if isinstance(value, list):
        return [plain(each, join(path, index), report) for index, each in enumerate(value)]
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, str):
        return _writable(value, path, report)
    report.add(path, value, "text, a number, true, false, null, a list or a mapping (put dates and the like in quotes)")
    return None


def _writable(value: str, path: str, report: Report) -> str | None:
    """Check that text can be written to a file: halves of surrogate pairs, which an escape can smuggle in, cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        report.add(path, value, "text that can be written in UTF-8")
        return None
    return value


def _plain_mapping(value: Mapping[Any, Any], path: str, report: Report) -> dict[str, Any]:
    return {word(key, join(path, key), report): plain(each, join(path, key), report) for key, each in value.items()}


def one_of(*accepted: str) -> Check:
    """Make a check for one of a few words."""

    def parse(value: Any) -> str:
        if not isinstance(value, str):
            raise Refused(f"one of {', '.join(accepted)}{_quote(value)}")
        if value not in accepted:
            raise Refused(suggestion(value, accepted))
        return value

    return scalar(parse)


def matching(pattern: str, accepted: str) -> Check:
    """Make a check for text that matches a regular expression as a whole."""
    compiled = re.compile(pattern)

    def parse(value: Any) -> str:
        if not isinstance(value, str):
            raise Refused(accepted + _quote(value))
        if not (compiled.fullmatch(value) and value.isprintable()):
            raise Refused(accepted)
        return value

    return scalar(parse)


def integer(low: int, high: int) -> Check:
    """Make a check for an integer within bounds."""

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Refused(f"an integer from {low} to {high}")
        return value

    return scalar(parse)


def _quote(value: Any) -> str:
    """Return a hint for what YAML makes of words that look like numbers, times or truth values."""
    return "" if isinstance(value, Mapping | list | tuple) else ' (text: put it in quotes, "…")'


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Refused("true or false")
    return value


def _network(value: Any) -> IPv4Network:
    accepted = "an IPv4 network such as 10.20.0.0/24"
    if not isinstance(value, str) or "/" not in value:
        raise Refused(accepted)
    try:
        network = IPv4Network(value, strict=False)
    except ValueError:
        raise Refused(accepted) from None
    if str(network.network_address) != value.split("/")[0]:
        raise Refused(f"the address of the network itself: {network}")
    if network.prefixlen > 30:
        raise Refused("a network with room for hosts: a prefix of at most /30")
    return network


def parse_address(value: Any) -> IPv4Address:
    """Return an IPv4 address, or raise Refused."""
    try:
        if isinstance(value, str):
            return IPv4Address(value)
    except ValueError:
        pass
    raise Refused("an IPv4 address such as 10.20.0.11")


def _mac(value: Any) -> str:
    accepted = "six pairs of hexadecimal digits such as 52:54:00:ab:cd:01"
    if not isinstance(value, str):
        raise Refused(accepted + _quote(value))
    if not re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", value):
        raise Refused(accepted)
    if int(value[:2], 16) & 1 or not value.strip("0:"):
        raise Refused("the address of one device (not a group address, not all zeros)")
    return value.lower()


def _text_range(value: Any) -> list[str]:
    parts = [part.strip() for part in value.split("-")] if isinstance(value, str) else []
    return parts if len(parts) == 2 else []


def _pool(value: Any) -> tuple[IPv4Address, IPv4Address]:
    try:
        first, last = (parse_address(part) for part in _text_range(value))
    except ValueError:
        raise Refused("a range of addresses such as 198.51.100.100-198.51.100.199") from None
    if last < first:
        raise Refused(f"the lower address first: {last}-{first}")
    return first, last


def _vlans(value: Any) -> tuple[int, int]:
    single = str(value) if isinstance(value, int | str) and "-" not in str(value) else None
    parts = [single, single] if single is not None else _text_range(value)
    if not parts or not all(re.fullmatch(r"[0-9]{1,4}", part) and 1 <= int(part) <= 4094 for part in parts):
        raise Refused('a VLAN from 1 to 4094, or a range of them such as "100-199"')
    low, high = map(int, parts)
    if high < low:
        raise Refused(f'the lower VLAN first: "{high}-{low}"')
    return low, high


def _port(value: Any) -> str:
    parts = [str(value)] * 2 if isinstance(value, int) and not isinstance(value, bool) else _text_range(value)
    if not parts or not all(re.fullmatch(r"[0-9]{1,5}", part) and 1 <= int(part) <= 65535 for part in parts):
        raise Refused('a port from 1 to 65535, or a range of them such as "5900-5999"')
    low, high = map(int, parts)
    if high < low:
        raise Refused(f'the lower port first: "{high}-{low}"')
    return str(low) if low == high else f"{low}-{high}"


def _source(value: Any) -> str:
    try:
        return str(IPv4Network(value)) if isinstance(value, str) and "/" in value else str(parse_address(value))
    except ValueError:
        raise Refused("an IPv4 address, or a network such as 192.0.2.0/24") from None


_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_DOMAIN = rf"(?=.{{1,253}}$)({_LABEL}\.)*{_LABEL}"
RESERVED = frozenset({"localhost", "localdomain", "localhost4", "localhost6", "broadcasthost"})


def _named(pattern: str, accepted: str) -> Check:
    def parse(value: Any) -> str:
        if not isinstance(value, str):
            raise Refused(accepted + _quote(value))
        if not re.fullmatch(pattern, value) or re.fullmatch(r"[0-9.]+", value):
            raise Refused(accepted)
        if value in RESERVED or value.startswith("ip6-"):
            raise Refused("another name: this one is reserved for the host itself")
        return value

    return scalar(parse)


def _time_source(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(_DOMAIN, value.lower()) and not re.fullmatch(r"[0-9.]+", value):
        return value
    try:
        return str(parse_address(value))
    except Refused:
        raise Refused("the name or the IPv4 address of a host") from None


boolean: Check = scalar(_boolean)
network: Check = scalar(_network)
address: Check = scalar(parse_address)
mac: Check = scalar(_mac)
pool: Check = scalar(_pool)
vlans: Check = scalar(_vlans)
vlan: Check = integer(1, 4094)
port: Check = scalar(_port)
source: Check = scalar(_source)
mtu: Check = integer(1280, 9216)
time_source: Check = scalar(_time_source)
host_name: Check = _named(_LABEL, "a host name: lower-case letters, digits and hyphens, at most 63, not all digits")
domain_name: Check = _named(_DOMAIN, "a domain name such as cloud.example.org, in lower case")
word: Check = matching(r".+", "text on one line, of printable characters")
identifier: Check = matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", "a name of letters, digits, '_', '.' and '-'")
device: Check = matching(r"(?!\.\.?$)[^\s/:%\x00-\x1f]{1,15}", "a network device's name of at most 15 characters")
url: Check = matching(r"https?://[^\s/]+(/\S*)?", "a URL that begins with http:// or https://")
path: Check = matching(r"(?!.*/\.\.?(/|$))(/[^/\x00-\x1f]+)+", "the absolute path of a file")
