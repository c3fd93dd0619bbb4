"""Probes and waits, against real listeners on this machine."""

import http.server
import json
import socket
import ssl
import sys
import threading
import types
from contextlib import contextmanager
from typing import ClassVar

import pytest
from saltern import pki as authorities
from saltern.errors import SalternError
from saltern.probes import describe, probe
from saltern.waiting import ask_all, wait_until_ready

SECRETS = {"pw": "hunter2"}


class Keystone(http.server.BaseHTTPRequestHandler):
    """Answers as keystone does for one user, and as another API does to its token; what it was asked is kept."""

    paths = ()
    endpoints: ClassVar[dict] = {}
    answer = size = (200, {})
    token = "token"

    @staticmethod
    def catalog():
        endpoints = {"placement": [{}], "network": []} | Keystone.endpoints
        return [{"type": name, "endpoints": each} for name, each in endpoints.items()]

    def do_GET(self):
        if self.headers["X-Auth-Token"]:
            Keystone.paths = (*Keystone.paths, self.path)
            if self.path == "/v3/auth/catalog":
                good = self.headers["X-Auth-Token"] == Keystone.token
                self._answer(200 if good else 401, {"catalog": self.catalog()})
                return
            compute = "hypervisors" in self.path
            fits = self.headers["OpenStack-API-Version"] == ("compute 2.53" if compute else "placement 1.0")
            good = self.headers["X-Auth-Token"] == Keystone.token and fits
            self._answer(*((Keystone.answer if compute else Keystone.size) if good else (401, {})))
            return
        self._answer(300 if self.path.startswith("/v3") else 404, {})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Keystone.paths = (*Keystone.paths, self.path)
        user = asked["auth"]["identity"]["password"]["user"]
        good = (user["name"], user["password"]) == ("nova", "hunter2")
        self._answer(201 if good else 401, {"token": {"catalog": self.catalog()}})

    def _answer(self, status, data):
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-subject-token", Keystone.token)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextmanager
def serving(context=None):
    """A server on a free port; yields the port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keystone)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """A CA and a certificate for the name ``api``; another CA."""
    home = tmp_path_factory.mktemp("pki")
    for name, authority in (("ca", "services"), ("other", "libvirt")):
        made = authorities.ensure_authority(str(home / "authorities"), authority)
        (home / f"{name}.crt").write_text(made.pem)
    ours, key = authorities.read_authority(str(home / "authorities"), "services"), authorities.new_key()
    subject = authorities.Subject("api", ("api",), ("client", "server"))
    (home / "api.key").write_text(key)
    (home / "api.crt").write_text(authorities.sign(ours, authorities.request(key, subject), subject))
    return home


@pytest.fixture(scope="module")
def https(pki):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "api.crt", pki / "api.key")
    with serving(context) as port:
        yield port


def free_port():
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        return probe_socket.getsockname()[1]


def test_http():
    with serving() as port:
        url = f"http://127.0.0.1:{port}"
        assert probe({"kind": "http", "url": f"{url}/v3?x=1"}, {}) is None
        assert probe({"kind": "http", "url": f"{url}/v3", "status": 300, "headers": {"X": "y"}}, {}) is None
        assert probe({"kind": "http", "url": url}, {}) == "HTTP status 404, not one of [200, 204, 300, 401]"
        assert probe({"kind": "http", "url": url, "status": [200, 404]}, {}) is None


def test_https_is_verified(https, pki):
    url = f"https://127.0.0.1:{https}/v3"
    good = {"kind": "http", "url": url, "ca_file": str(pki / "ca.crt"), "server_name": "api"}
    assert probe(good, {}) is None
    assert "CERTIFICATE_VERIFY_FAILED" in probe({**good, "ca_file": str(pki / "other.crt")}, {})
    assert "mismatch" in probe({**good, "server_name": "else"}, {})
    assert "not valid for '127.0.0.1'" in probe({**good, "server_name": None}, {})


def test_tls(https, pki):
    spec = {"kind": "tls", "host": "127.0.0.1", "port": https, "ca_file": str(pki / "ca.crt"), "server_name": "api"}
    assert probe(spec, {}) is None
    certificate = {"cert_file": str(pki / "api.crt"), "key_file": str(pki / "api.key")}
    assert probe({**spec, **certificate}, {}) is None
    assert "FileNotFoundError" in probe({**spec, "ca_file": "/nonexistent"}, {})
    with serving() as port:
        assert "SSL" in probe({**spec, "port": port}, {}, timeout=1)


def test_tcp():
    with serving() as port:
        assert probe({"kind": "tcp", "host": "127.0.0.1", "port": str(port)}, {}) is None
    assert "ConnectionRefusedError" in probe({"kind": "tcp", "host": "127.0.0.1", "port": free_port()}, {})


def test_socket(tmp_path):
    path, link = tmp_path / "s", tmp_path / "link"
    link.symlink_to(tmp_path)
    spec = {"kind": "socket", "path": str(link / "s")}
    assert probe(spec, {}) == f"nobody listens at {link}/s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert probe(spec, {}) == f"nobody listens at {link}/s"
        server.listen()
        assert probe(spec, {}) is None
    assert path.exists()  # what a dead process has left
    assert probe(spec, {}) == f"nobody listens at {link}/s"


def test_catalog(monkeypatch):
    monkeypatch.setattr(Keystone, "paths", ())
    with serving() as port:
        spec = {"kind": "catalog", "url": f"http://127.0.0.1:{port}/v3/", "user": "nova", "secret": "pw"}
        assert probe({**spec, "services": ["placement"]}, SECRETS) is None
        found = probe({**spec, "services": ["placement", "network", "image"]}, SECRETS)
        assert found == "not in the catalogue yet: image, network"
        assert probe({**spec, "user": "glance"}, SECRETS) == "OSError: login of glance answered with HTTP status 401"
        assert Keystone.paths == ("/v3/auth/tokens", "/v3/auth/catalog", "/v3/auth/tokens")


def test_one_login_serves_until_its_token_is_refused(monkeypatch):
    monkeypatch.setattr(Keystone, "paths", ())
    login, again = "/v3/auth/tokens", "/v3/auth/catalog"
    with serving() as port:
        spec = {"kind": "catalog", "url": f"http://127.0.0.1:{port}", "user": "nova", "secret": "pw"}
        for _ in range(3):
            assert probe(spec, SECRETS) is None
        assert Keystone.paths == (login, again, again)
        assert probe(spec, {"pw": "old"}) == "OSError: login of nova answered with HTTP status 401"
        monkeypatch.setattr(Keystone, "paths", Keystone.paths[:3])
        monkeypatch.setattr(Keystone, "token", "another")
        assert probe(spec, SECRETS) is None
        assert Keystone.paths[3:] == (again, login)
        # a user that has just been given a role needs another token for it
        endpoints = [{"url": f"http://127.0.0.1:{port}/v2.1", "interface": "internal"}]
        monkeypatch.setattr(Keystone, "endpoints", {"compute": endpoints})
        monkeypatch.setattr(Keystone, "answer", (403, {}))
        for _ in range(2):
            assert (
                probe({**spec, "kind": "hypervisor", "host": "cmp1"}, SECRETS)
                == "OSError: HTTP status 403 from compute"
            )
        assert [each for each in Keystone.paths[5:] if each.startswith("/v3")] == [again, login]


def listed(host, state):
    return {"hypervisors": [{"id": "7e57", "state": state, "service": {"host": host}}]}


COMPUTE, PLACEMENT = "/compute/os-hypervisors/detail?hypervisor_hostname_pattern=cmp1", "/place/resource_providers/7e57"
UP = (200, listed("cmp1", "up"))


@pytest.mark.parametrize(
    ("answer", "size", "last", "reason"),
    [
        (UP, (200, {"inventories": {"VCPU": {}}}), f"{PLACEMENT}/inventories", None),
        (UP, (200, {"inventories": {}}), f"{PLACEMENT}/inventories", "placement does not know yet what cmp1 has"),
        (UP, (404, {}), f"{PLACEMENT}/inventories", "placement does not know yet what cmp1 has"),
        ((200, listed("cmp1", "down")), (500, {}), COMPUTE, "cmp1 is down"),
        ((200, listed("cmp10", "up")), (500, {}), COMPUTE, "cmp1 is not mapped to a cell yet"),
        ((404, {"itemNotFound": {}}), (500, {}), COMPUTE, "cmp1 is not mapped to a cell yet"),
        ((403, {}), (500, {}), COMPUTE, "OSError: HTTP status 403 from compute"),
    ],
)
def test_what_apis_say_of_a_compute_host(monkeypatch, answer, size, last, reason):
    with serving() as port:
        url = f"http://127.0.0.1:{port}"
        public = {"url": "http://127.0.0.1:1", "interface": "public"}
        paths = {"compute": "compute/", "placement": "place"}
        endpoints = {name: [public, {"url": f"{url}/{path}", "interface": "internal"}] for name, path in paths.items()}
        monkeypatch.setattr(Keystone, "endpoints", endpoints)
        monkeypatch.setattr(Keystone, "answer", answer)
        monkeypatch.setattr(Keystone, "size", size)
        spec = {"kind": "hypervisor", "url": url, "host": "cmp1", "user": "nova", "secret": "pw"}
        assert probe(spec, SECRETS) == reason
        assert Keystone.paths[-1] == last
        monkeypatch.setattr(Keystone, "endpoints", {"compute": [public]})
        assert probe(spec, SECRETS) == "OSError: no internal endpoint of compute in the catalogue"


def test_clock(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    asked, tool = tmp_path / "asked", tmp_path / "chronyc"

    def answering(script):
        tool.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n{script}\n')
        tool.chmod(0o755)
        asked.write_text("")
        return probe({"kind": "clock"}, {}), asked.read_text().splitlines()

    tracking = "-c tracking"
    assert answering("echo 0A14000B,10.20.0.11,11,1763640000.1,0.0") == (None, [tracking])
    unset = ("chrony follows no source yet", [tracking, "burst 4/4"])
    assert answering("echo 00000000,,0,0.0,0.0") == unset
    words = "506 Cannot talk to daemon"
    assert answering(f"echo {words}; exit 1") == (f"OSError: chronyc {tracking}: {words}", [tracking])


@pytest.mark.parametrize(
    "more",
    [
        {"kind": "amqp", "ca_file": "/x", "vhost": "nova"},
        {"kind": "amqp"},
        {"kind": "mariadb", "ca_file": None},
    ],
)
def test_nobody_listens(more):
    port = free_port()
    reason = probe({"host": "127.0.0.1", "port": port, "user": "nova", "secret": "pw", **more}, SECRETS)
    assert "refused" in reason
    assert "\n" not in reason


def test_a_server_that_is_no_broker_is_not_ready():
    with serving() as port:
        spec = {"kind": "amqp", "host": "127.0.0.1", "port": port, "user": "nova", "secret": "pw"}
        assert probe(spec, SECRETS, timeout=0.5)


def test_mariadb_through_a_socket_that_is_not_there(tmp_path):
    assert "OperationalError" in probe({"kind": "mariadb", "socket": str(tmp_path / "s")}, {})


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"kind": "htpp"}, "did you mean 'http'"),
        ({}, "probe kind None"),
        ({"kind": "tls", "host": "x"}, "probe tls x: port: missing"),
        ({"kind": "amqp", "host": "x", "user": "nova", "secret": "other"}, "secrets:other"),
    ],
)
def test_a_bad_probe_is_an_error_not_a_wait(spec, words):
    with pytest.raises(SalternError, match=words):
        probe(spec, SECRETS)


def test_reasons_hold_no_secret(tmp_path, monkeypatch):
    monkeypatch.setattr("saltern.probes._UNIX_SOCKETS", tmp_path / "hunter2")
    reason = probe({"kind": "socket", "path": "/x"}, SECRETS)
    assert "FileNotFoundError" in reason
    assert "hunter2" not in reason


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"kind": "amqp", "host": "ctl1", "port": 5671}, "amqp ctl1:5671"),
        ({"kind": "socket", "path": "/run/x"}, "socket /run/x"),
        ({"kind": "hypervisor", "host": "cmp1", "url": "https://api:5000"}, "hypervisor cmp1"),
        ({"kind": "clock"}, "clock"),
        ({"kind": "catalog", "url": "https://api:5000", "services": ["a", "b"]}, "catalog https://api:5000 (a, b)"),
    ],
)
def test_descriptions(spec, text):
    assert describe(spec) == text


class TestWaiting:
    def test_probes_are_asked_side_by_side(self):
        barrier = threading.Barrier(3)

        def ask(spec, secrets):
            barrier.wait(timeout=5)
            return spec["reason"]

        specs = {"a": {"reason": None}, "b": {"reason": "x"}, "c": {"reason": None}}
        assert ask_all(specs, {}, ask) == {"a": None, "b": "x", "c": None}
        assert ask_all({}, {}, ask) == {}

    def test_it_ends_when_the_thing_is_ready(self):
        answers = iter(["no", "not yet", None])
        waited = wait_until_ready({}, {}, 30, lambda spec, secrets: next(answers))
        assert waited.reason is None
        assert 0.2 < waited.seconds < 5

    def test_it_ends_when_the_time_is_up(self):
        waited = wait_until_ready({}, {}, 0.3, lambda spec, secrets: "no")
        assert waited.reason == "no"
        assert 0.3 <= waited.seconds < 5

    def test_a_dry_run_asks_once(self):
        asked = []
        wait_until_ready({}, {}, 0, lambda spec, secrets: asked.append(1) or "no")
        assert asked == [1]


def test_logins_are_over_verified_tls_and_end_again(monkeypatch):
    """What the libraries are asked for; the real broker and server answer on the lab's nodes."""
    seen = []

    class Connection:
        def __init__(self, **arguments):
            seen.append(arguments)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            seen.append("end")

        def connect(self):
            seen.append("login")

        def collect(self):
            seen.append("end")

        def cursor(self):
            return self

        def execute(self, statement):
            seen.append(statement)

        def close(self):
            seen.append("closed")

    monkeypatch.setitem(sys.modules, "amqp", types.SimpleNamespace(Connection=Connection))
    monkeypatch.setitem(sys.modules, "pymysql", types.SimpleNamespace(connect=Connection))
    login = {"host": "ctl1", "user": "nova", "secret": "pw"}
    assert probe({"kind": "amqp", "ca_file": "/ca", "vhost": "nova", **login}, SECRETS) is None
    assert seen[0]["host"] == "ctl1:5671"
    assert seen[0]["ssl"] == {"ca_certs": "/ca", "server_hostname": "ctl1", "cert_reqs": ssl.CERT_REQUIRED}
    assert seen[1:] == ["login", "end"]
    seen.clear()
    assert probe({"kind": "mariadb", **login}, SECRETS) is None
    assert seen[0]["ssl"].verify_mode == ssl.CERT_REQUIRED
    assert seen[0]["ssl"].check_hostname
    assert seen[1:] == ["SELECT 1", "end", "closed"]
