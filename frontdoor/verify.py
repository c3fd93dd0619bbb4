"""The verb `verify`: testinfra and the smoke test, from the deploy node."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterable

from lab import nodes, sites
from lab.highstate import PYTHON
from lab.layout import REPOSITORY, Lab

TESTS = "tests/verify"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--site", default="lab", metavar="FILE|NAME", help="a site file, or a name under pillar/sites")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="-- arguments for pytest")


def run(lab: Lab, words: Iterable[str] = ()) -> int:
    """Run tests/verify on the deploy node with the ``salt://`` backend; returns pytest's exit code."""
    if not (REPOSITORY / TESTS).is_dir():
        sys.stderr.write(f"{TESTS}: not there, nothing is verified\n")
        return 1
    options = ["--hosts=salt://*", "-p", "no:cacheprovider", *words]
    argv = nodes.enter(lab, lab.deploy, PYTHON, "-m", "pytest", f"{nodes.REPOSITORY}/{TESTS}", *options)
    return subprocess.run(argv, check=False, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}).returncode


def from_command_line(arguments: argparse.Namespace) -> int:
    """Verify the lab that was named."""
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    return run(sites.load(arguments.site), words)


VERBS = {"verify": ("verify the cloud from the deploy node", add_arguments, from_command_line)}
