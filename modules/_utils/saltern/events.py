"""What happens to hosts, told: a line in the journal, and an event on the Salt master's bus where there is a master.

Tags are ``saltern/host/HOST/EVENT``; reactors and ``salt-run state.event`` see them.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from saltern import commands

PROGRAMS = "/opt/saltern/salt/bin"
"""Where Salt's programs are."""
TIMEOUT = 60.0


class Teller:
    """Tells events one after the other, beside the work; a program that uses it ends when all are told."""

    def __init__(self, programs: str = PROGRAMS) -> None:
        """Keep where Salt's programs are."""
        self.program = Path(programs, "salt-run")
        self.worker = ThreadPoolExecutor(max_workers=1)

    def __call__(self, host: str, event: str, cause: str) -> None:
        """Tell an event; a master that cannot be told of it delays nobody."""
        sys.stderr.write(f"host {host}: {event}: {cause}\n")
        sys.stderr.flush()
        if self.program.exists():
            self.worker.submit(self._fire, f"saltern/host/{host}/{event}", {"host": host, "cause": cause})

    def _fire(self, tag: str, data: dict[str, str]) -> None:
        command = [str(self.program), "--log-level=quiet", "event.send", tag, json.dumps(data)]
        trouble = commands.bounded(command, commands.ENVIRONMENT, TIMEOUT)
        if trouble:
            sys.stderr.write(f"{tag}: the master was not told: {trouble}\n")
