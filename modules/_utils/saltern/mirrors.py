"""Where packages come from when the site file does not say: from where this machine's own package manager has them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping

from saltern.commands import ENVIRONMENT

LABELS = {"Debian": "debian", "Debian-Security": "security"}
"""Labels of Debian's archives, and our names of them."""
_TARGETS = ("apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages")


def of_apt(targets: str) -> dict[str, str]:
    """Return the first HTTP archive of each name among apt's index targets, ``ORIGIN|LABEL|URL`` each."""
    found: dict[str, str] = {}
    for line in targets.splitlines():
        origin, label, url = line.split("|")
        if origin == "Debian" and label in LABELS and url.startswith(("http://", "https://")):
            found.setdefault(LABELS[label], url.rstrip("/"))
    return found


def found(named: Mapping[str, str]) -> dict[str, str]:
    """Return the mirrors of a site: those that it names, and the rest as this machine's apt has them."""
    known: dict[str, str] = {}
    if shutil.which("apt-get", path=ENVIRONMENT["PATH"]):
        done = subprocess.run(_TARGETS, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)
        known = of_apt(done.stdout)
    return {**known, **named}
