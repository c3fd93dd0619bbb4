"""The verb `bench`: measure the cloud against its budgets; medians of several runs, ratios within one run."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout

from lab import nodes, sites
from lab.command import LabError
from lab.layout import Lab
from tests.bench.figures import Figure, good, lines

RUNS = {"second": 5, "memory": 3, "deploy": 3}
"""How often each part that counts runs is run when nothing else is said."""


def render(lab: Lab, runs: int) -> list[Figure]:
    """Measure the rendering of large sites."""
    from tests.bench import bench_render

    return bench_render.figures()


def boot(lab: Lab, runs: int) -> list[Figure]:
    """Measure the rendering of boot files."""
    from tests.bench import bench_boot

    return bench_boot.figures()


def second(lab: Lab, runs: int) -> list[Figure]:
    """Measure highstates that have nothing to do."""
    from tests.bench import bench_second

    return bench_second.figures(lab, runs)


def memory(lab: Lab, runs: int) -> list[Figure]:
    """Measure the memory of the nodes."""
    from tests.bench import bench_rest

    return bench_rest.memory(lab, runs)


def times(lab: Lab, runs: int) -> list[Figure]:
    """Read the record of the last highstate."""
    from tests.bench import bench_rest

    return bench_rest.times(lab)


def deploy(lab: Lab, runs: int) -> list[Figure]:
    """Measure the way from empty nodes to an instance."""
    from tests.bench import bench_deploy

    return bench_deploy.figures(lab.source, runs)


# The parts import what they need when they run: every verb of the front door loads this file.
PARTS: dict[str, tuple[str, Callable[[Lab, int], list[Figure]]]] = {
    "render": ("1,000 hosts validated, resolved and rendered", render),
    "boot": ("1,000 hosts' boot files rendered", boot),
    "second": ("a highstate with nothing to do, against one test.nop", second),
    "memory": ("memory of the lab at rest", memory),
    "times": ("where the time of the last highstate went", times),
    "deploy": ("empty nodes to the first instance, against apt-get alone", deploy),
}
LONG = {"deploy": "long, in a lab of its own"}
"""What is measured only when it is named, and why."""
USUAL = tuple(name for name in PARTS if name not in LONG)
"""What is measured when no part is named."""
RUNNING = ("second", "memory")
"""The parts that need the lab up."""
OFFLINE = ("render", "boot")
"""The parts that need neither nodes nor root."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    why = {name: f" ({reason})" for name, reason in LONG.items()}
    told = (f"  {name:<8} {text}{why.get(name, '')}" for name, (text, _) in PARTS.items())
    parser.epilog = "\n".join(["parts:", *told])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"default: {' '.join(USUAL)}")
    parser.add_argument("--site", default="lab", metavar="FILE|NAME", help="the lab's site")
    parser.add_argument("--runs", type=int, metavar="N", help="runs of each thing (default: " + _defaults() + ")")
    parser.add_argument("--json", action="store_true", help="as JSON")


def _defaults() -> str:
    return ", ".join(f"{name} {number}" for name, number in RUNS.items())


def refuse(parts: Sequence[str], lab: Lab, runs: int | None) -> None:
    """Raise, with all that is wrong, where the parts cannot be measured."""
    wrong = [f"{part!r}: no such part; accepted: {', '.join(PARTS)}" for part in parts if part not in PARTS]
    if runs is not None and runs < 1:
        wrong.append(f"--runs: {runs}: accepted: 1 or more")
    if set(parts) - set(OFFLINE) and os.geteuid() != 0:
        wrong.append(f"root: all parts but {' and '.join(OFFLINE)} look into nodes")
    elif set(parts) & set(RUNNING) and not all(nodes.leader(lab, node) for node in lab.nodes):
        others = ", ".join(part for part in PARTS if part not in RUNNING)
        wrong.append(f"the lab {lab.name} does not run: `./saltern lab up` first, or name other parts: {others}")
    if wrong:
        raise LabError("\n".join(wrong))


def measured(parts: Sequence[str], lab: Lab, runs: int | None) -> list[Figure]:
    """Return the figures of all parts; what they say meanwhile goes to standard error."""
    found: list[Figure] = []
    with redirect_stdout(sys.stderr):
        for part in parts:
            found += PARTS[part][1](lab, runs or RUNS.get(part, 1))
    return found


def left_out(parts: Sequence[str]) -> str:
    """Return what was not measured, and how it is."""
    others = [name for name in PARTS if name not in parts]
    said = "; ".join(f"{name} ({LONG[name]}): `./saltern bench {name}`" for name in others)
    return f"not measured: {said}"


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; the exit code tells whether all budgets are met."""
    parts, lab = arguments.parts or list(USUAL), sites.load(arguments.site)
    refuse(parts, lab, arguments.runs)
    figures = measured(parts, lab, arguments.runs)
    text = json.dumps([each.as_data() for each in figures], indent=1) if arguments.json else "\n".join(lines(figures))
    sys.stdout.write(f"{text}\n")
    if not arguments.parts:
        sys.stdout.flush()
        # as data the figures are for programs
        (sys.stderr if arguments.json else sys.stdout).write(f"{left_out(parts)}\n")
    return 0 if good(figures) else 1


VERBS = {"bench": ("measure speed and memory against their budgets", add_arguments, run)}
