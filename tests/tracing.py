"""See with which arguments every program is started: strace on each thread of a node, and on all that come from them.

``strace -f -p`` follows the children that a process makes after it was attached, not those that it has already: a
salt-minion's worker, a master's processes, what systemd has started. So everybody is attached, and /proc says whether
somebody was missed. ``--seccomp-bpf``, which is faster, cannot be had: it is for programs that strace itself starts,
and sets no_new_privs on them, with which the sudo of nova's and neutron's agents does not work.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

STRACE = ("strace", "-f", "-qq", "-s", "100000", "-e", "trace=execve,execveat", "-e", "signal=none")
SECONDS = 120
"""Within this time everybody must be attached."""


def of_node(init: int) -> list[int]:
    """Return the processes of the node whose init has that id on this machine: those of its PID namespace."""
    space, found = os.readlink(f"/proc/{init}/ns/pid"), []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.readlink(path / "ns/pid") == space:
                found.append(int(path.name))
    return found


@dataclass(frozen=True)
class Thread:
    """A thread as /proc shows it."""

    id: int
    process: int
    state: str
    tracer: int


def threads(process: int) -> Iterator[Thread]:
    """Yield a process's threads."""
    for path in Path(f"/proc/{process}/task").glob("*/status"):
        with suppress(OSError):
            said = dict(line.split(":\t", 1) for line in path.read_text().splitlines() if ":\t" in line)
            yield Thread(int(said["Pid"]), int(said["Tgid"]), said["State"][0], int(said["TracerPid"]))


class Trace:
    """The watch over some processes and all that they start."""

    def __init__(self, folder: Path, everyone: Callable[[], Iterable[int]]) -> None:
        """Keep what is seen in a folder; the function tells which processes there are at a moment."""
        self.folder, self.everyone = folder, everyone
        self.watchers: list[subprocess.Popen[bytes]] = []

    def missed(self) -> dict[int, int]:
        """Return the threads that live and are not watched: id → process."""
        ours = {each.pid for each in self.watchers}
        every = (thread for process in self.everyone() for thread in threads(process))
        return {each.id: each.process for each in every if each.state not in "ZX" and each.tracer not in ours}

    def begin(self, seconds: float = SECONDS) -> None:
        """Watch everybody; a process that came while the others were attached is attached in the next round."""
        end = time.monotonic() + seconds
        while missed := self.missed():
            assert time.monotonic() < end, f"not watched after {seconds:.0f} s: {self.described(missed)}"
            self._attach(missed)

    def _attach(self, missed: Mapping[int, int]) -> None:
        name = self.folder / f"{len(self.watchers)}"
        # With a process come its threads; of one that is watched already, those that are not.
        named = [str(each) for each, process in missed.items() if each == process or process not in missed]
        argv = [*STRACE, "-o", f"{name}.trace", "-p", ",".join(named)]
        with name.with_suffix(".errors").open("wb") as errors:
            watcher = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=errors)
        self.watchers.append(watcher)
        end = time.monotonic() + SECONDS / 4
        # A watcher ends on its own when all those that it was to attach are gone.
        while watcher.poll() is None and missed.keys() & self.missed().keys() and time.monotonic() < end:
            time.sleep(0.05)

    def described(self, missed: Iterable[int]) -> list[str]:
        """Return threads by their id and name."""
        found = []
        for each in missed:
            with suppress(OSError):
                found.append(f"{each} {Path(f'/proc/{each}/comm').read_text().strip()}")
        return found

    def end(self) -> None:
        """Let go of everybody."""
        for each in self.watchers:
            each.terminate()
        for each in self.watchers:
            try:
                each.wait(SECONDS)
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait()

    def seen(self) -> bytes:
        """Return all that strace wrote."""
        return b"".join(path.read_bytes() for path in sorted(self.folder.glob("*.trace")))


@contextmanager
def watching(folder: Path, everyone: Callable[[], Iterable[int]]) -> Iterator[Trace]:
    """Watch processes, from the first moment to the end of the block."""
    folder.mkdir(parents=True)
    trace = Trace(folder, everyone)
    try:
        trace.begin()
        yield trace
    finally:
        trace.end()


def started(seen: bytes, *words: str) -> bool:
    """Tell whether a program was started with these first words, wherever it lies."""
    first, *rest = (re.escape(word.encode()) for word in words)
    pattern = rb'execve\("[^"]*", \["(?:[^"]*/)?' + first + b'"' + b"".join(b', "' + each + b'"' for each in rest)
    return re.search(pattern, seen) is not None
