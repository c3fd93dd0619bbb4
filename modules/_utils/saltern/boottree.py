"""The tree on the deploy host from which machines boot: rendered files, links, what is lacking."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from saltern import dnsmasq, verbs
from saltern.answers import Sources
from saltern.bootfiles import tree as rendered
from saltern.errors import Problem, Problems
from saltern.verbs import Inputs

IPXE = "/usr/lib/ipxe/undionly.kpxe"
"""Of Debian's package ipxe."""


@dataclass(frozen=True)
class Tree:
    """What is to lie below a directory: files by their text, links by where they lead, and what somebody must bring."""

    files: Mapping[str, str]
    links: Mapping[str, str]
    brought: tuple[str, ...]


def wanted(inputs: Inputs, directory: str) -> Tree:
    """Return the tree of a site in a directory; raise Problems where the site file has mistakes or installs nothing."""
    return tree(verbs.boot_sources(inputs, directory))


def tree(sources: Sources) -> Tree:
    """Return the tree that is made from these sources."""
    firmwares = {chosen.firmware for _, chosen in sources.site.installed}
    links = {f"boot/{dnsmasq.IPXE}": IPXE} if "bios" in firmwares else {}
    needed: dict[str, None] = {}
    for profile in dnsmasq.used(sources.site, sources.kickstart).values():
        links |= {f"boot/{path}": source for path, source in profile.sources.items()}
        loaders = (profile.shim, str(Path(profile.shim).with_name("grubx64.efi"))) if "uefi" in firmwares else ()
        needed |= dict.fromkeys(f"boot/{each.lstrip('/')}" for each in (profile.kernel, profile.initrd, *loaders))
    return Tree(rendered(sources), links, tuple(each for each in needed if each not in links))


def differing(directory: Path, found: Tree) -> dict[str, str]:
    """Return what is not as wanted: each path, and what is to become of it."""
    files = [path for path, text in found.files.items() if not verbs.same(directory / path, text)]
    links = {path: source for path, source in found.links.items() if _target(directory / path) != source}
    return {**dict.fromkeys(files, "written"), **{path: f"link to {source}" for path, source in links.items()}}


def put(directory: Path, found: Tree) -> None:
    """Make files and links what is wanted; nobody sees a file in between. Others are left alone."""
    verbs.write_tree(directory, found.files)
    for path, source in found.links.items():
        place = directory / path
        if _target(place) == source:
            continue
        temporary = place.with_name(f".{place.name}.saltern-new")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(source)
            temporary.replace(place)
        except OSError as error:
            raise Problems([Problem(str(place), error.strerror, "a place for a link")]) from error


def lacking(directory: Path, found: Tree) -> list[str]:
    """Return a sentence for each file that machines boot and that is not there."""
    links = [f"{directory / path}: {source} is not there" for path, source in found.links.items()
             if not os.path.exists(directory / path)]  # fmt: skip
    brought = [f"{directory / path}: put it there (docs/netboot.md says whence)" for path in found.brought
               if not os.path.exists(directory / path)]  # fmt: skip
    return [*links, *brought]


def _target(path: Path) -> str:
    return os.readlink(path) if path.is_symlink() else ""
