"""Entry of the command line: `./saltern VERB`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable
from types import ModuleType

from saltern.errors import SalternError, described

Verb = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int | None]]
MODULES = ("site_verbs", "boot_verbs", "host_verbs", "lab_verbs", "verify", "testing", "bench")
TROUBLE = 2


def load(name: str) -> ModuleType | None:
    """Return a module of verbs, or None when there is none of that name."""
    full = f"frontdoor.{name}"
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name != full:
            raise
        return None


def verbs() -> dict[str, Verb]:
    """Return every verb: its help, its arguments, its function."""
    table: dict[str, Verb] = {}
    for module in filter(None, map(load, MODULES)):
        table.update(module.VERBS)
    return table


def parser(table: dict[str, Verb]) -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(prog="saltern", description="Bare machines to a verified OpenStack cloud.")
    subparsers = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, (text, add_arguments, run) in table.items():
        sub = subparsers.add_parser(name, help=text, description=text)
        add_arguments(sub)
        sub.set_defaults(run=run)
    return top


def lost_output() -> OSError | None:
    """Return why standard output takes no more, if so; the interpreter, which flushes it at exit, is then content."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OSError(error.errno, error.strerror, "standard output")
    return None


def done(words: list[str] | None) -> int:
    """Run a verb to its end, its output written; so is a help text, with which the parser exits."""
    try:
        arguments = parser(verbs()).parse_args(words)
        code = arguments.run(arguments) or 0
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return code


def main(words: list[str] | None = None) -> int:
    """Run a verb; what the operator can act on is said in words, without a traceback."""
    try:
        return done(words)
    except SalternError as error:
        sys.stderr.write(f"{error}\n")
        return TROUBLE
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on where it stopped\n")
        return 130
    except OSError as error:
        lost = lost_output()
        if isinstance(error, BrokenPipeError):
            return 141
        sys.stderr.write(f"{described(lost or error)}\n")
        return TROUBLE


if __name__ == "__main__":
    sys.exit(main())
