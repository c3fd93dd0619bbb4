"""The keeper on its socket, the application in front of it, and who is told of events."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from saltern import bootapp, events, keeper
from saltern.trust import Desk, Reply

from tests.sample import ROOT
from tests.unit.trust_samples import MACHINE, OTHER, Deploy, public, words

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="the socket belongs to root")
HERE = MACHINE[1]
KEY = public()


@pytest.fixture
def deploy(tmp_path: Path) -> Deploy:
    return Deploy(tmp_path)


@pytest.fixture
def served(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deploy]:
    """A deploy host whose keeper answers, in this process."""
    path = str(deploy.root / "socket")
    monkeypatch.setenv(bootapp.KEEPER, path)
    with keeper.Keeper(path, "daemon", deploy.desk) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield deploy
        server.shutdown()
        thread.join()


def asked(
    method: str, path: str, body: bytes = b"", address: str = HERE, **more: str
) -> tuple[str, dict[str, str], str]:
    """Ask the application; TLS where the method is POST."""
    heard: list[Any] = []
    environ = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "REMOTE_ADDR": address, "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(len(body)), **({"HTTPS": "on"} if method == "POST" else {}), **more,
    }  # fmt: skip
    text = b"".join(bootapp.application(environ, lambda *said: heard.extend(said))).decode()
    return heard[0], dict(heard[1]), text


def test_the_whole_way(served: Deploy) -> None:
    node = "/nodes/52-54-00-00-00-03.ipxe"
    assert asked("GET", node)[1]["X-Accel-Redirect"] == f"/tree{node}"
    served.armed()
    assert asked("GET", node)[1]["X-Accel-Redirect"] == "/tree/hosts/ctl1/install.ipxe"
    assert asked("GET", "/nodes/52:54:00:00:00:03.cfg", address=OTHER[1])[1]["X-Accel-Redirect"].startswith(
        "/tree/nodes/"
    )
    status, headers, text = asked("GET", "/answers/ctl1/preseed.cfg")
    assert (status, headers["Cache-Control"], headers["Content-Length"]) == ("200 OK", "no-store", str(len(text)))
    token, secret = words(text)
    assert asked("POST", "/progress/ctl1", f"{secret}\ndisks 10".encode())[0] == "200 OK"
    assert asked("POST", "/progress/ctl1", f"{secret}\ndisks\nx".encode())[0] == "400 Bad Request"
    assert asked("POST", "/exchange/ctl1", f"{token}\r\n\r\n{KEY}".encode())[2] == served.keys.public()
    assert asked("POST", "/progress/ctl1", f"{secret}\ninstalled 100\n\xff".encode("latin-1"))[0] == "200 OK"
    assert served.record().state == "installed"


@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("GET", "/exchange/ctl1", {"HTTPS": "on"}, "405"),
        ("POST", "/exchange/ctl1", {"HTTPS": ""}, "404"),
        ("POST", "/answers/ctl1/preseed.cfg", {}, "404"),
        ("HEAD", "/answers/ctl1/preseed.cfg", {}, "405"),
        ("GET", "/answers/../x", {}, "404"),
        ("GET", "/answers/ctl1/preseed.cfg", {"CONTENT_LENGTH": "99999"}, "413"),
        ("GET", "/", {}, "404"),
        ("GET", "/answers/cmp1/preseed.cfg", {}, "404"),
        ("POST", "/exchange/-/", {}, "404"),
        ("POST", "/progress/-", {}, "404"),
    ],
)
def test_what_is_not_there(served: Deploy, method: str, path: str, more: dict[str, str], status: str) -> None:
    assert asked(method, path, **more)[0].startswith(status)


def test_without_a_keeper_machines_start_from_their_disks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(bootapp.KEEPER, str(tmp_path / "none"))
    node = "/nodes/52-54-00-00-00-03.ipxe"
    assert asked("GET", node)[1]["X-Accel-Redirect"] == f"/tree{node}"
    assert asked("GET", "/answers/ctl1/preseed.cfg")[0] == "503 Service Unavailable"


JUNK = st.one_of(
    st.binary(max_size=60),
    st.recursive(st.one_of(st.none(), st.integers(), st.text(max_size=5)), st.lists, max_leaves=5).map(
        lambda each: json.dumps(each).encode()
    ),
    st.dictionaries(
        st.sampled_from(["ask", "host", "address", "token", "secret", "mac", "serial", "key"]),
        st.one_of(st.sampled_from(["boots", "answers", "exchange", "ctl1", "ümlaut", "\ud800"]), st.integers()),
    ).map(lambda each: json.dumps(each).encode()),
)


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A desk that knows no host, the same for all examples."""
    return Deploy(tmp_path_factory.mktemp("deploy")).desk


@given(line=JUNK)
def test_whatever_comes_in_is_answered(nowhere: Desk, line: bytes) -> None:
    reply = keeper.answered(nowhere, line)
    assert reply.status in (200, 400, 404)


