"""Problems found in what an operator wrote, and the one exception that carries them.

Every check collects :class:`Problem` objects and reports all of them at once, so a file is mended in one go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from reprlib import Repr

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 120


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake: where it stands, what stands there, and what is accepted instead."""

    path: str
    value: object = None
    accepted: str = ""

    def __str__(self) -> str:
        """Return ``path: value: accepted`` on one line."""
        return f"{self.path}: {_SHORT.repr(self.value)}: {self.accepted}"


class SalternError(Exception):
    """An error that the operator can act on; its text is all that is shown, never a traceback."""


class Problems(SalternError):
    """All the problems of one input, in the order in which they were found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Keep the problems and join their lines into the message."""
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def described(error: OSError) -> str:
    """Return ``FILENAME: what the system says``, or only that where no file is concerned."""
    said = error.strerror or str(error) or type(error).__name__
    return said if error.filename is None else f"{error.filename}: {said}"


def suggestion(word: object, known: Iterable[str]) -> str:
    """Return ``no such name; did you mean …?`` or the accepted names, for an unknown word."""
    names = sorted(known)
    close = get_close_matches(str(word), names, n=1)
    return f"unknown; did you mean {close[0]!r}?" if close else f"unknown; accepted: {', '.join(names)}"
