"""What machines are installed with: profiles and disk layouts as data, templates without conditionals, one script.

A line of a template that is one placeholder alone stands for a list of lines, and goes where the list is empty.
Elsewhere a placeholder stands for words. Its sign is ``@{name}``: the ``$`` belongs to the files' own languages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from string import Template
from typing import Any

from saltern import yamlfile
from saltern.checks import Check, Key, Report, identifier, integer, listing, mapping, matching, one_of, record, word
from saltern.errors import Problem, Problems, suggestion
from saltern.model import LAYOUTS

Values = Mapping[str, str | Sequence[str]]
_ALONE = re.compile(r"@\{([a-z_]+)\}")
_place = matching(r"/?(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9./_-]*", "a path below the tree that is served")

_file = matching(r"/(?!.*\.\.)[A-Za-z0-9./_-]+", "the absolute path of a file")


@dataclass(frozen=True)
class Layout:
    """How root disks are divided, in the installer's own language; ``bios`` and ``uefi`` come before ``common``.

    ``raid`` and ``method`` are the Debian Installer's; ``esp`` is the number of an EFI partition that the installer
    formats on each disk and fills on one.
    """

    minimum: int
    common: tuple[str, ...]
    bios: tuple[str, ...]
    uefi: tuple[str, ...]
    method: str = ""
    raid: str = ""
    esp: str = ""


@dataclass(frozen=True)
class Profile:
    """One operating system: its boot files, its arguments, the template of its answers, its layouts.

    ``sources`` says where the boot files come from on the deploy host, by their paths in the tree that is served; what
    it does not name, an operator puts there.
    """

    name: str
    family: str
    mirror: str
    tree: str
    suite: str
    kernel: str
    initrd: str
    shim: str
    grub: str
    answers: str
    layouts: tuple[str, ...]
    arguments: tuple[str, ...]
    packages: tuple[str, ...]
    finish: tuple[str, ...]
    image: str = ""
    """The root image that the live installer unpacks."""
    sources: Mapping[str, str] = field(default_factory=dict)
    disks: Mapping[str, Layout] = field(default_factory=dict)

    def minimum(self, layout: str) -> int:
        """Return the least size of a root disk, in MiB."""
        return self.disks[layout].minimum


class _Placeholders(Template):
    delimiter = "@"
    idpattern = r"(?!)"
    braceidpattern = r"[a-z_]+"


@dataclass(frozen=True)
class Kickstart:
    """Everything below ``kickstart/``."""

    profiles: Mapping[str, Profile]
    directory: Path

    @cached_property
    def script(self) -> str:
        """The script that decides on the machine which disks may hold the operating system."""
        return yamlfile.read_text(self.directory / "root-disks.sh")

    @cached_property
    def trust(self) -> str:
        """The script that trades a token for trust, and reports progress."""
        return yamlfile.read_text(self.directory / "trust.sh")

    @cached_property
    def _templates(self) -> dict[str, list[str]]:
        return {}

    def render(self, template: str, values: Values) -> str:
        """Return a template's text with the values in it."""
        if template not in self._templates:
            self._templates[template] = yamlfile.read_text(self.directory / "templates" / template).splitlines()
        return "".join(f"{line}\n" for each in self._templates[template] for line in fill(each, values))


def fill(line: str, values: Values) -> Iterator[str]:
    """Yield the lines that a line of a template becomes; raises Problems for a placeholder that means nothing."""
    alone = _ALONE.fullmatch(line)
    found = values.get(alone[1], "") if alone else ""
    if not isinstance(found, str):
        yield from found
        return
    try:
        yield _Placeholders(line).substitute(values) if "@" in line else line
    except (KeyError, ValueError):
        accepted = f"@@ for the sign itself, or @{{NAME}} with one of {', '.join(sorted(values))}"
        raise Problems([Problem("kickstart", line, accepted)]) from None


_LINES = listing(word)
_LAYOUT = record(
    {
        "minimum": Key(integer(1, 2**31), required=True),
        "common": Key(_LINES, required=True),
        "bios": Key(_LINES, required=True),
        "uefi": Key(_LINES, required=True),
        "method": Key(word, ""),
        "raid": Key(word, ""),
        "esp": Key(word, ""),
    }
)
_FAMILY = record({name: Key(_LAYOUT) for name in LAYOUTS})
_PROFILE = record(
    {
        **{key: Key(identifier, required=True) for key in ("suite", "answers")},
        **{key: Key(_place, required=True) for key in ("tree", "kernel", "initrd", "shim", "grub")},
        "image": Key(_place, ""),
        "family": Key(one_of("debian", "fedora", "live"), required=True),
        "mirror": Key(one_of("debian", "fedora"), required=True),
        "sources": Key(mapping(_place, _file), {}),
        "layouts": Key(listing(one_of(*LAYOUTS), at_least=f"one or more of {', '.join(LAYOUTS)}"), required=True),
        **{key: Key(_LINES, required=True) for key in ("arguments", "packages", "finish")},
    }
)


def load(directory: str | Path) -> Kickstart:
    """Return what a directory holds, or raise Problems with every mistake in its profiles and layouts."""
    root, problems = Path(directory), list[Problem]()
    families = {path.stem: _read(path, _FAMILY, problems) for path in sorted(root.glob("layouts/*.yaml"))}
    layouts = {
        family: {name: Layout(**layout) for name, layout in found.items() if layout}
        for family, found in families.items()
    }
    found = {path.stem: _read(path, _PROFILE, problems) for path in sorted(root.glob("profiles/*.yaml"))}
    for name, data in found.items():
        offered = layouts.get(data["family"] or "", {})
        where = str(root / "profiles" / f"{name}.yaml")
        problems += [
            Problem(f"{where}:layouts", each, suggestion(each, offered))
            for each in data["layouts"]
            if each not in offered
        ]
    if problems:
        raise Problems(problems)
    profiles = {name: Profile(name, **data, disks=layouts[data["family"]]) for name, data in found.items()}
    return Kickstart(profiles, root)


def _read(path: Path, check: Check, problems: list[Problem]) -> dict[str, Any]:
    report = Report()
    found: dict[str, Any] = check(yamlfile.load(path), str(path), report)
    problems += report.problems
    return found
