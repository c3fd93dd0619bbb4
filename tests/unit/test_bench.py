"""The verb bench: its figures, its table, what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from frontdoor import __main__ as main
from frontdoor import bench
from lab.command import LabError
from tests.bench import bench_boot, bench_deploy, bench_render, bench_rest
from tests.bench.figures import Figure, good, lines


def test_a_figure_is_held_against_its_budget() -> None:
    assert Figure("a", 3.0, "s", 3.0).met
    assert not Figure("a", 3.1, "s", 3.0).met
    assert Figure("a", 1e9, "s").met
    assert not good([Figure("a", 1, "s", 2), Figure("b", 3, "s", 2)])


def test_the_table_is_aligned() -> None:
    table = list(lines([Figure("short", 1, "s", 2, "note"), Figure("a longer name", 123.456, "MB", 100)]))
    assert [line.split() for line in table] == [
        ["short", "1.00", "s", "met", "(at", "most", "2)", "note"],
        ["a", "longer", "name", "123.46", "MB", "EXCEEDED", "(at", "most", "100)"],
    ]
    assert table[0].index("met") == table[1].index("EXCEEDED")


def test_sizes_that_cost_too_much_are_seen() -> None:
    cheap = {"seconds": 1.0, "cpu": 1.0, "megabytes": 50.0, "files": 10.0, "characters": 1e6}
    dear = {"seconds": 31.0, "cpu": 31.0, "megabytes": 501.0, "files": 100.0, "characters": 1e7}
    assert [figure.met for figure in bench_render.judged({100: cheap, 1000: dear})] == [False, False, False]
    assert good(bench_render.judged({500: cheap, 1000: cheap | {"cpu": 2.0}}))


def test_a_small_site_is_measured_for_real() -> None:
    found = bench_render.figures([3, 6])
    assert found[0].what == "6 hosts rendered"
    assert 0 < found[0].value < bench_render.SECONDS


def test_a_small_site_with_boot_files_is_measured_for_real() -> None:
    found = bench_boot.figures(5)
    assert [figure.what for figure in found] == ["boot files of 5 hosts", "of it reading the site file"]
    # The deploy host's three, six of each machine, and GRUB's of the second system.
    assert "28 files" in found[0].note
    assert 0 < found[1].value < found[0].value < bench_boot.SECONDS


def test_the_newest_highstate_is_split_by_its_slowest_states(tmp_path: Path) -> None:
    states = [{"id": f"state {number}", "duration": number * 1000, "changed": number == 9} for number in range(10)]
    row = {"end": "done", "seconds": 60.0, "states": states}
    for name, function in (("20260101T000000Z", "other"), ("20260102T000000Z", "state.highstate"), ("20260103T0", "x")):
        (tmp_path / f"{name}.json").write_text(json.dumps({"function": function, "hosts": {"ctl1": row}}))
    record = bench_rest.last_highstate(tmp_path)
    found = list(bench_rest.split("ctl1", record["hosts"]["ctl1"]))
    assert found[0].value == 60.0
    assert [figure.what.split()[-1] for figure in found[1:]] == ["9", "8", "7", "6", "5"]
    assert found[1].note == "changed something"
    with pytest.raises(LabError, match="lab up"):
        bench_rest.last_highstate(tmp_path / "none")


def test_what_cannot_be_measured_is_told_all_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["bench", "speed", "--runs", "0"]) == 2
    said = capsys.readouterr().err
    assert "'speed': no such part; accepted: render" in said
    assert "--runs: 0" in said


def test_figures_are_printed_as_data(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_render.figures, "__defaults__", ((3, 6),))
    monkeypatch.setattr(bench_render, "SLACK", 1000.0)
    assert main.main(["bench", "render", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [figure["unit"] for figure in data] == ["s", "MB", "x"]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Parts that measure nothing: how often each was to run."""
    found: dict[str, int] = {}

    def part(name: str) -> Callable[[object, int], list[Figure]]:
        return lambda lab, runs: found.update({name: runs}) or [Figure(name, 1, "s")]

    monkeypatch.setattr(bench, "PARTS", {name: (text, part(name)) for name, (text, _) in bench.PARTS.items()})
    monkeypatch.setattr(bench, "refuse", lambda *given: None)
    return found


LEFT = "not measured: deploy (long, in a lab of its own): `./saltern bench deploy`"


def test_a_plain_run_ends_with_what_it_did_not_measure(
    measured: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["bench"]) == 0
    assert measured == {"render": 1, "boot": 1, "second": 5, "memory": 3, "times": 1}
    assert capsys.readouterr().out.splitlines()[-1] == LEFT
    assert main.main(["bench", "--json"]) == 0
    shown = capsys.readouterr()
    assert [each["what"] for each in json.loads(shown.out)] == list(measured)
    assert shown.err == f"{LEFT}\n"


def test_what_is_named_is_measured_and_nothing_is_said_of_the_rest(
    measured: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["bench", "deploy"]) == 0
    assert measured == {"deploy": 3}
    assert "not measured" not in capsys.readouterr().out


def test_the_deployment_is_judged_by_medians() -> None:
    slow = [(100.0, 50.0), (90.0, 40.0), (500.0, 500.0)]
    cloud, alone, ratio = bench_deploy.judged(slow, [100.0, 90.0, 110.0])
    assert (cloud.value, alone.value, ratio.value, ratio.met) == (150.0, 100.0, 1.5, True)
    assert cloud.note.startswith("medians of 3: highstate 100 s, then instance 50 s")
    (once, _, over) = bench_deploy.judged(slow[:1], [90.0])
    assert once.note.startswith("one run: ")
    assert not over.met
