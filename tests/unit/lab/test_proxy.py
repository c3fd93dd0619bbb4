"""The package proxy: what it lets through, and that one download serves all who ask."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lab import proxy
from lab.proxy import Upstream

MIRRORS = {
    "m.example:80": Upstream("m.example:80", False, ("/debian", "/debian-security")),
    "tls.example:443": Upstream("tls.example:443", True, ("/debian",)),
}
PACKAGE = bytes(range(256)) * 4096


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://m.example/debian/dists/trixie/InRelease", "m.example:80"),
        ("http://m.example:80/debian/pool/main/a/a_1+b1_all.deb", "m.example:80"),
        ("http://m.example/debian-security/dists/x", "m.example:80"),
        ("http://m.example/debian/pool/main/libs/libstdc%2b%2b_1.deb", "m.example:80"),
        ("http://tls.example:443/debian/dists/x", "tls.example:443"),
    ],
)
def test_mirrors_are_allowed(url: str, host: str) -> None:
    upstream = proxy.allowed(url, MIRRORS)
    assert upstream
    assert upstream.host == host


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/debian/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://m.example:22/debian/x",
        "http://m.example:8080/debian/x",
        "http://m.example/private/x",
        "http://m.example/debian",
        "http://m.example/debianx/y",
        "http://m.example/debian/../private/x",
        "http://m.example/debian/%2e%2e/private/x",
        "http://m.example/debian/..%2fprivate",
        "http://m.example@other.example/debian/x",
        "http://user:word@m.example/debian/x",
        "https://m.example/debian/x",
        "http://tls.example/debian/x",
        "http://m.example:99999/debian/x",
        "http://m.example:x/debian/x",
        "ftp://m.example/debian/x",
        "file:///etc/passwd",
        "http://[x/debian/x",
        "/debian/x",
        "m.example:80",
        "",
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    assert proxy.allowed(url, MIRRORS) is None


@pytest.mark.parametrize(
    ("path", "fixed"),
    [
        ("/debian/pool/main/b/bash/bash_5_amd64.deb", True),
        ("/debian/dists/trixie/main/binary-amd64/by-hash/SHA256/ab", True),
        ("/debian/dists/trixie/InRelease", False),
        ("/debian/dists/trixie/main/binary-amd64/Packages.xz", False),
    ],
)
def test_only_what_never_changes_is_kept(path: str, fixed: bool) -> None:
    assert proxy.immutable(path) is fixed


class Mirror(BaseHTTPRequestHandler):
    """A mirror that counts requests and sends packages slowly, or breaks off."""

    protocol_version = "HTTP/1.1"
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.endswith("missing.deb"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(PACKAGE)))
        self.end_headers()
        half = len(PACKAGE) // 2
        self.wfile.write(PACKAGE[:half])
        self.wfile.flush()
        time.sleep(0.3)
        if self.path.endswith(("broken.deb", "broken.xz")) and self.asked.count(self.path) == 1:
            self.close_connection = True
            return
        self.wfile.write(PACKAGE[half:])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror() -> Iterator[str]:
    Mirror.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def through(mirror: str, tmp_path: Path) -> Iterator[int]:
    class Here(proxy.Handler):
        upstreams = {mirror: Upstream(mirror, False, ("/debian",))}  # noqa: RUF012
        cache = proxy.Cache(tmp_path)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = proxy.Server(socket.create_server(("127.0.0.1", 0)))
    server.RequestHandlerClass = Here
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.socket.getsockname()[1]
    server.shutdown()
    server.server_close()


def get(port: int, url: str, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, url)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    except http.client.IncompleteRead as error:
        return answer.status, error.partial
    finally:
        connection.close()


def test_one_download_serves_all_and_the_next_one_comes_from_disk(mirror: str, through: int) -> None:
    url = f"http://{mirror}/debian/pool/a_1_all.deb"
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: get(through, url), range(8)))
    assert answers == [(200, PACKAGE)] * 8
    assert get(through, url) == (200, PACKAGE)
    assert Mirror.asked == ["/debian/pool/a_1_all.deb"]


def test_what_may_change_is_asked_for_each_time(mirror: str, through: int) -> None:
    url = f"http://{mirror}/debian/dists/trixie/InRelease"
    assert [get(through, url), get(through, url)] == [(200, PACKAGE)] * 2
    assert len(Mirror.asked) == 2


def test_a_download_that_breaks_off_is_not_kept(mirror: str, through: int, tmp_path: Path) -> None:
    url = f"http://{mirror}/debian/pool/broken.deb"
    assert get(through, url)[1] == PACKAGE[: len(PACKAGE) // 2]
    assert get(through, url) == (200, PACKAGE)
    assert len(list(tmp_path.iterdir())) == 1


def test_an_index_that_breaks_off_ends_the_connection(mirror: str, through: int) -> None:
    url = f"http://{mirror}/debian/dists/trixie/main/binary-amd64/broken.xz"
    assert get(through, url)[1] == PACKAGE[: len(PACKAGE) // 2]


def test_the_mirrors_refusal_is_passed_on(mirror: str, through: int) -> None:
    assert get(through, f"http://{mirror}/debian/pool/missing.deb")[0] == 404


@pytest.mark.parametrize("method", ["CONNECT", "POST", "PUT", "DELETE"])
def test_no_other_method_leads_outside(mirror: str, through: int, method: str) -> None:
    assert get(through, f"http://{mirror}/debian/x", method)[0] == 403
    assert Mirror.asked == []


def test_other_servers_are_refused_without_being_asked(mirror: str, through: int) -> None:
    host = mirror.replace("127.0.0.1", "localhost")
    assert get(through, f"http://{host}/debian/pool/a_1_all.deb")[0] == 403
    assert Mirror.asked == []
