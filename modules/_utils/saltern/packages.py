"""Debian packages: what is installed, what an interrupted run left behind, what a failed one needs. All pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: One line for each package, for ``dpkg-query --showformat``.
QUERY_FORMAT = "${Package}\\t${db:Status-Abbrev}\\t${Version}\\n"

_STALE_LISTS = re.compile(
    r"Unable to locate package|has no installation candidate|Couldn't find any package|Failed to fetch"
    r"|Hash Sum mismatch|Unable to fetch|is not available, but is referred to"
)
_HALF_DONE = re.compile(
    r"dpkg was interrupted|dpkg --configure -a|fix-broken|Unmet dependencies|needs to be reinstalled"
    r"|returned an error code|is another process using it"
)


@dataclass(frozen=True)
class Package:
    """A package as dpkg knows it: the three letters of its state and its version."""

    name: str
    state: str
    version: str

    @property
    def installed(self) -> bool:
        """Whether it is unpacked and configured."""
        return self.state[1:] in ("i", "it")

    @property
    def broken(self) -> bool:
        """Whether an interrupted run left it half done."""
        return self.state[1:2] in tuple("UFHWt") or self.torn

    @property
    def torn(self) -> bool:
        """Whether its files are a mixture that only unpacking it once more mends."""
        return "R" in self.state[2:]


@dataclass(frozen=True)
class Todo:
    """What is to be done: packages to install, and packages that an interrupted run left half done."""

    missing: tuple[str, ...]
    broken: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.missing or self.broken)


def parse_query(text: str) -> dict[str, Package]:
    """Return the packages of a ``dpkg-query`` in QUERY_FORMAT; the worst state counts for several architectures."""
    packages: dict[str, Package] = {}
    for line in text.splitlines():
        name, state, version = line.split("\t")
        package = Package(name, state.strip(), version)
        if name not in packages or not package.installed:
            packages[name] = package
    return packages


def todo(wanted: Iterable[str], known: Mapping[str, Package]) -> Todo:
    """Return what is missing of the wanted packages, and what of all packages is broken."""
    missing = [name for name in dict.fromkeys(wanted) if name not in known or not known[name].installed]
    return Todo(tuple(missing), tuple(name for name, package in known.items() if package.broken))


def changes(before: Mapping[str, Package], after: Mapping[str, Package]) -> dict[str, dict[str, str]]:
    """Return the packages whose installed version differs, as Salt's own package states tell it."""
    found = {}
    for name in sorted({*before, *after}):
        old, new = (known[name].version if name in known and known[name].installed else "" for known in (before, after))
        if old != new:
            found[name] = {"old": old, "new": new}
    return found


def remedy(output: str) -> str:
    """Return what a failed apt-get needs before another try: ``update``, ``repair``, or an empty text (no use)."""
    if _STALE_LISTS.search(output):
        return "update"
    return "repair" if _HALF_DONE.search(output) else ""


def last_lines(output: str, count: int = 12) -> str:
    """Return the end of an output; lines that begin with ``E:`` are told in any case."""
    lines = [line for line in output.splitlines() if line.strip()]
    errors = [line for line in lines[:-count] if line.startswith(("E:", "dpkg: error"))]
    return "\n".join([*errors[:8], *lines[-count:]])
