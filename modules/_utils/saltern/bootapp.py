"""What machines ask for over HTTP and TLS, handed on to the keeper: an application for WSGI, run as nobody of note.

nginx stands in front and says whence a request comes. Nothing is decided here, nothing is kept, no secret is logged.
It imports the standard library alone: it runs under the distribution's own Python.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any

KEEPER = "SALTERN_KEEPER"
"""The variable that names the keeper's socket."""
USUAL = "/run/saltern-keeper/socket"
PATIENCE = 120.0
"""Seconds that the keeper may take: an old key is taken from the master by Salt's own program."""
LIMIT = 16384
"""Bytes of a body."""
STATUS = {
    200: "200 OK", 400: "400 Bad Request", 403: "403 Forbidden", 404: "404 Not Found", 405: "405 Method Not Allowed",
    409: "409 Conflict", 413: "413 Content Too Large", 503: "503 Service Unavailable",
}  # fmt: skip

Environment = Mapping[str, Any]
Headers = list[tuple[str, str]]
Answer = tuple[int, str, Headers]


def asked(question: Mapping[str, str]) -> tuple[int, str]:
    """Return the keeper's status and text; 503 where it does not answer."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(os.environ.get(KEEPER, USUAL))
            connection.sendall(json.dumps(question).encode() + b"\n")
            with connection.makefile("rb") as stream:
                reply = json.loads(stream.readline())
    except (OSError, ValueError):
        return 503, "not now\n"
    return int(reply["status"]), str(reply["text"])


def node(environ: Environment, name: str) -> Answer:
    """Return which script a boot loader gets: nginx sends the file. Without a keeper, it starts from its disk."""
    mac, _, kind = name.replace("-", ":").rpartition(".")
    status, host = asked({"ask": "boots", "mac": mac, "address": environ["REMOTE_ADDR"]})
    path = f"/tree/hosts/{host}/install.{kind}" if status == 200 and host else f"/tree/nodes/{name}"
    return 200, "", [("X-Accel-Redirect", path)]


def answers(environ: Environment, host: str) -> Answer:
    """Return a host's answers, once."""
    return (*asked({"ask": "answers", "host": host, "address": environ["REMOTE_ADDR"]}), [])


def exchange(environ: Environment, host: str) -> Answer:
    """Return the master's public key for a token; the body has lines: the token, the machine's serial, a public key."""
    token, serial, key = _lines(environ)
    question = {"host": host, "address": environ["REMOTE_ADDR"], "token": token, "serial": serial, "key": key}
    return (*asked({"ask": "exchange", **question}), [])


def progress(environ: Environment, host: str) -> Answer:
    """Take a step of an installation; the body's lines are the secret, step and percents, and any last words."""
    secret, step, words = _lines(environ)
    name, _, percent = step.partition(" ")
    said = {"host": host, "address": environ["REMOTE_ADDR"], "secret": secret, "step": name, "percent": percent}
    return (*asked({"ask": "progress", **said, "words": words}), [])


def _lines(environ: Environment) -> list[str]:
    """Return the first line of a body, the second, and the rest; what is not ASCII becomes a question mark."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    lines = body.decode("ascii", "replace").replace("\ufffd", "?").split("\n", 2)
    return [each.strip() for each in [*lines, "", ""][:3]]


HOST = "[a-z0-9-]{1,63}"
ROUTES: tuple[tuple[str, re.Pattern[str], Callable[[Environment, str], Answer], bool], ...] = (
    ("GET", re.compile(r"/nodes/((?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\.(?:ipxe|cfg))"), node, False),
    ("GET", re.compile(rf"/answers/({HOST})/[a-z.]+"), answers, False),
    ("POST", re.compile(rf"/exchange/({HOST})"), exchange, True),
    ("POST", re.compile(rf"/progress/({HOST})"), progress, True),
)
"""Method, path, who answers, and whether that is so over TLS only."""


def routed(environ: Environment) -> Answer:
    """Return the answer to a request; what is not known is not there."""
    secure = environ.get("HTTPS") == "on"
    for method, path, act, over_tls in ROUTES:
        found = path.fullmatch(environ.get("PATH_INFO", ""))
        if not found or over_tls is not secure:
            continue
        if environ["REQUEST_METHOD"] != method:
            return 405, f"{method} only\n", [("Allow", method)]
        if int(environ.get("CONTENT_LENGTH") or 0) > LIMIT:
            return 413, "too much\n", []
        return act(environ, found[1])
    return 404, "no such thing\n", []


def application(environ: Environment, start: Callable[[str, Headers], Any]) -> Iterable[bytes]:
    """Answer a request (PEP 3333)."""
    status, text, headers = routed(environ)
    body = text.encode()
    plain = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
    start(STATUS.get(status, STATUS[503]), [*headers, *plain])
    return [body]
