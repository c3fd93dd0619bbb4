"""How long the boot files of a large site take, from the site file's text to all files of all hosts.

Run it with ``python tests/bench/bench_boot.py [HOSTS]`` and the environment of ``./saltern test``. Each run has its own
process; the median is held against the budget: 1,000 hosts in 5 s.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "modules/_utils")]

from saltern import bootfiles, verbs  # noqa: E402
from saltern.answers import Sources  # noqa: E402
from saltern.catalogue import Catalogue  # noqa: E402
from saltern.model import Site  # noqa: E402

from tests.bench.figures import Figure, good, lines, measured, medians  # noqa: E402

HOSTS, RUNS, SECONDS = 1000, 3, 5.0
MIRRORS = {"debian": "http://mirror.example.org/debian", "fedora": "http://mirror.example.org/fedora/linux"}
KINDS = (
    "debian-13, firmware: uefi, layout: plain",
    "debian-13, firmware: bios, layout: lvm",
    "fedora-43, firmware: uefi",
)


def site_lines(hosts: int) -> Iterator[str]:
    """Yield the lines of a site file: a deploy host, and machines of several kinds, all to be installed."""
    yield from ("schema: 1", "name: bench", "domain: bench.example", "networks:")
    yield "  management: {cidr: 10.64.0.0/16, gateway: 10.64.255.254, vlan: 20, dns: [10.64.255.253]}"
    yield "  provisioning: {cidr: 10.65.0.0/16, gateway: 10.65.255.254}"
    yield f"mirrors: {{fedora: '{MIRRORS['fedora']}'}}"
    yield f"install: {{ssh_keys: [ssh-ed25519 {'A' * 68} admin@bench.example]}}"
    yield "hosts:"
    yield "  deploy: {roles: [deploy, controller], address: 10.64.0.2, interfaces: {eno1: {carries: provisioning}}}"
    for number in range(1, hosts):
        high, low = divmod(number + 1, 250)
        mac = f"{number >> 8:02x}:{number & 255:02x}"
        members = ", ".join(f'p{port}: {{mac: "52:54:0{port}:00:{mac}"}}' for port in (1, 2))
        yield f"  cmp{number}:"
        yield "    roles: [compute]"
        yield f"    address: 10.64.{high}.{low + 1}"
        yield "    interfaces:"
        yield "      eno3: {carries: trunk}"
        yield f"      bond0: {{carries: management, bond: {{members: {{{members}}}}}}}"
        yield f"    install: {{profile: {KINDS[number % len(KINDS)]}, disks: [{{serial: S{number}}}]}}"


def one(hosts: int) -> dict[str, float]:
    """Read a site and render its boot files in this process."""

    def texts(inputs: verbs.Inputs, model: Site, services: Catalogue) -> Iterable[str]:
        return bootfiles.tree(Sources(model, inputs.kickstart(), {**MIRRORS, **model.mirrors})).values()

    return {**measured(site_lines(hosts), texts), "cpu": time.process_time()}


def figures(hosts: int = HOSTS) -> list[Figure]:
    """Return the medians of several runs."""
    found = medians(__file__, hosts, RUNS)
    note = f"{found['files']:.0f} files, {found['characters'] / 1e6:.1f} MB of text; CPU {found['cpu']:.1f} s"
    return [
        Figure(f"boot files of {hosts} hosts", found["seconds"], "s", SECONDS * max(hosts / 1000, 1), note),
        Figure("of it reading the site file", found["loading"], "s"),
    ]


def main(words: list[str]) -> int:
    """Print the figures; return 1 when a budget is exceeded."""
    found = figures(*map(int, words[:1]))
    print("\n".join(lines(found)))
    return 0 if good(found) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(int(sys.argv[2]))))
    else:
        sys.exit(main(sys.argv[1:]))
