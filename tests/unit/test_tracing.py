"""The tracer of the canary's test sees what processes start that ran before it came, and says whom it has missed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tracing

FAMILY = """
import os, signal, subprocess, sys, threading
child = os.fork()
here = f"{sys.argv[1]}/{'child' if child == 0 else 'parent'}"
ready = threading.Event()
def start():
    ready.wait()
    subprocess.run(["/bin/true", f"of the {os.path.basename(here)}"])
    open(here + ".done", "w").close()
threading.Thread(target=start).start()
signal.signal(signal.SIGUSR1, lambda *_: ready.set())
open(here, "w").write(str(os.getpid()))
while not os.path.exists(here + ".done"):
    signal.sigtimedwait([], 0.05)
"""

needs_strace = pytest.mark.skipif(
    not shutil.which("strace") or os.geteuid() != 0, reason="needs root and strace; `./saltern test` installs it"
)


def wait_for(*paths: Path) -> None:
    end = time.monotonic() + 60
    while not all(path.exists() and (path.suffix or path.read_text()) for path in paths):
        assert time.monotonic() < end, f"not there: {paths}"
        time.sleep(0.02)


@pytest.fixture
def family(tmp_path: Path) -> Iterator[list[int]]:
    """A process with a child of its own, each with a thread that waits to start a program."""
    with subprocess.Popen([sys.executable, "-c", FAMILY, str(tmp_path)], start_new_session=True) as parent:
        places = [tmp_path / name for name in ("parent", "child")]
        wait_for(*places)
        yield [int(place.read_text()) for place in places]
        os.killpg(parent.pid, signal.SIGKILL)


@needs_strace
def test_a_child_that_ran_before_is_watched_too(family: list[int], tmp_path: Path) -> None:
    with tracing.watching(tmp_path / "trace", lambda: family) as trace:
        assert trace.missed() == {}
        assert (tmp_path / "trace" / "0.errors").read_text() == ""
        for pid in family:
            os.kill(pid, signal.SIGUSR1)
        wait_for(tmp_path / "parent.done", tmp_path / "child.done")
    assert tracing.started(trace.seen(), "true", "of the parent")
    assert tracing.started(trace.seen(), "true", "of the child")


@needs_strace
def test_who_is_not_watched_is_named(family: list[int], tmp_path: Path) -> None:
    """As with `strace -p` on the parent alone."""
    both = tracing.Trace(tmp_path, lambda: family)
    with tracing.watching(tmp_path / "trace", lambda: family[:1]) as trace:
        both.watchers = trace.watchers
        missed = both.missed()
        assert set(missed.values()) == {family[1]}
        assert len(missed) == 2, "the child and its thread"
        assert f"{family[1]} python" in both.described(missed)[0]
        with pytest.raises(AssertionError, match="not watched after 0 s: "):
            both.begin(seconds=0)
        os.kill(family[1], signal.SIGUSR1)
        wait_for(tmp_path / "child.done")
    assert not tracing.started(trace.seen(), "true", "of the child")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a namespace")
def test_a_node_is_its_namespace() -> None:
    with subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "sleep", "60"]) as outer:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        wait_for(children)
        init = int(children.read_text())
        assert tracing.of_node(init) == [init]
        assert os.getpid() in tracing.of_node(outer.pid)
        assert init not in tracing.of_node(outer.pid)
        outer.kill()


SEEN = b"""\
7 execve("/usr/bin/setpriv", ["setpriv", "--", "nova-manage", "db", "sync"], 0x7ff /* 3 vars */) = 0
7 execve("/usr/bin/keystone-manage", ["/usr/bin/keystone-manage", "bootstrap"], 0x7ff /* 3 vars */ <unfinished ...>
7 execve("/usr/bin/keystone-manage", ["keystone-manage", "db_sync"], 0x7ff /* 3 vars */) = 0
"""


@pytest.mark.parametrize(
    ("words", "was"),
    [
        (("keystone-manage", "bootstrap"), True),
        (("keystone-manage",), True),
        (("keystone-manage", "db_sync"), True),
        (("keystone-manage", "fernet_setup"), False),
        (("nova-manage", "db", "sync"), False),
        (("manage", "db_sync"), False),
    ],
)
def test_a_program_is_known_by_its_first_words(words: tuple[str, ...], was: bool) -> None:
    assert tracing.started(SEEN, *words) is was
