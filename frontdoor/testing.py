"""The verb `test`: what CI runs. `--quick` needs neither root nor nodes."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import down, preflight, sites
from lab.command import LabError
from lab.layout import REPOSITORY, Lab

PURE = "modules/_utils/saltern"
QUICK = ("tests/unit", "tests/render")
NODES = "tests/integration"
FRONT_DOOR = (sys.executable, "-P", "-m", "frontdoor")
REACHED = (sys.executable, "-m", "coverage", "report", "--fail-under=100", "--skip-covered", "--show-missing")
SITE = "SALTERN_SITE"
"""The variable in which the tests of a lab find its site."""
CACHES = Path(sys.prefix) / "cache"
OURS = "made-by-test"
"""A file in a lab's state that says that the tests built it, and so may take it down."""


@dataclass(frozen=True)
class Count:
    """How many checks passed, failed and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Count) -> Count:
        """Return both counts as one."""
        return Count(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def whole(self) -> Count:
        """Return the counts of the whole test, which must pass nothing over: what was skipped has failed."""
        return Count(self.passed, self.failed + self.skipped)

    def __str__(self) -> str:
        """Return the closing line; skipped tests are named only when there are some."""
        return f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else "")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--quick", action="store_true", help="lint, unit and render tests: no root, no nodes")
    parser.add_argument("--all", action="store_true", help="the slow tests too")
    parser.add_argument("--use-lab", action="store_true", help="test the lab that is up, and leave it up")
    parser.add_argument("--site", default=os.environ.get(SITE, sites.USUAL), metavar="FILE|NAME", help="the lab's site")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="only these tests, without lint")


def linters() -> dict[str, Sequence[str]]:
    """Return the name and the command of each linter."""
    data = [each for each in ("pillar", "states", ".yamllint") if (REPOSITORY / each).exists()]
    # The others are Python, which ruff reads.
    plain = [str(path) for path in REPOSITORY.glob("states/**/*.sls") if not path.read_text().startswith("#!py")]
    return {
        "ruff check": (sys.executable, "-m", "ruff", "check", "."),
        "ruff format": (sys.executable, "-m", "ruff", "format", "--check", "."),
        "mypy": (sys.executable, "-m", "mypy", PURE, "frontdoor", "lab"),
        "yamllint": (sys.executable, "-m", "yamllint", "--strict", *data),
        "salt-lint": (sys.executable, "-m", "saltlint", *plain),
    }


def variables() -> dict[str, str]:
    """Return the environment in which all tools keep what they remember beside ours: the clone may be read-only."""
    places = {"RUFF_CACHE_DIR": "ruff", "MYPY_CACHE_DIR": "mypy", "HYPOTHESIS_STORAGE_DIRECTORY": "hypothesis"}
    return {**os.environ, **{name: str(CACHES / place) for name, place in places.items()}}


def check(name: str, argv: Sequence[str]) -> Count:
    """Run one command as one check; it is shown only when it fails."""
    began = time.monotonic()
    done = subprocess.run(argv, cwd=REPOSITORY, env=variables(), capture_output=True, text=True, check=False)
    good = done.returncode == 0
    sys.stdout.write(f"{name:<14} {'passed' if good else 'FAILED'}  {time.monotonic() - began:.1f} s\n")
    if not good:
        sys.stdout.write(done.stdout + done.stderr)
    sys.stdout.flush()
    return Count(passed=int(good), failed=int(not good))


def counted(report: str) -> Count:
    """Return the counts of a JUnit report."""
    total = Count()
    # The report is our own pytest's.
    for suite in ElementTree.fromstring(report).iter("testsuite"):  # noqa: S314
        tests, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        total += Count(tests - failed - skipped, failed, skipped)
    return total


def pytest(
    paths: Iterable[str], slow: bool, measured: Sequence[str] = (), site: str = sites.USUAL, apart: bool = False
) -> Count:
    """Run tests, on all cores at once if each stands apart from the others.

    A run that breaks off counts as one failure, and so does a line of `measured` that no test reaches.
    """
    with tempfile.TemporaryDirectory() as directory:
        report, lines = Path(directory) / "report.xml", Path(directory) / "lines"
        options = [
            f"--junit-xml={report}",
            f"--override-ini=cache_dir={CACHES / 'pytest'}",
            "--cov-report=",
            *(f"--cov={each}" for each in measured),
        ]
        options += [] if slow else ["-m", "not slow"]
        options += ["--numprocesses=auto"] if apart else []
        code = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *paths],
            cwd=REPOSITORY,
            env={**variables(), "COVERAGE_FILE": str(lines), SITE: site},
            check=False,
        ).returncode
        count = counted(report.read_text()) if report.exists() else Count()
        if measured:
            count += check("coverage", [*REACHED, f"--data-file={lines}"])
    broken = code not in (0, 5) and not count.failed
    return count + Count(failed=int(broken))


def refuse_others(lab: Lab) -> None:
    """Raise when the lab is not one that the tests made: it may hold someone's work."""
    if lab.state.exists() and not (lab.state / OURS).exists():
        # The lab's copy: a site file that a test wrote went with the test.
        option = sites.option(lab) and f" --site {lab.state / 'site.yaml'}"
        raise LabError(
            f"the lab {lab.name} is yours: `./saltern lab down --purge{option}` removes it,"
            f" `./saltern test --use-lab{option}` tests it as it is"
        )


