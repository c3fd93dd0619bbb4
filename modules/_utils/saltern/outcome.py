"""What a Salt state returns, and how errors become one: the scaffold of all our states."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from saltern.errors import SalternError, described

Outcome = dict[str, Any]


def success(name: str, comment: str, changes: Mapping[str, Any] | None = None) -> Outcome:
    """Return the outcome of a state that holds now, with what was changed for it."""
    return {"name": name, "result": True, "changes": dict(changes or {}), "comment": comment}


def planned(name: str, comment: str, changes: Mapping[str, Any] | None = None) -> Outcome:
    """Return the outcome of a dry run that found something to do: result None and the changes to come."""
    return {"name": name, "result": None, "changes": dict(changes or {}), "comment": comment}


def failure(name: str, comment: str, changes: Mapping[str, Any] | None = None) -> Outcome:
    """Return the outcome of a state that does not hold; changes are what was done all the same."""
    return {"name": name, "result": False, "changes": dict(changes or {}), "comment": comment}


def foreseen(context: MutableMapping[str, Any]) -> set[str]:
    """Return the paths that this dry run would have written so far, to add to and to read; states of a run share it."""
    found: set[str] = context.setdefault("saltern: foreseen", set())
    return found


def reported(function: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """Make a state function answer with a failed outcome, without a traceback, what an operator can act on.

    That is a :class:`SalternError`, and what the system refuses: a full disk, a file system that is read-only.
    """

    @functools.wraps(function)
    def wrapper(name: str, *args: Any, **kwargs: Any) -> Outcome:
        try:
            return function(name, *args, **kwargs)
        except SalternError as error:
            return failure(name, str(error))
        except OSError as error:
            return failure(name, described(error))

    return wrapper
