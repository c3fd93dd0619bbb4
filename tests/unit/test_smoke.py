"""The smoke test's own parts: the order of steps, the guest's words, the questions to the provider's side."""

from __future__ import annotations

import http.server
import json
import socket
import sys
import threading
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "verify"))

from smoke import guest, outside, runner
from smoke.runner import Failed, Skipped, Walk

CONSOLE = """\
SALTERN-GUEST hostkey ssh-ed25519 AAAAC3Nz
SALTERN-GUEST ready ip=10.77.0.5 instance-id=i-00000001 userdata=abc hostname=saltern-smoke-on-cmp1 uptime=15.61
SALTERN-GUEST gateway 203.0.113.1
SALTERN-GUEST ping 10.77.0.6 1 ok
SALTERN-GUEST ping 10.77.0.7 1 lost
SALTERN-GUEST ping 10.77.0.6 2 lost
SALTERN-GUEST ping 10.77.0.6 3 o"""


def walk() -> Walk:
    """A walk of four steps; the second fails."""
    made = Walk()

    @made.step(quick=True)
    def first(world: object) -> str:
        return "well"

    @made.step("first")
    def second(world: object) -> None:
        raise Failed("expected this, was that")

    @made.step("second", quick=True)
    def third(world: object) -> None:
        raise AssertionError

    @made.step("first")
    def not_here(world: object) -> None:
        raise Skipped("one host")

    @made.step("not here")
    def after_that(world: object) -> None:
        raise AssertionError

    return made


def test_a_failure_leaves_out_what_needs_it_and_a_skip_skips() -> None:
    kept: list[str] = []
    done = list(runner.outcomes(walk().steps, None, lambda step, since: kept.append(step) or "; kept"))
    results = [(each.name, each.result, each.words) for each in done]
    assert results == [
        ("first", "ok", "well"),
        ("second", "failed", "expected this, was that; kept"),
        ("third", "left out", "needs: second"),
        ("not here", "skipped", "one host"),
        ("after that", "skipped", "needs: not here"),
    ]
    assert kept == ["second"]
    summary = runner.summary(done)
    assert (summary["good"], summary["bad"]) == (False, ["second", "third"])
    assert runner.verdict(summary) == "smoke test: BAD: second, third; skipped: not here, after that"
    assert not runner.summary([])["good"]
    assert runner.verdict(runner.summary([])) == "smoke test: BAD: no step was run"
    assert runner.line(done[0]).split() == ["ok", "0.0", "s", "first", "well"]


def test_evidence_that_cannot_be_kept_does_not_end_the_walk() -> None:
    def broken(step: str, since: float) -> str:
        raise OSError("disk full")

    done = list(runner.outcomes(walk().steps, None, broken))
    assert done[1].words.startswith("expected this, was that; no evidence: OSError: disk full")
    assert len(done) == 5


def test_an_unforeseen_error_tells_its_place() -> None:
    made = Walk()
    made.step()(lambda world: {}["missing"])
    with pytest.raises(TypeError) as inside:
        guest.ready(None)  # type: ignore[arg-type]
    assert "guest.py" in runner.described(inside.value)
    with pytest.raises(KeyError) as caught:
        made.steps[0].run(None)
    assert runner.described(caught.value) == "KeyError: 'missing'"


@pytest.mark.parametrize(
    ("quick", "only", "names"),
    [
        (False, set(), ["first", "second", "third", "not here", "after that"]),
        (True, set(), ["first", "third"]),
        (False, {"third"}, ["first", "second", "third"]),
    ],
)
def test_steps_are_chosen_with_what_they_need(quick: bool, only: set[str], names: list[str]) -> None:
    assert [each.name for each in walk().chosen(quick, only)] == names


def test_an_unknown_step_is_refused() -> None:
    with pytest.raises(Failed, match="no such step: frist; accepted: first, second"):
        walk().chosen(False, {"frist"})


def test_waiting_ends() -> None:
    answers = iter([0, 0, 7])
    assert runner.until("seven", lambda: next(answers), 5, 0) == 7
    with pytest.raises(Failed, match="never: not within 0 s"):
        runner.until("never", lambda: False, 0, 0)


