"""Run the system's programs: fixed locale, a bounded time, errors that name the command and its last words."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from saltern.errors import SalternError


class LabError(SalternError):
    """Something the lab needs did not work; the text says which command and what it said."""


def last_words(text: str, lines: int = 15) -> str:
    """Return the last lines of a program's output, without blank ones."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


def run(
    *argv: str | os.PathLike[str],
    input: str | None = None,
    check: bool = True,
    timeout: float = 600,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it said; raises :class:`LabError` unless it ended well."""
    words = [str(each) for each in argv]
    settings = {**os.environ, "LC_ALL": "C", **(env or {})}
    try:
        done = subprocess.run(
            words, input=input, capture_output=True, text=True, timeout=timeout, env=settings, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(words)}: still running after {timeout:.0f} s") from error
    except FileNotFoundError as error:
        raise LabError(f"{words[0]}: not installed") from error
    if check and done.returncode:
        said = last_words(done.stderr) or last_words(done.stdout)
        raise LabError(f"{' '.join(words)}: exit code {done.returncode}\n{said}")
    return done


def output(*argv: str | os.PathLike[str], timeout: float = 600) -> str:
    """Return the standard output of a program that ended well."""
    return run(*argv, timeout=timeout).stdout
