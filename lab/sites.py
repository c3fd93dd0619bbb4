"""Find and read the site file of a lab."""

from __future__ import annotations

import re
from pathlib import Path

from saltern import site

from lab.command import LabError
from lab.layout import REPOSITORY, Lab

SITES = REPOSITORY / "pillar/sites"
USUAL = "lab"
TAKEN = re.compile(r"cache|.*\..*|.*-(gw|probe|r\d+)")
"""Names of labs whose directory, namespaces or processes would be named as something of another lab."""


def find(name: str) -> Path:
    """Return the site file that ``--site`` means: a path, or a name under pillar/sites."""
    if "/" in name or name.endswith((".yaml", ".yml")):
        return Path(name)
    path = SITES / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(each.stem for each in SITES.glob("*.yaml")))
        raise LabError(f"--site: {name!r}: no such site; accepted: the path of a site file, or one of: {known}")
    return path


def load(name: str) -> Lab:
    """Return the lab of a site file; a lab needs a host with the role ``deploy``."""
    source = find(name).resolve()
    model = site.load(source)
    if not model.having("deploy"):
        raise LabError(f"{source}: hosts: none with the role 'deploy': the lab needs one for the salt-master")
    if TAKEN.fullmatch(model.name):
        accepted = "one without a dot, other than 'cache', that ends neither in -gw nor -probe nor -r and a number"
        raise LabError(f"{source}: name: {model.name!r}: no name for a lab; accepted: {accepted}")
    return Lab(model, source)


def option(lab: Lab) -> str:
    """Return the words that make a command of the front door mean this lab, with a space before them."""
    named = lab.source.stem if lab.source.parent == SITES.resolve() else str(lab.source)
    return "" if named == USUAL else f" --site {named}"
