"""Which options hold secrets by what they are called: the one rule for what nobody marked as secret.

Our own data marks its secrets (:class:`saltern.layers.Secret`). An operator's override does not, and neither does a
file that was on a host before: there the name of an option decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from typing import Any

_SECRET = re.compile(
    r"pass(word|wd|phrase|$|[._-])|secret|credential|(^|[._-])(token|kek)$"
    r"|(access|api|encryption|fixed|hmac|private|token)_?keys?$|transport_url|(^|[._-])connection(_string)?$",
    re.I,
)
_NAME = r"(?<![\w.-])([\w.-]+)"
_SAID = re.compile(rf"""{_NAME}["']?\s*[=:]\s*|^[#;\s]*{_NAME}\s+(?=\S)""")


def sounds_secret(name: str) -> bool:
    """Return whether an option's name, without the sections or keys above it, says that it holds a secret."""
    return bool(_SECRET.search(name.rpartition(".")[2]))


def told(name: str, value: Any) -> bool:
    """Return whether an option holds a secret by its name, or by a name that its value has inside."""
    if sounds_secret(name):
        return True
    if isinstance(value, Mapping):
        return any(told(str(key), each) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return any(told("", each) for each in value)
    return isinstance(value, str) and any(_shown(line) not in (None, line) for line in value.splitlines())


def _shown(line: str) -> str | None:
    """Return what stands before a line's secret, and None where it has none."""
    for match in _SAID.finditer(line):
        if sounds_secret(match[1] or match[2]):
            return line[: match.end()]
    return None


def without(text: str, instead: str, known: Set[str] = frozenset()) -> str:
    """Return a text whose lines end before what is a secret by its name; what goes on in further lines goes, too.

    ``instead`` stands in the place of each secret; ``known`` are lines that may be shown as they are.
    """
    lines, margin = [], None
    for line in text.splitlines(keepends=True):
        bare = line.rstrip("\n")
        indent = len(bare) - len(bare.lstrip())
        if bare.strip() and margin is not None and indent > margin:
            continue
        shown = None if bare in known else _shown(bare)
        if bare.strip():
            margin = None if shown is None else indent
        lines.append(line if shown in (None, bare) else f"{shown}{instead}{line[len(bare) :]}")
    return "".join(lines)
