"""The first words of an instance's screen: noVNC's page, a websocket over TLS, the banner of the RFB protocol."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import socket
import ssl
from urllib.parse import parse_qs, urlsplit

from smoke.runner import Failed
from smoke.web import Browser

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def banner(url: str, ca_file: str) -> str:
    """Return the RFB banner behind a console URL; the server's certificate must be signed by the given CA."""
    parts = urlsplit(url)
    if parts.scheme != "https":
        raise Failed(f"console URL is {parts.scheme}, expected https")
    page = Browser(ca_file).get(url)
    if page.status != 200 or "noVNC" not in page.text:
        raise Failed(f"{parts.path}: status {page.status}, expected noVNC's page")
    path = parse_qs(parts.query).get("path", [""])[0]
    with tls(str(parts.hostname), parts.port or 443, ca_file) as channel:
        stream = upgraded(channel, parts.netloc, "/" + path.lstrip("/"))
        return first_message(stream)


def tls(host: str, port: int, ca_file: str) -> ssl.SSLSocket:
    """Return a connection whose other end has proved its name."""
    raw = socket.create_connection((host, port), timeout=30)
    return ssl.create_default_context(cafile=ca_file).wrap_socket(raw, server_hostname=host)


def upgraded(channel: ssl.SSLSocket, host: str, path: str) -> bytearray:
    """Turn a connection into a websocket (RFC 6455); return what came after the handshake, to be read on."""
    key = base64.b64encode(os.urandom(16)).decode()
    head = [f"GET {path} HTTP/1.1", f"Host: {host}", f"Origin: https://{host}", "Upgrade: websocket"]
    head += ["Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
    head += ["Sec-WebSocket-Protocol: binary", "", ""]
    channel.sendall("\r\n".join(head).encode())
    received = bytearray()
    while b"\r\n\r\n" not in received:
        received += more(channel)
    reply, _, rest = bytes(received).partition(b"\r\n\r\n")
    accept = base64.b64encode(hashlib.sha1(f"{key}{GUID}".encode(), usedforsecurity=False).digest())
    if not reply.startswith(b"HTTP/1.1 101") or accept not in reply:
        raise Failed(f"websocket refused: {reply.splitlines()[0].decode(errors='replace')}")
    return read_on(channel, bytearray(rest))


def read_on(channel: ssl.SSLSocket, received: bytearray) -> bytearray:
    """Return at least one whole short frame."""
    while len(received) < 2 or len(received) < 2 + (received[1] & 0x7F):
        received += more(channel)
    return received


def more(channel: ssl.SSLSocket) -> bytes:
    """Return what comes next; an end is an error."""
    data = channel.recv(4096)
    if not data:
        raise Failed("the console proxy closed the connection")
    return data


def first_message(frame: bytearray) -> str:
    """Return the RFB banner in the first frame."""
    text = bytes(frame[2 : 2 + (frame[1] & 0x7F)]).decode(errors="replace")
    if not re.fullmatch(r"RFB \d{3}\.\d{3}\n", text):
        raise Failed(f"expected the RFB banner, got {text!r}")
    return text.strip()
