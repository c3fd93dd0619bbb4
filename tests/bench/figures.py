"""What a benchmark finds: figures, held against their budgets, as a small table or as data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any


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