def claim(lab: Lab) -> None:
    """Remove what there is of a lab that the tests made; what is made of it next is known as theirs."""
    refuse_others(lab)
    down.down(lab, purge=True)
    lab.state.mkdir(parents=True, mode=0o700)
    (lab.state / OURS).touch()


@contextmanager
def running(lab: Lab, keep: bool) -> Iterator[Count]:
    """Have the lab up for the tests, and gone afterwards, whatever happens; yields how bringing it up went."""
    if keep:
        yield Count()
        return
    claim(lab)
    try:
        code = subprocess.run([*FRONT_DOOR, "lab", "up", "--site", str(lab.source)], check=False).returncode
        yield Count(passed=int(code == 0), failed=int(code != 0))
    finally:
        down.down(lab, purge=True)


def stopped(lab: Lab) -> Count:
    """Stop the lab as an operator does, its disks kept, as one check: it fails when anything is left behind."""
    return check("lab down", [*FRONT_DOOR, "lab", "down", "--site", str(lab.source)])


def quick(arguments: argparse.Namespace) -> Count:
    """Run what needs no nodes: the linters side by side with nothing, then the tests."""
    total = Count()
    for name, argv in linters().items():
        total += check(name, argv)
    if os.geteuid() == 0:
        return total + pytest(QUICK, slow=arguments.all, measured=(PURE,), apart=True)
    sys.stdout.write(
        f"{'coverage':<14} skipped  only root reaches the lines that give files away and become other users\n"
    )
    sys.stdout.flush()
    return total + Count(skipped=1) + pytest(QUICK, slow=arguments.all, apart=True)


def with_nodes(arguments: argparse.Namespace, lab: Lab) -> Count:
    """Run the tests that need a lab; without a working one none of them is tried. That it goes is tested, too."""
    with running(lab, arguments.use_lab) as total:
        if not total.failed:
            total += pytest([NODES], slow=arguments.all, site=str(lab.source))
        if arguments.all and not arguments.use_lab:
            total += stopped(lab)
    return total


def refuse(arguments: argparse.Namespace, lab: Lab) -> None:
    """Raise, before anything is run, where the tests that were asked for cannot be."""
    places = {path: (REPOSITORY / path.split("::")[0]).resolve() for path in arguments.paths}
    missing = [path for path, place in places.items() if not place.exists()]
    if missing:
        raise LabError(f"no such tests: {', '.join(missing)}; accepted: paths below {REPOSITORY}")
    named = any(place.is_relative_to(REPOSITORY / NODES) for place in places.values())
    whole = not arguments.paths and not arguments.quick
    if (named or whole) and os.geteuid() != 0:
        raise LabError("root: tests of a lab look into its nodes; `./saltern test --quick` needs none")
    if whole and not arguments.use_lab:
        refuse_others(lab)


def run(arguments: argparse.Namespace) -> int:
    """Run the tests that were asked for; the last line sums up."""
    lab = sites.load(arguments.site)
    refuse(arguments, lab)
    if arguments.paths:
        total = pytest(arguments.paths, slow=True, site=str(lab.source))
    else:
        if not arguments.quick:
            preflight.install(preflight.TESTED_WITH)  # before any test, so that none is passed over for want of a tool
        total = quick(arguments)
        if not arguments.quick:
            total = (total + with_nodes(arguments, lab)).whole()
    sys.stdout.write(f"{total}\n")
    return int(total.failed > 0 or total.passed == 0)


VERBS = {"test": ("run the tests: lint, units, and a real lab", add_arguments, run)}
