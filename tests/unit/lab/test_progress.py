"""The board of a state run, and how it is shown."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from lab import progress
from lab.progress import Board, Lines


class Clock:
    """A clock that stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def step(host: str, name: str, result: bool | None = True, of: int = 3, comment: str = "") -> dict[str, Any]:
    return {"event": "progress", "host": host, "id": name, "result": result, "of": of, "comment": comment}


def end(host: str, *states: tuple[str, bool, str]) -> dict[str, Any]:
    done = [{"id": name, "result": result, "comment": comment, "duration": 1.0} for name, result, comment in states]
    return {"event": "return", "host": host, "retcode": 0, "states": done}


@pytest.fixture
def board() -> Board:
    return Board(["ctl1", "cmp1"], Clock())


def test_the_current_state_is_the_first_that_has_not_finished(board: Board) -> None:
    row = board.apply({"event": "outline", "host": "ctl1", "states": ["packages", "files", "units"]})
    assert row
    assert (row.current, row.done, row.total) == ("packages", 0, 3)
    board.apply(step("ctl1", "packages"))
    assert (row.current, row.done) == ("files", 1)


def test_without_an_outline_it_is_the_last_one_reported(board: Board) -> None:
    row = board.rows["cmp1"]
    assert row.current == "starting"
    board.apply(step("cmp1", "packages", of=40))
    assert (row.current, row.done, row.total) == ("packages", 1, 40)


def test_events_of_other_hosts_and_unknown_events_change_nothing(board: Board) -> None:
    assert board.apply(step("other", "x")) is None
    assert board.apply({"event": "start", "jid": "1", "hosts": ["ctl1"]}) is None
    assert board.totals() == (0, 0)


def test_good_only_when_every_host_ended_without_failure(board: Board) -> None:
    board.apply(end("ctl1", ("a", True, "")))
    assert not board.good
    board.apply(end("cmp1", ("a", True, ""), ("b", True, "")))
    assert board.good
    assert board.failures() == []
    assert board.totals() == (3, 3)


def test_failures_name_host_state_and_comment_and_count_what_waited(board: Board) -> None:
    waiting = ("c", False, "One or more requisite failed: b")
    board.apply(end("ctl1", ("a", True, ""), ("b", False, "no such unit"), waiting, waiting))
    board.apply({"event": "refused", "host": "cmp1", "retcode": 1, "messages": ["Pillar failed"]})
    assert not board.good
    assert board.failures() == [
        "ctl1: b: no such unit",
        "ctl1: 2 more states did not run, for they need these",
        "cmp1: Pillar failed",
    ]


def test_a_run_that_breaks_off_names_the_hosts_without_an_end(board: Board) -> None:
    board.apply({"event": "lost", "host": "ctl1"})
    board.apply(step("cmp1", "packages"))
    assert board.failures() == [
        "ctl1: the host does not answer any more",
        "cmp1: the run did not end; it worked on: packages",
    ]


def test_plain_lines_come_now_and_then_but_failures_and_ends_at_once() -> None:
    clock, stream = Clock(), io.StringIO()
    board = Board(["ctl1"], clock)
    lines = Lines(board, stream, every=5)

    def feed(event: dict[str, Any], at: float) -> None:
        clock.now = 100 + at
        lines.update(board.apply(event), event)

    feed(step("ctl1", "one", of=5), 0)
    feed(step("ctl1", "two", of=5), 1)
    feed(step("ctl1", "three", result=False, of=5, comment="disk full"), 2)
    feed(step("ctl1", "four", result=False, of=5, comment="One or more requisite failed: three"), 3)
    feed(step("ctl1", "five", of=5), 75)
    feed(end("ctl1", ("one", True, ""), ("three", False, "disk full")), 76)
    shown = [" ".join(line.split()) for line in stream.getvalue().splitlines()]
    assert shown == [
        "[ 0:00] ctl1 1/5 one",
        "[ 0:02] ctl1 3/5 three FAILED three: disk full",
        "[ 1:15] ctl1 5/5 five",
        "[ 1:16] ctl1 2/2 failed",
    ]


def test_a_host_that_works_in_silence_gets_a_line_now_and_then() -> None:
    clock, stream = Clock(), io.StringIO()
    board = Board(["ctl1"], clock)
    lines = Lines(board, stream, ahead=50)
    board.apply({"event": "outline", "host": "ctl1", "states": ["packages", "files"]})
    for second in range(0, 61, 5):
        clock.now = 100 + second
        lines.update(board.apply({"event": "tick"}), {"event": "tick"})
    shown = [" ".join(line.split()) for line in stream.getvalue().splitlines()]
    assert shown == ["[ 1:10] ctl1 0/2 packages", "[ 1:30] ctl1 0/2 packages", "[ 1:50] ctl1 0/2 packages"]


def test_the_table_shows_every_host_its_count_and_its_state(board: Board) -> None:
    board.apply(step("ctl1", "keystone: schema is current", of=80))
    stream = io.StringIO()
    Console(file=stream, width=100).print(progress.table(board))
    text = stream.getvalue()
    assert "1 of 80 states, 0:00" in text
    assert "keystone: schema is current" in text
    assert "cmp1" in text


def test_the_tables_clock_goes_on_from_what_was_before(board: Board) -> None:
    assert progress.table(board, ahead=75).title == "0 of 0 states, 1:15"


def test_text_in_square_brackets_is_shown_as_it_is(board: Board) -> None:
    board.apply(step("ctl1", "nova: [red]libvirt[/red]"))
    stream = io.StringIO()
    Console(file=stream, width=100).print(progress.table(board))
    assert "nova: [red]libvirt[/red]" in stream.getvalue()


def test_the_record_holds_each_hosts_states() -> None:
    board = Board(["ctl1"], Clock())
    board.apply(end("ctl1", ("a", True, "")))
    record = board.record()
    assert record["good"] is True
    assert record["hosts"]["ctl1"]["states"][0]["duration"] == 1.0
