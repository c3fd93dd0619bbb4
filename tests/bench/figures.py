"""What a benchmark finds: figures, held against their budgets, as a small table or as data."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from saltern import verbs
from saltern.catalogue import Catalogue
from saltern.model import Site

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Figure:
    """One measured value, its unit, the most it may be (None: it is only told), and how it came about."""

    what: str
    value: float
    unit: str
    budget: float | None = None
    note: str = ""

    @property
    def met(self) -> bool:
        """Tell whether the value is within its budget."""
        return self.budget is None or self.value <= self.budget

    @property
    def verdict(self) -> str:
        """Return the budget and whether it is met, for people; empty without one."""
        if self.budget is None:
            return ""
        return f"{'met' if self.met else 'EXCEEDED'} (at most {self.budget:g})"

    def as_data(self) -> dict[str, Any]:
        """Return the figure as plain data."""
        return {**asdict(self), "met": self.met}


def lines(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield the figures as the lines of a table, its columns as wide as they must be."""
    rows = [(each.what, f"{each.value:.2f} {each.unit}", each.verdict, each.note) for each in figures]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for what, value, verdict, note in rows:
        yield f"{what:<{widths[0]}}  {value:>{widths[1]}}  {verdict:<{widths[2]}}  {note}".rstrip()


def good(figures: Iterable[Figure]) -> bool:
    """Tell whether all figures are within their budgets."""
    return all(each.met for each in figures)


def medians(program: str, argument: int, runs: int) -> dict[str, float]:
    """Return the medians of what several runs of a program print as JSON for ``--one``, each in a fresh process."""
    command = [sys.executable, program, "--one", str(argument)]
    found = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(runs)]
    return {key: median(run[key] for run in found) for key in found[0]}


def measured(site: Iterable[str], work: Callable[[verbs.Inputs, Site, Catalogue], Iterable[str]]) -> dict[str, float]:
    """Return the seconds that reading a site file takes, and those with the texts made of it, their number and size."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.writelines(f"{line}\n" for line in site)
        file.flush()
        started = time.perf_counter()
        inputs = verbs.Inputs(Path(file.name), ROOT / "pillar/services")
        model, services = inputs.load()
        loaded = time.perf_counter() - started
        sizes = [len(text) for text in work(inputs, model, services)]
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "loading": loaded, "files": len(sizes), "characters": sum(sizes)}
