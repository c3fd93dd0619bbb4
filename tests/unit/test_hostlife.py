"""The life of a host: what may follow what, whatever happens in whatever order; and its file, whatever is in it."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from saltern import hoststore
from saltern.errors import Problems
from saltern.hostlife import (
    ALARMS,
    HISTORY,
    NOTHING,
    STATES,
    TRANSITIONS,
    Armed,
    Record,
    alarmed,
    in_time,
    locked,
    moved,
)
from saltern.hoststore import Store

ARMED = Armed("52:54:00:00:00:03", "10.0.0.3", "preseed.cfg")
EVENTS = st.lists(st.tuples(st.sampled_from(sorted(TRANSITIONS)), st.integers(0, 5000)), max_size=60)


def armed(until: int = 3600) -> Record:
    return moved(Record("cmp1"), "arm", 0, "a test", armed=ARMED, expires=until)


@given(EVENTS)
def test_only_what_the_table_has_happens(events: list[tuple[str, int]]) -> None:
    record, now = Record("cmp1"), 0
    for event, later in events:
        now += later
        before = record
        if before.state not in TRANSITIONS[event].sources:
            with pytest.raises(Problems) as refused:
                moved(record, event, now, "a test")
            assert f"hosts:cmp1: '{before.state}': it cannot {TRANSITIONS[event].does} now" in str(refused.value)
            continue
        record = moved(record, event, now, "a test")
        assert record.state == TRANSITIONS[event].target
        assert record.since == (now if record.state != before.state else before.since)
        if event != "progress":
            assert (record.history[-1].event, record.history[-1].time) == (event, now)
    assert len(record.history) <= HISTORY


@given(EVENTS)
def test_an_installation_begins_only_after_it_was_armed(events: list[tuple[str, int]]) -> None:
    """Exactly one: between two fetches of answers there is always an operator."""
    record, allowed = Record("cmp1"), 0
    for event, _ in events:
        try:
            record = moved(record, event, 0, "a test")
        except Problems:
            continue
        allowed += {"arm": 1, "fetch": -1, "expire": 0, "abort": 0}.get(event, 0)
        allowed = 0 if event in ("expire", "abort", "lock") else allowed
        assert allowed in (0, 1)
        assert (record.state == "armed") == (allowed == 1)


@pytest.mark.parametrize("state", STATES)
def test_there_is_a_way_out_of_every_state(state: str) -> None:
    reached, more = {state}, True
    while more:
        found = {each.target for each in TRANSITIONS.values() if reached & set(each.sources)}
        more, reached = not found <= reached, reached | found
    assert "in service" in reached


def test_the_usual_life() -> None:
    record = armed()
    for event in ("fetch", "progress", "exchange", "progress", "installed", "contact", "configured", "serve", "arm"):
        record = moved(record, event, 1, "a test")
    assert record.state == "armed"


@pytest.mark.parametrize(
    ("record", "advice"),
    [
        (armed(), "`hosts abort` ends that"),
        (moved(armed(), "fetch", 0, ""), "`hosts abort` ends its installation first"),
        (locked(armed(), 0, "twice"), "'locked (twice)': it cannot be armed for an installation now"),
        (locked(armed(), 0, "twice"), "then `hosts unlock`"),
    ],
)
def test_a_refusal_says_what_to_do(record: Record, advice: str) -> None:
    with pytest.raises(Problems) as refused:
        moved(record, "arm", 0, "a test")
    assert advice in str(refused.value)


def test_what_was_not_used_in_time_is_gone() -> None:
    record = armed(until=3600)
    assert in_time(record, 3599) is record
    gone = in_time(replace(record, token="a", secret="b"), 3600)
    assert (gone.state, gone.armed, gone.token, gone.secret) == ("enrolled", None, "", "")
    assert gone.alarms[-1].what == "time ran out: nobody fetched its answers"
    installing = moved(record, "fetch", 1, "", step="disks", expires=10)
    assert in_time(installing, 10).alarms[-1].what == "time ran out: installing, last heard: disks"
    assert in_time(Record("cmp1", "in service"), 10**12).state == "in service"


def test_a_locked_host_has_no_rights() -> None:
    record = locked(replace(armed(), token="a", secret="b", key="c"), 5, "its answers were asked for twice")
    assert {key: getattr(record, key) for key in NOTHING} == dict(NOTHING)
    assert (record.reason, record.key) == ("its answers were asked for twice", "c")
    assert record.alarms[-1].what == record.reason


def test_alarms_are_counted_and_bounded() -> None:
    record = Record("cmp1")
    for number in range(2 * ALARMS):
        record = alarmed(alarmed(record, number, "again"), number, f"alarm {number}")
    assert len(record.alarms) == ALARMS
    assert {each.what: each.times for each in record.alarms}["again"] == 2 * ALARMS


# --- files


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "saltern/hosts"))


def test_a_record_is_read_as_it_was_written(store: Store) -> None:
    assert store.hosts() == []
    assert store.read("cmp1") == Record("cmp1")
    record = locked(moved(armed(), "fetch", 1, "x"), 2, "why")
    assert store.change("cmp1", lambda before: (replace(record, armed=ARMED), before)) == Record("cmp1")
    assert store.read("cmp1") == replace(record, armed=ARMED)
    assert store.all() == [store.read("cmp1")]
    assert stat.S_IMODE(os.stat(store.directory).st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in store.directory.iterdir()} == {0o600}


def test_what_is_refused_changes_nothing(store: Store) -> None:
    store.change("cmp1", lambda _: (armed(), None))
    kept = store.path("cmp1").stat()

    def refuse(record: Record) -> tuple[Record, None]:
        return moved(record, "serve", 0, ""), None

    with pytest.raises(Problems):
        store.change("cmp1", refuse)
    store.change("cmp1", lambda record: (record, None))
    assert store.path("cmp1").stat().st_mtime_ns == kept.st_mtime_ns


@pytest.mark.parametrize("name", ["", ".", "../x", "a/b", "A", "cmp1.json", "x" * 64, "12", "-a", "a\n"])
def test_what_is_no_host_is_no_path(store: Store, name: str) -> None:
    with pytest.raises(Problems, match="a host's id, as in the site file"):
        store.change(name, lambda record: (record, None))
    assert not store.directory.exists()


GOOD = json.loads(hoststore.text_of(locked(armed(), 1, "x")))
DAMAGE = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(sorted(GOOD)).map(lambda key: json.dumps({k: v for k, v in GOOD.items() if k != key}).encode()),
    st.tuples(st.sampled_from(sorted(GOOD)), st.sampled_from([None, 1.5, {}, [1], [{}], True, [{"time": "x"}]])).map(
        lambda pair: json.dumps({**GOOD, pair[0]: pair[1]}).encode()
    ),
    st.sampled_from(["cmp2", "nowhere"]).map(
        lambda each: json.dumps({**GOOD, "host": each, "state": each if each == "nowhere" else "armed"}).encode()
    ),
    st.just(json.dumps({**GOOD, "more": 1}).encode()),
)


@given(damage=DAMAGE)
def test_a_damaged_file_is_named(tmp_path_factory: pytest.TempPathFactory, damage: bytes) -> None:
    found = Store(str(tmp_path_factory.mktemp("hosts")))
    found.path("cmp1").write_bytes(damage)
    said = ""
    try:
        assert found.read("cmp1").host == "cmp1"
        # what the damage has left as it was
        assert json.loads(damage).keys() == GOOD.keys()
    except Problems as refused:
        said = str(refused)
    assert not said or f"{found.path('cmp1')}: 'not readable': a record that this release wrote" in said


def test_what_cannot_be_read_or_written_is_said(tmp_path: Path, store: Store) -> None:
    store.directory.parent.mkdir()
    store.directory.write_text("")
    with pytest.raises(Problems, match="a directory of root's own"):
        store.change("cmp1", lambda _: (armed(), None))
    other = Store(str(tmp_path / "other"))
    other.path("cmp1").mkdir(parents=True)
    with pytest.raises(Problems, match="a file that can be read"):
        other.read("cmp1")
    other.path("cmp1").rmdir()
    (other.directory / ".cmp1.json.saltern-new").mkdir()
    with pytest.raises(Problems, match="a file that can be written"):
        other.change("cmp1", lambda _: (armed(), None))


def count(directory: str) -> None:
    for _ in range(50):
        Store(directory).change("cmp1", lambda record: (alarmed(record, 0, "one"), None))


def test_writers_wait_for_each_other(store: Store) -> None:
    workers = [multiprocessing.Process(target=count, args=(str(store.directory),)) for _ in range(4)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert store.read("cmp1").alarms[0].times == 200