def test_the_console_is_read() -> None:
    ready = guest.ready(CONSOLE)
    assert ready == guest.Ready("10.77.0.5", "i-00000001", "abc", "saltern-smoke-on-cmp1", 15.61)
    assert guest.ready("") is None
    assert guest.told(guest.HOST_KEY, CONSOLE) == "ssh-ed25519 AAAAC3Nz"
    assert guest.told(guest.GATEWAY, CONSOLE) == "203.0.113.1"
    assert guest.told(guest.GATEWAY, "") is None
    answers = guest.pings(CONSOLE, "10.77.0.6")
    assert answers == {1: True, 2: False}
    assert guest.last(answers, 1) == [False]
    assert guest.newest(CONSOLE) == "10.77.0.6 lost in rounds 2 to 2, 10.77.0.7 lost in rounds 1 to 1"
    assert guest.newest("") == ""


def test_user_data_is_a_script_that_names_its_peers() -> None:
    text = guest.user_data(["10.0.0.1", "10.0.0.2"])
    assert text.startswith("#!/bin/sh\n")
    assert "for peer in 10.0.0.1 10.0.0.2; do" in text
    assert "awk '{ print $3; exit }'" in text
    assert "for peer in 127.0.0.1; do" in guest.user_data([])
    assert len(guest.digest(text)) == 64


class Page(http.server.BaseHTTPRequestHandler):
    """A page of one word."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"word")

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_probe_runs_behind_its_prefix() -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    side = outside.side("env VLAN={vlan}")
    question = {"kind": "http", "address": f"127.0.0.1:{server.server_port}", "vlan": 200}
    assert side.ask(question) == "word\n"
    line = f"{outside.MARK}{json.dumps(question)}\n"
    assert json.loads(outside.answer(line, side)) == {"said": "word\n"}
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("words", ["ip netns exec {net}", "x {}", "x {vlan", "x {vlan.y}"])
def test_a_prefix_that_cannot_be_filled_in_is_told(words: str) -> None:
    with pytest.raises(Failed, match=r"--probe-from: .*accepted: a command in which \{vlan\} stands for the VLAN"):
        outside.side(words)


def test_a_probe_without_answer_fails_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    question = {"kind": "http", "address": f"127.0.0.1:{port}", "vlan": 200}
    with pytest.raises(Failed, match=f"http to 127.0.0.1:{port} from VLAN 200: .*refused"):
        outside.side("env").ask(question)
    said = json.loads(outside.answer(f"{outside.MARK}{json.dumps({**question, 'kind': 'knock'})}", outside.side("env")))
    assert said == {"failed": "no such probe: knock"}
    assert "--probe-from" in json.loads(outside.answer(json.dumps(question), outside.side("")))["failed"]


def test_a_login_leaves_no_key_in_the_arguments(tmp_path: Path) -> None:
    question = {
        "kind": "ssh",
        "address": "198.51.100.7",
        "host_key": "ssh-ed25519 AAAA",
        "key": "THE KEY",
        "command": "id",
    }
    words = outside.command(question, tmp_path)
    assert "THE KEY" not in " ".join(words)
    assert (tmp_path / "key").read_text() == "THE KEY"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "known").read_text() == "198.51.100.7 ssh-ed25519 AAAA\n"
    assert "StrictHostKeyChecking=yes" in words
    assert outside.command({"kind": "ping", "address": "198.51.100.7"}, tmp_path)[-1] == "198.51.100.7"


def test_a_pipe_asks_and_waits(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO('{"said": "pong"}\n{"failed": "silence"}\n'))
    pipe = outside.side("-")
    assert pipe.ask({"kind": "ping"}) == "pong"
    assert capsys.readouterr().out == '@probe {"kind": "ping"}\n'
    with pytest.raises(Failed, match="silence"):
        pipe.ask({"kind": "ping"})
    with pytest.raises(Failed, match="pipe is gone"):
        pipe.ask({"kind": "ping"})
