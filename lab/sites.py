"""Find and read the site file of a lab."""

from __future__ import annotations

from pathlib import Path

from saltern import site

from lab.command import LabError
from lab.layout import REPOSITORY, Lab

SITES = REPOSITORY / "pillar/sites"


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
    return Lab(model, source)
