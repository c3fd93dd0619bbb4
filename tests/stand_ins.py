"""What only hosts have, openstacksdk and Salt, as far as verification's own tests need names to be there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

VERIFY = Path(__file__).resolve().parent / "verify"


class SDKException(Exception):
    """A refusal of the cloud."""


class NotFoundException(SDKException):
    """A thing that is not there."""


class LocalClient:
    """A master without minions; a test gives the answers."""

    answers: dict[str, dict[str, Any]] = {}  # noqa: RUF012 - a test replaces it

    def __init__(self, *_: Any) -> None:
        """Take any configuration."""

    def cmd(self, _: Any, function: str, *__: Any, **___: Any) -> dict[str, Any]:
        """Return what the hosts say to a function."""
        return self.answers.get(function, {})


def module(name: str, **content: Any) -> None:
    """Have a module of that name, and in the one above it."""
    made = ModuleType(name)
    vars(made).update(content)
    sys.modules[name] = made
    above, _, last = name.rpartition(".")
    if above:
        setattr(sys.modules[above], last, made)


def absent(name: str) -> bool:
    """Tell whether there is neither the real module nor one that was put in its place."""
    return name not in sys.modules and not importlib.util.find_spec(name)


def install() -> None:
    """Have verification's modules importable."""
    if str(VERIFY) not in sys.path:
        sys.path.append(str(VERIFY))
    if absent("openstack"):
        module("openstack", connect=None)
        module("openstack.exceptions", SDKException=SDKException, NotFoundException=NotFoundException)
    if absent("salt"):
        module("salt")
        module("salt.client", LocalClient=LocalClient)
        module("salt.config", master_config=lambda path: {"ext_pillar": []})
