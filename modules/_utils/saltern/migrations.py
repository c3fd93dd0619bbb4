"""Alembic's revisions as files: which ones a database holds when its schema is current. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_ASSIGNMENT = re.compile(
    r"""^(revision|down_revision|depends_on)\s*(?::[^=\n]+)?=\s*(\([^)]*\)|\[[^\]]*\]|None|'[^'\n]*'|"[^"\n]*")""", re.M
)
_STRING = re.compile(r"""'([^'\n]*)'|"([^"\n]*)\"""")


@dataclass(frozen=True)
class Schema:
    """What is known of one database's schema."""

    revisions: frozenset[str] | None
    marker: bool
    marked_heads: frozenset[str] | None
    tables: int

    def unfinished(self) -> bool:
        """Whether a first sync of ours began and never ended: no service can ever have used what is there."""
        return self.marker and self.tables > 0 and self.marked_heads is not None and not self.in_use()

    def in_use(self) -> bool:
        """Whether only the note is left: the first sync did end (at the code of then), or was not ours."""
        return self.marker and self.tables > 0 and self.marked_heads in (None, self.revisions)


def heads(texts: Iterable[str]) -> frozenset[str]:
    """Return the revisions that no other one follows or depends on: what ``alembic_version`` holds at the end."""
    revisions: set[str] = set()
    passed: set[str] = set()
    for text in texts:
        found = {name: _strings(value) for name, value in _ASSIGNMENT.findall(text)}
        if found.get("revision"):
            revisions |= found["revision"]
            passed |= found.get("down_revision", set()) | found.get("depends_on", set())
    return frozenset(revisions - passed)


def _strings(literal: str) -> set[str]:
    """Return the strings in a literal: a string, a tuple of them, or None."""
    return {one or two for one, two in _STRING.findall(literal)}
