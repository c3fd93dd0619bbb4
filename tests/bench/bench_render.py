"""How long a large site takes to be validated, resolved and rendered, all files of all hosts, and in how much memory.

Run it with ``python tests/bench/bench_render.py [HOSTS …]`` and the environment of ``./saltern test``. Each size runs
in a process of its own, several times; the medians are held against the budget: 1,000 hosts in 30 s and 500 MB, linear.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "modules/_utils")]

from saltern import planning, verbs  # noqa: E402
from saltern.catalogue import Catalogue  # noqa: E402
from saltern.model import Site  # noqa: E402

from tests.bench.figures import Figure, good, lines, measured, medians  # noqa: E402

SIZES = (250, 500, 1000)
RUNS = 3
SECONDS, MEGABYTES = 30.0, 500.0
SLACK = 1.5
"""How much more a host may cost in the largest site than in the smallest; more is not linear."""


def site_lines(hosts: int) -> Iterator[str]:
    """Yield the lines of a site file: a deploy host, a controller, computes; each tenth has an option of its own."""
    yield from ("schema: 1", "name: bench", "domain: bench.example", "networks:")
    yield from ("  management: {cidr: 10.64.0.0/16, gateway: 10.64.255.254}", "  tunnel: {cidr: 10.65.0.0/16, vlan: 4}")
    yield '  trunk: {vlans: ["100-1999"]}'
    yield "  provider: {public: {vlan: 2000, cidr: 198.51.100.0/24, gateway: 198.51.100.1, external: true}}"
    yield "hosts:"
    for number in range(hosts):
        name, role = (
            [("deploy", "deploy"), ("ctl1", "controller")][number] if number < 2 else (f"cmp{number}", "compute")
        )
        high, low = divmod(number + 1, 250)
        mac = f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"
        yield f"  {name}:"
        yield f"    roles: [{role}]"
        yield f"    address: 10.64.{high}.{low + 1}"
        yield f'    interfaces: {{eno1: {{carries: management, mac: "{mac}"}}, eno2: {{carries: trunk}}}}'
        if role == "compute" and number % 10 == 0:
            yield "    services:"
            yield f"      nova: {{files: {{/etc/nova/nova.conf: {{DEFAULT: {{reserved_host_memory_mb: {number}}}}}}}}}"


def one(hosts: int) -> dict[str, float]:
    """Validate, resolve and render a site in this process; return seconds, peak memory and the size of all files."""

    def texts(inputs: verbs.Inputs, model: Site, services: Catalogue) -> Iterable[str]:
        return (text for _, files in planning.plans(model, services, {}) for text in files.values())

    found = measured(site_lines(hosts), texts)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {**found, "cpu": used.ru_utime + used.ru_stime, "megabytes": used.ru_maxrss / 1024}


def judged(results: dict[int, dict[str, float]]) -> list[Figure]:
    """Return the largest site's time and memory and how the cost of a host grows, against the budgets."""
    small, large = min(results), max(results)
    growth = (results[large]["cpu"] / large) / (results[small]["cpu"] / small)
    scale, found = max(large / 1000, 1), results[large]
    note = f"medians of {RUNS}: {found['files']:.0f} files, {found['characters'] / 1e6:.1f} MB of text"
    return [
        Figure(f"{large} hosts rendered", found["seconds"], "s", SECONDS * scale, note),
        Figure(f"{large} hosts: peak memory", found["megabytes"], "MB", MEGABYTES * scale),
        Figure(f"a host's cost among {large} ÷ among {small}", growth, "x", SLACK, "1 is linear"),
    ]


def figures(sizes: Iterable[int] = SIZES) -> list[Figure]:
    """Measure sites of several sizes."""
    return judged({hosts: medians(__file__, hosts, RUNS) for hosts in sizes})


def main(sizes: list[int]) -> int:
    """Print a line for each size and the verdict; return 1 when a budget is exceeded."""
    results = {}
    for hosts in sizes:
        found = results[hosts] = medians(__file__, hosts, RUNS)
        print(
            f"{hosts:5} hosts: {found['seconds']:6.2f} s (CPU {found['cpu']:.2f} s, reading {found['loading']:.2f} s),"
            f" peak {found['megabytes']:.0f} MB, {found['files']:.0f} files, {found['characters'] / 1e6:.1f} MB of text"
        )
    verdict = judged(results)
    print("\n".join(lines(verdict)))
    return 0 if good(verdict) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(int(sys.argv[2]))))
    else:
        sys.exit(main([int(word) for word in sys.argv[1:]] or [*SIZES]))
