"""What a lab says of itself at rest: its memory, and where the time of its last highstate went."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from lab import status
from lab.command import LabError
from lab.layout import Lab
from tests.bench.figures import Figure

GIB = 1 << 30
BUDGET = 8.0
PAUSE = 2.0
SLOWEST = 5


def memory(lab: Lab, runs: int) -> list[Figure]:
    """Return the proportional set size of all nodes, and of each."""
    samples: list[dict[str, int]] = []
    for number in range(runs):
        time.sleep(PAUSE if number else 0)
        samples.append({node.id: status.of(lab, node).memory for node in lab.nodes})
    total = median(sum(sample.values()) for sample in samples)
    whole = Figure("memory at rest (PSS)", total / GIB, "GiB", BUDGET, f"median of {runs}, {len(lab.nodes)} nodes")
    parts = {node.id: median(sample[node.id] for sample in samples) for node in lab.nodes}
    return [whole, *(Figure(f"{name}: memory", size / GIB, "GiB") for name, size in parts.items())]


def last_highstate(folder: Path) -> dict[str, Any]:
    """Return the newest record of a highstate."""
    for path in sorted(folder.glob("[0-9]*.json"), reverse=True):
        record: dict[str, Any] = json.loads(path.read_text())
        if record.get("function") == "state.highstate":
            return record
    raise LabError(f"{folder}: no highstate was recorded yet: `./saltern lab up` runs one")


def seconds(state: dict[str, Any]) -> float:
    """Return the duration of a state, which Salt tells in milliseconds."""
    return float(state["duration"] or 0) / 1000


def times(lab: Lab) -> list[Figure]:
    """Return how long each host's part of the last highstate took, and its slowest states."""
    record = last_highstate(lab.state / "runs")
    return [figure for host, row in record["hosts"].items() for figure in split(host, row)]


def split(host: str, row: dict[str, Any]) -> Iterator[Figure]:
    """Yield the figures of one host's run."""
    states = sorted(row["states"], key=seconds, reverse=True)
    note = f"{len(states)} states, {sum(map(seconds, states)):.1f} s in them, {row['end']}"
    yield Figure(f"{host}: last highstate", row["seconds"], "s", note=note)
    for state in states[:SLOWEST]:
        changed = "changed something" if state["changed"] else ""
        yield Figure(f"{host}:   {state['id']}", seconds(state), "s", note=changed)
