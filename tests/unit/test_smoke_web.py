"""The smoke test's browser against real TLS servers: a login form, a websocket, and what goes wrong."""

from __future__ import annotations

import base64
import hashlib
import http.server
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.parse import parse_qs

import pytest
from saltern import pki

sys.path.append(str(Path(__file__).resolve().parents[1] / "verify"))

from smoke import dashboard, novnc
from smoke.runner import Failed
from smoke.web import Browser

FIELDS = {"csrfmiddlewaretoken": "t0k3n", "username": "", "region": "r"}
FORM = "".join(f'<input name="{name}" value="{value}">' for name, value in FIELDS.items())


class Cloud(http.server.BaseHTTPRequestHandler):
    """A dashboard and a console proxy in one."""

    def do_GET(self) -> None:
        """Answer the login form, the project's page, noVNC's page, and the websocket."""
        if self.path.startswith("/auth/login/"):
            self.reply(200, FORM, {"Set-Cookie": "csrftoken=t0k3n; Path=/"})
        elif self.path == "/project/" and "session=yes" in str(self.headers.get("Cookie")):
            self.reply(200, "<p>walker</p>")
        elif self.path.startswith("/vnc_lite.html"):
            self.reply(200, "<title>noVNC</title>")
        elif self.headers.get("Upgrade") == "websocket" and self.path == "/?token=good":
            self.screen()
        else:
            self.reply(404, "nothing here")

    def do_POST(self) -> None:
        """Let one user in whose form came back whole."""
        fields = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        good = fields.get("password") == ["right"] and fields.get("region") == ["r"]
        good = good and fields.get("csrfmiddlewaretoken") == ["t0k3n"] and self.headers["Referer"].startswith("https")
        place = "/project/" if good else "/auth/login/?no"
        self.reply(302, "", {"Location": place, "Set-Cookie": f"session={'yes' if good else 'no'}; Path=/"})

    def screen(self) -> None:
        """Answer the handshake and send the banner in one frame."""
        key = f"{self.headers['Sec-WebSocket-Key']}{novnc.GUID}".encode()
        accept = base64.b64encode(hashlib.sha1(key, usedforsecurity=False).digest()).decode()
        self.wfile.write(f"HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        self.wfile.flush()
        self.wfile.write(b"\x82\x0c" + self.server.banner)  # type: ignore[attr-defined]

    def reply(self, status: int, text: str, more: dict[str, str] | None = None) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(text)), **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A folder with an authority, and with a certificate of localhost signed by it."""
    made = pki.ensure_authority(str(tmp_path / "pki"), "services")
    subject, key = pki.Subject("localhost", ("localhost",), ("server",)), pki.new_key()
    (tmp_path / "a.key").write_text(key)
    (tmp_path / "a.crt").write_text(pki.sign(made, pki.request(key, subject), subject))
    (tmp_path / "ca.crt").write_text(made.pem)
    return tmp_path


@pytest.fixture
def server(authority: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    """The cloud on a free port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "a.crt", authority / "a.key")
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cloud)
    made.banner = b"RFB 003.008\n"  # type: ignore[attr-defined]
    made.socket = context.wrap_socket(made.socket, server_side=True)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def base(server: http.server.ThreadingHTTPServer) -> str:
    """The cloud's address."""
    return f"https://localhost:{server.server_port}/"


def test_the_right_password_leads_to_the_project(base: str, authority: Path) -> None:
    assert dashboard.log_in(base, "walker", "right", str(authority / "ca.crt")) == f"{base}project/"


def test_a_wrong_password_or_user_is_told(base: str, authority: Path) -> None:
    with pytest.raises(Failed, match="the dashboard did not let walker in"):
        dashboard.log_in(base, "walker", "wrong", str(authority / "ca.crt"))
    with pytest.raises(Failed, match="expected the page of stranger's project"):
        dashboard.log_in(base, "stranger", "right", str(authority / "ca.crt"))


def test_a_foreign_certificate_is_refused(base: str, tmp_path: Path) -> None:
    foreign = pki.ensure_authority(str(tmp_path / "foreign"), "services")
    (tmp_path / "foreign.crt").write_text(foreign.pem)
    with pytest.raises(URLError, match="CERTIFICATE_VERIFY_FAILED"):
        Browser(str(tmp_path / "foreign.crt")).get(base)


def test_the_screen_says_its_banner(base: str, authority: Path) -> None:
    url = f"{base}vnc_lite.html?path=%3Ftoken%3Dgood"
    assert novnc.banner(url, str(authority / "ca.crt")) == "RFB 003.008"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("vnc_lite.html?path=%3Ftoken%3Dbad", "websocket refused: HTTP/1.0 404 Not Found"),
        ("nothing?path=%3Ftoken%3Dgood", "/nothing: status 404, expected noVNC's page"),
    ],
)
def test_a_screen_that_is_not_there_is_told(base: str, authority: Path, path: str, said: str) -> None:
    with pytest.raises(Failed, match=said):
        novnc.banner(base + path, str(authority / "ca.crt"))


def test_other_words_than_the_banner_are_told(
    base: str, authority: Path, server: http.server.ThreadingHTTPServer
) -> None:
    server.banner = b"not a scree\n"  # type: ignore[attr-defined]
    with pytest.raises(Failed, match="expected the RFB banner, got 'not a scree"):
        novnc.banner(f"{base}vnc_lite.html?path=%3Ftoken%3Dgood", str(authority / "ca.crt"))
    with pytest.raises(Failed, match="console URL is http, expected https"):
        novnc.banner(base.replace("https", "http"), str(authority / "ca.crt"))