def test_a_question_in_this_thread(deploy: Deploy) -> None:
    question = json.dumps({"ask": "boots", "mac": MACHINE[0], "address": HERE}).encode()
    assert keeper.answered(deploy.armed().desk, question) == Reply(200, "ctl1")


def test_a_host_that_is_no_name(deploy: Deploy) -> None:
    question = {"ask": "answers", "host": "../x", "address": HERE}
    assert keeper.answered(deploy.desk, json.dumps(question).encode()).status == 404


def test_what_stops_the_keeper_is_said_without_secrets(deploy: Deploy, capsys: pytest.CaptureFixture[str]) -> None:
    deploy.armed()
    (deploy.root / "ca.crt").rename(deploy.root / "kept")
    said = json.dumps({"ask": "answers", "host": "ctl1", "address": HERE}).encode()
    assert keeper.answered(deploy.desk, said).status == 503
    assert "'host': 'ctl1'" in capsys.readouterr().err
    (deploy.root / "kept").rename(deploy.root / "ca.crt")
    token, _ = deploy.fetched()
    (deploy.root / "master/minions").write_text("in the way")
    said = json.dumps(
        {"ask": "exchange", "host": "ctl1", "address": HERE, "token": token, "serial": "", "key": KEY}
    ).encode()
    assert keeper.answered(deploy.desk, said) == Reply(503, "not now; the deploy host's journal says why\n")
    errors = capsys.readouterr().err
    assert "master/minions" in errors
    assert token not in errors


def test_who_goes_away_harms_nobody(served: Deploy) -> None:
    path = os.environ[bootapp.KEEPER]
    for line in (b"", b'{"ask": "boots"'):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            connection.sendall(line)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeper.Handler, "timeout", 0.05)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            assert connection.recv(10) == b""
    assert asked("GET", "/answers/cmp1/preseed.cfg")[0].startswith("404")


def test_what_expires_is_seen_without_a_question(deploy: Deploy, capsys: pytest.CaptureFixture[str]) -> None:
    deploy.armed()
    deploy.clock += 3600
    over = threading.Event()
    thread = threading.Thread(target=keeper.watch, args=(deploy.desk, over, 0.01))
    thread.start()
    end = time.monotonic() + 10
    while deploy.record().state != "enrolled" and time.monotonic() < end:
        time.sleep(0.01)
    (deploy.root / "hosts/zzz.json").write_text("{")
    time.sleep(0.1)
    over.set()
    thread.join()
    assert ("ctl1", "expire", "time ran out: nobody fetched its answers") in deploy.told
    assert "zzz.json" in capsys.readouterr().err


def test_it_is_a_program(deploy: Deploy) -> None:
    """Killed and started again, it finds its socket's old name in the way."""
    root = deploy.root
    command = [sys.executable, "-m", "saltern.keeper", "--group=daemon", f"--socket={root}/socket",
               f"--hosts={root}/hosts", f"--tree={root}/tree", f"--authority={root}/ca.crt", f"--keys={root}/master",
               f"--salt={root}"]  # fmt: skip
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "modules/_utils")}
    for _ in range(2):
        with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE) as process:
            end = time.monotonic() + 20
            while knocked(root / "socket") != b'{"status": 400, "text": "not a question\\n"}\n':
                assert time.monotonic() < end
                time.sleep(0.05)
            process.kill()


def knocked(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return b""
        connection.sendall(b"{}\n")
        return connection.recv(200)


def test_main_serves(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    monkeypatch.setattr(keeper.Keeper, "serve_forever", lambda self: served.append(self.desk))
    keeper.main(["--group=daemon", f"--socket={deploy.root}/socket", f"--hosts={deploy.root}/hosts",
                 f"--salt={deploy.root}"])  # fmt: skip
    assert served[0].keys.forget == (f"{deploy.root}/salt-key", "--yes", "--delete")


# --- events


def test_events_are_told_to_the_journal_and_the_master(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events.Teller(str(tmp_path))("ctl1", "fetch", "nobody else")
    program = tmp_path / "salt-run"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{tmp_path}/told\ntest "$3" != saltern/host/ctl1/lock\n')
    program.chmod(0o755)
    teller = events.Teller(str(tmp_path))
    teller("ctl1", "arm", 'an operator\'s "word"')
    teller("ctl1", "lock", "why")
    teller.worker.shutdown()
    told = (tmp_path / "told").read_text().splitlines()
    assert told[1:3] == ["event.send", "saltern/host/ctl1/arm"]
    assert json.loads(told[3]) == {"host": "ctl1", "cause": 'an operator\'s "word"'}
    errors = capsys.readouterr().err
    assert "host ctl1: fetch: nobody else\n" in errors
    assert "saltern/host/ctl1/lock: the master was not told: exit status 1" in errors
