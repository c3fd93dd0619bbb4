"""The live installer's files beside the boot files, and the manifest that says what their bytes are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saltern import yamlfile
from saltern.checks import Key, Report, mapping, matching, record, word
from saltern.errors import Problem, Problems
from saltern.profiles import Profile

DIRECTORY = "debian-13-live"
"""Where the files lie, below the tree that is served."""
MANIFEST = "manifest.json"
BUILT_BY = "the root image of the live installer: `./saltern live-image` builds it"

_sum = matching(r"[0-9a-f]{64}", "a SHA-256 of 64 hexadecimal digits")
_MANIFEST = record({"recipe": Key(word, required=True), "sums": Key(mapping(word, _sum), required=True)})


@dataclass(frozen=True)
class Manifest:
    """What was built: the hash of the recipe, and the SHA-256 of each file by its name."""

    recipe: str
    sums: Mapping[str, str]

    def text(self) -> str:
        """Return the manifest as it is written."""
        return json.dumps({"recipe": self.recipe, "sums": self.sums}, indent=1, sort_keys=True) + "\n"


def read(path: Path) -> Manifest:
    """Return a manifest; raises Problems when there is none, or when it is not one."""
    if not path.exists():
        raise Problems([Problem(str(path), None, BUILT_BY)])
    report = Report()
    found: dict[str, Any] = _MANIFEST(yamlfile.load(path), str(path), report)
    if report.problems:
        raise Problems(report.problems)
    return Manifest(**found)


def sums(served: Path, profiles: Iterable[Profile]) -> dict[str, str]:
    """Return the SHA-256 of each profile's root image by its path; raises Problems where one has not been built."""
    found = {}
    for path in {profile.image for profile in profiles if profile.image}:
        manifest = served / Path(path).parent / MANIFEST
        known = read(manifest).sums
        if Path(path).name not in known:
            raise Problems([Problem(f"{manifest}:sums:{Path(path).name}", None, BUILT_BY)])
        found[path] = known[Path(path).name]
    return found
