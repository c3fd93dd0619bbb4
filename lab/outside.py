"""The lab's package proxy as a process of this machine: started with the lab, gone with it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from lab import fabric, layout
from lab.command import LabError, run
from lab.layout import PROXY_PORT, Lab
from lab.mirror import Entry
from lab.units import Unit, wait


def unit(lab: Lab) -> Unit:
    """Return the process that the proxy is on this machine."""
    return Unit(f"saltern-{lab.name}.proxy", lab.state)


def config_file(lab: Lab) -> Path:
    """Return the file that the proxy is started with."""
    return lab.state / "proxy.json"


def config(lab: Lab, entries: Iterable[Entry]) -> dict[str, object]:
    """Return the proxy's configuration: where it listens and the mirrors that nodes may reach."""
    paths: dict[tuple[str, bool], set[str]] = {}
    for each in entries:
        parts = urlsplit(each.url)
        paths.setdefault((each.host, parts.scheme == "https"), set()).add(parts.path)
    return {
        "namespace": str(fabric.NAMESPACES / lab.gateway),
        "address": lab.proxy_address,
        "port": PROXY_PORT,
        "cache": str(layout.CACHE / "debs"),
        "upstreams": [[host, tls, sorted(found)] for (host, tls), found in sorted(paths.items())],
    }


def up(lab: Lab, entries: Iterable[Entry]) -> None:
    """Start the proxy unless it runs with this configuration; afterwards it listens."""
    path = config_file(lab)
    text = json.dumps(config(lab, entries), indent=1)
    process = unit(lab)
    if process.pid and (not path.exists() or path.read_text() != text):
        process.kill()
    path.write_text(text)
    process.start("env", f"PYTHONPATH={layout.REPOSITORY}", sys.executable, "-P", "-m", "lab.proxy", str(path))
    try:
        wait(lambda: listening(lab) or not process.pid, 15, "the package proxy to listen")
    except LabError as error:
        raise LabError(f"{error}\n{process.words()}") from error
    if not process.pid:
        raise LabError(f"the package proxy ended:\n{process.words()}")


def listening(lab: Lab) -> bool:
    """Tell whether something listens on the proxy's port in the gateway namespace."""
    return f":{PROXY_PORT}" in run("ip", "netns", "exec", lab.gateway, "ss", "-Hltn").stdout


def down(lab: Lab) -> None:
    """End the proxy."""
    unit(lab).kill()
    config_file(lab).unlink(missing_ok=True)
