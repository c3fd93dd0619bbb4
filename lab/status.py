"""What runs: nodes, their memory and failed units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import fabric, nodes, outside
from lab.layout import Lab, Node

MIB = 1 << 20


@dataclass(frozen=True)
class NodeStatus:
    """One node: its init's process id on this machine, its memory as proportional set size, its failed units."""

    node: str
    address: str
    roles: tuple[str, ...]
    pid: int | None
    processes: int
    memory: int
    failed: tuple[str, ...]


def of(lab: Lab, node: Node) -> NodeStatus:
    """Return the status of a node."""
    pid = nodes.leader(lab, node)
    inside = members(pid) if pid else []
    failed = failed_units(lab, node) if pid else ()
    memory = sum(map(proportional, inside))
    return NodeStatus(node.id, node.host.address, node.host.roles, pid, len(inside), memory, failed)


def members(pid: int) -> list[int]:
    """Return a process and all that descend from it: of a node's init, all that the node runs."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def proportional(pid: int) -> int:
    """Return a process's proportional set size in bytes, 0 for one that has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


def failed_units(lab: Lab, node: Node) -> tuple[str, ...]:
    """Return the units of a node that have failed."""
    said = nodes.call(lab, node, "systemctl", "--failed", "--plain", "--no-legend", "--no-pager", check=False)
    return tuple(line.split()[0] for line in said.splitlines() if line.strip())


def as_data(lab: Lab) -> dict[str, object]:
    """Return the lab's status as plain data."""
    rows = [of(lab, node) for node in lab.nodes]
    proxy = outside.unit(lab).pid
    return {
        "site": lab.name,
        "network": fabric.exists(lab.fabric),
        "proxy": proxy,
        "memory": sum(row.memory for row in rows),
        "nodes": [asdict(row) for row in rows],
    }


def lines(data: dict[str, object]) -> Iterable[str]:
    """Yield the status as text."""
    yield f"lab {data['site']}: network {'up' if data['network'] else 'down'}, proxy {data['proxy'] or 'down'}"
    rows: list[dict[str, object]] = data["nodes"]  # type: ignore[assignment]
    for row in rows:
        state = f"pid {row['pid']}" if row["pid"] else "down"
        failed = f"  failed: {' '.join(row['failed'])}" if row["failed"] else ""  # type: ignore[arg-type]
        roles = ",".join(row["roles"])  # type: ignore[arg-type]
        memory = int(str(row["memory"])) / MIB
        yield f"  {row['node']:<10} {row['address']:<15} {roles:<26} {state:<12} {memory:>6.0f} MiB{failed}"
    yield f"  memory of all nodes (PSS): {int(str(data['memory'])) / MIB:.0f} MiB"
