"""Print the pinned requirements of one group; run by the front door before any dependency is there."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: str, group: str) -> list[str]:
    """Return the pinned lines for ``run``, or for ``test``, which holds those of ``run`` too."""
    project = tomllib.loads(pyproject)["project"]
    return [*project["dependencies"], *([] if group == "run" else project["optional-dependencies"][group])]


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(Path(sys.argv[1]).read_text(), sys.argv[2])) + "\n")
