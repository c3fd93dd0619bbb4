"""What a state run looks like while it works: a board that events change, shown as a table or as lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

Event = Mapping[str, Any]
SILENCE = 20.0
"""Seconds after which a host that reports nothing gets a plain line all the same."""
WAITED = "One or more requisite failed"
"""How Salt's comment begins on a state that did not run because another one failed."""


def waited(state: Mapping[str, Any]) -> bool:
    """Tell whether a state only failed because another one, which it needs, did."""
    return str(state.get("comment", "")).startswith(WAITED)


@dataclass
class Row:
    """One host: how far it is, on what it works, what failed."""

    host: str
    outline: list[str] = field(default_factory=list)
    finished: set[str] = field(default_factory=set)
    done: int = 0
    total: int = 0
    last: str = ""
    failed: list[Mapping[str, Any]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    end: str = ""
    seconds: float = 0.0
    states: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def current(self) -> str:
        """Return the state that the host works on: the first of its outline that has not finished."""
        if self.end:
            return self.end
        return next((each for each in self.outline if each not in self.finished), self.last or "starting")

    @property
    def good(self) -> bool:
        """Tell whether the host's run has ended and nothing failed."""
        return self.end == "done" and not self.failed


class Board:
    """All hosts of a run."""

    def __init__(self, hosts: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        """Start with nothing done on the hosts."""
        self.clock = clock
        self.began = clock()
        self.rows = {host: Row(host) for host in hosts}

    @property
    def elapsed(self) -> float:
        """Return the seconds since the start."""
        return self.clock() - self.began

    def apply(self, event: Event) -> Row | None:
        """Change the board as the event says; returns the row that changed."""
        row = self.rows.get(event.get("host", ""))
        handler = getattr(self, f"_{event['event']}", None)
        if row is None or handler is None:
            return None
        handler(row, event)
        return row

    def _outline(self, row: Row, event: Event) -> None:
        row.outline = list(event["states"])
        row.total = len(row.outline)

    def _progress(self, row: Row, event: Event) -> None:
        row.finished.add(event["id"])  # a state that runs beside others may be reported more than once
        row.done = len(row.finished)
        row.total = max(event.get("of") or 0, row.done)
        row.last = event["id"]
        if event["result"] is False:
            row.failed.append(event)

    def _return(self, row: Row, event: Event) -> None:
        row.states = list(event["states"])
        row.failed = [each for each in row.states if each["result"] is False]
        row.done = row.total = len(row.states)
        self._finish(row, "failed" if row.failed else "done")

    def _refused(self, row: Row, event: Event) -> None:
        row.messages = list(event["messages"])
        self._finish(row, "refused")

    def _lost(self, row: Row, event: Event) -> None:
        row.messages = ["the host does not answer any more"]
        self._finish(row, "lost")

    def _finish(self, row: Row, how: str) -> None:
        row.end = how
        row.seconds = self.elapsed

    @property
    def good(self) -> bool:
        """Tell whether every host's run has ended and nothing failed."""
        return all(row.good for row in self.rows.values())

    def totals(self) -> tuple[int, int]:
        """Return the states done and all states, over all hosts."""
        return sum(row.done for row in self.rows.values()), sum(row.total for row in self.rows.values())

    def failures(self) -> list[str]:
        """Return one text for each failure: host, state, comment; what only waited for a failed state is counted."""
        texts = []
        for row in self.rows.values():
            texts += [f"{row.host}: {each['id']}: {each['comment']}" for each in row.failed if not waited(each)]
            idle = sum(map(waited, row.failed))
            texts += [f"{row.host}: {idle} more states did not run, for they need these"] if idle else []
            texts += [f"{row.host}: {message}" for message in row.messages]
            if not row.end:
                texts.append(f"{row.host}: the run did not end; it worked on: {row.current}")
        return texts

    def record(self) -> dict[str, Any]:
        """Return the run as data: each host's end, seconds and states with their durations."""
        hosts = {
            row.host: {"end": row.end, "seconds": round(row.seconds, 1), "states": row.states}
            for row in self.rows.values()
        }
        return {"seconds": round(self.elapsed, 1), "good": self.good, "hosts": hosts}


def clock_text(seconds: float) -> str:
    """Return seconds as ``m:ss``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def line(row: Row, seconds: float) -> str:
    """Return a host's row as one plain line behind the time."""
    return f"[{clock_text(seconds):>6}] {row.host:<10} {row.done:>4}/{row.total:<4} {row.current}"


class Lines:
    """Shows a board as plain lines: each host now and then, its end and its failures at once."""

    def __init__(self, board: Board, stream: TextIO, every: float = 5.0, ahead: float = 0.0) -> None:
        """Write to a stream; a host that only moves on gets a line after so many seconds.

        ``ahead`` are the seconds that had passed for the reader before the run began.
        """
        self.board, self.stream, self.every, self.ahead = board, stream, every, ahead
        self.shown: dict[str, float] = {}

    def __enter__(self) -> Lines:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def update(self, row: Row | None, event: Event) -> None:
        """Show what an event changed, unless the host had its line a moment ago; long silence is broken."""
        now = self.board.elapsed
        if row is None:
            self._silent(now)
            return
        failed = event.get("result") is False and not waited(event)
        if row.end or failed or now - self.shown.get(row.host, -self.every) >= self.every:
            self.shown[row.host] = now
            suffix = f"  FAILED {event['id']}: {event['comment']}" if failed else ""
            self._write(row, suffix)

    def _silent(self, now: float) -> None:
        for row in self.board.rows.values():
            if not row.end and now - self.shown.get(row.host, 0) >= SILENCE:
                self.shown[row.host] = now
                self._write(row)

    def _write(self, row: Row, suffix: str = "") -> None:
        self.stream.write(line(row, self.ahead + self.board.elapsed) + suffix + "\n")
        self.stream.flush()


class Screen:
    """Shows a board as a table that is redrawn in place."""

    def __init__(self, board: Board, console: Console, ahead: float = 0.0) -> None:
        """Draw on a terminal; ``ahead`` is what it is to :class:`Lines`."""
        self.live = Live(console=console, get_renderable=lambda: table(board, ahead), refresh_per_second=4)

    def __enter__(self) -> Screen:
        """Begin to draw."""
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Draw a last time and leave the table standing."""
        self.live.refresh()
        self.live.stop()

    def update(self, row: Row | None, event: Event) -> None:
        """Nothing to do: the table reads the board."""


def table(board: Board, ahead: float = 0.0) -> Table:
    """Return the board as a table."""
    done, total = board.totals()
    title = f"{done} of {total} states, {clock_text(ahead + board.elapsed)}"
    result = Table(title=title, title_justify="left", expand=True)
    for name, ratio in (("host", 1), ("states", 1), ("works on", 6)):
        result.add_column(name, ratio=ratio, no_wrap=True, overflow="ellipsis")
    colours = {"done": "green", "failed": "red", "refused": "red", "lost": "red"}
    for row in board.rows.values():
        count = Text(f"{row.done}/{row.total}")
        if row.failed:
            count.append(f" {len(row.failed)} failed", style="red")
        result.add_row(row.host, count, Text(row.current, style=colours.get(row.end, "")))
    return result


def shown(board: Board, stream: TextIO, ahead: float = 0.0) -> Lines | Screen:
    """Return the right way to show a board on a stream: a table on a terminal, lines elsewhere."""
    return Screen(board, Console(file=stream), ahead) if stream.isatty() else Lines(board, stream, ahead=ahead)
