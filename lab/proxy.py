"""The package proxy: the only way out of the lab, and it leads to the package mirrors alone.

It listens inside the lab's gateway namespace and connects from outside it. Files that never change are kept on disk,
and nodes that ask for the same file at the same time are served from one download.
"""

from __future__ import annotations

import ctypes
import hashlib
import http.client
import json
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

CHUNK = 1 << 18
STALE = 3600
CLONE_NEWNET = 0x40000000
PASSED = ("If-Modified-Since", "Range", "If-Range", "User-Agent", "Cache-Control")
RETURNED = ("Content-Length", "Content-Type", "Last-Modified", "Content-Range", "ETag", "Date")


@dataclass(frozen=True)
class Upstream:
    """A mirror that nodes may reach: its server, whether it speaks TLS, and the paths that are open."""

    host: str
    tls: bool
    paths: tuple[str, ...]


def allowed(url: str, upstreams: Mapping[str, Upstream]) -> Upstream | None:
    """Return the mirror that a node's request is for, or None when it is for anything else."""
    try:
        parts = urlsplit(url)
        upstream = upstreams.get(f"{parts.hostname}:{parts.port or 80}")
    except ValueError:
        return None
    if parts.scheme != "http" or parts.username or parts.password:
        return None
    steps = parts.path.split("/")
    if not upstream or ".." in steps or "%" in parts.path.replace("%2b", "").replace("%7e", ""):
        return None
    return upstream if any(parts.path.startswith(f"{path}/") for path in upstream.paths) else None


def immutable(path: str) -> bool:
    """Tell whether the file of that path never changes: packages and indices named by their hash."""
    return path.endswith((".deb", ".udeb")) or "/by-hash/" in path


def connect(upstream: Upstream) -> http.client.HTTPConnection:
    """Return a connection to a mirror; a mirror that speaks TLS must prove its name."""
    if upstream.tls:
        return http.client.HTTPSConnection(upstream.host, timeout=60, context=ssl.create_default_context())
    return http.client.HTTPConnection(upstream.host, timeout=60)


class Download:
    """One download into the cache that any number of readers follow while it grows."""

    def __init__(self, target: Path, upstream: Upstream, path: str) -> None:
        """Start the download."""
        self.target = target
        self.part = target.with_suffix(f".part{os.getpid()}-{threading.get_ident()}")
        self.changed = threading.Condition()
        self.length: int | None = None
        self.status = 0
        self.written = 0
        self.over = False
        threading.Thread(target=self._run, args=(upstream, path), daemon=True).start()

    def _run(self, upstream: Upstream, path: str) -> None:
        try:
            self._fetch(upstream, path)
        except (OSError, http.client.HTTPException) as error:
            sys.stderr.write(f"{upstream.host}{path}: {error}\n")
            self._update(status=self.status or 502)
        finally:
            self._update(over=True)

    def _fetch(self, upstream: Upstream, path: str) -> None:
        connection = connect(upstream)
        connection.request("GET", path, headers={"User-Agent": "saltern-lab"})
        answer = connection.getresponse()
        length = answer.getheader("Content-Length")
        if answer.status != 200 or length is None:
            self._update(status=answer.status if answer.status != 200 else 502)
            return
        with self.part.open("wb") as stream:
            self._update(status=200, length=int(length))
            while block := answer.read(CHUNK):
                stream.write(block)
                stream.flush()
                self._update(written=self.written + len(block))
        if self.written == self.length:
            self.part.rename(self.target)
        else:
            self.part.unlink()

    def _update(self, **values: int | bool) -> None:
        with self.changed:
            self.__dict__.update(values)
            self.changed.notify_all()

    def started(self) -> int:
        """Return the mirror's status as soon as it is known."""
        with self.changed:
            self.changed.wait_for(lambda: self.status or self.over)
            return self.status or 502

    def _open(self) -> BinaryIO:
        try:
            return self.part.open("rb")
        except FileNotFoundError:
            return self.target.open("rb")

    def _beyond(self, position: int) -> bool:
        """Wait for more than that many bytes; tells whether the download is over."""
        with self.changed:
            self.changed.wait_for(lambda: self.written > position or self.over)
            return self.over

    def blocks(self) -> Iterator[bytes]:
        """Return what arrives, from the first byte to the last; it ends early when the download does."""
        with self._open() as stream:
            position = 0
            while True:
                finished = self._beyond(position)
                while block := stream.read(CHUNK):
                    position += len(block)
                    yield block
                if finished:
                    return


class Cache:
    """Files on disk by the hash of their URL, and the downloads that are under way."""

    def __init__(self, directory: Path) -> None:
        """Use a directory; parts that a killed proxy left are removed."""
        self.directory = directory
        self.lock = threading.Lock()
        self.downloads: dict[Path, Download] = {}
        directory.mkdir(parents=True, exist_ok=True)
        for part in directory.glob("*.part*"):
            if time.time() - part.stat().st_mtime > STALE:
                part.unlink(missing_ok=True)

    def find(self, upstream: Upstream, path: str) -> Path | Download:
        """Return the file when it is here, else the download that brings it, which may be another reader's."""
        name = hashlib.sha256(f"{upstream.host}{path}".encode()).hexdigest()
        target = self.directory / name
        with self.lock:
            if target.exists():
                self.downloads.pop(target, None)
                return target
            download = self.downloads.get(target)
            if not download or download.over:
                download = self.downloads[target] = Download(target, upstream, path)
            return download


class Handler(BaseHTTPRequestHandler):
    """Answers a node's package manager; everything that is not a mirror's file is refused."""

    protocol_version = "HTTP/1.1"
    upstreams: Mapping[str, Upstream]
    cache: Cache

    def do_GET(self) -> None:
        """Serve a file of a mirror."""
        upstream = allowed(self.path, self.upstreams)
        if not upstream:
            self.refuse()
            return
        parts = urlsplit(self.path)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            if immutable(path):
                self._cached(upstream, path)
            else:
                self._passed(upstream, path)
        except (OSError, http.client.HTTPException) as error:
            # Headers may be out already: a closed connection tells the package manager to try again.
            self.log_message("%s: %s", self.path, error)
            self.close_connection = True

    do_HEAD = do_GET

    def refuse(self) -> None:
        """Refuse the request and end the connection."""
        self.close_connection = True
        self.send_error(403, "not a package mirror")

    do_CONNECT = do_POST = do_PUT = do_DELETE = do_OPTIONS = refuse

    def _headers(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _cached(self, upstream: Upstream, path: str) -> None:
        found = self.cache.find(upstream, path)
        if isinstance(found, Path):
            self._headers(200, {"Content-Length": str(found.stat().st_size)})
            with found.open("rb") as stream:
                self.connection.sendfile(stream) if self.command == "GET" else None
            return
        status = found.started()
        if status != 200:
            self._headers(status, {"Content-Length": "0"})
            return
        self._headers(200, {"Content-Length": str(found.length)})
        sent = 0
        for block in found.blocks() if self.command == "GET" else ():
            self.wfile.write(block)
            sent += len(block)
        self.close_connection = self.close_connection or sent != found.length

    def _passed(self, upstream: Upstream, path: str) -> None:
        connection = connect(upstream)
        headers = {name: self.headers[name] for name in PASSED if name in self.headers}
        try:
            connection.request(self.command, path, headers=headers)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self.log_message("%s: %s", self.path, error)
            self.send_error(502, "the mirror does not answer")
            return
        self._headers(answer.status, {name: value for name, value in answer.getheaders() if name.title() in RETURNED})
        while block := answer.read(CHUNK):
            self.wfile.write(block)
        # Without a length, or with bytes missing, only the connection's end tells the reader that no more come.
        self.close_connection = self.close_connection or answer.length != 0
        connection.close()


class Server(ThreadingHTTPServer):
    """An HTTP server on a socket that was opened elsewhere."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, listener: socket.socket) -> None:
        """Serve a listening socket."""
        super().__init__(listener.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener


def listen(namespace: str, address: str, port: int) -> socket.socket:
    """Return a listening socket inside a network namespace; this process itself stays where it is."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/self/ns/net").open() as home, Path(namespace).open() as there:
        if libc.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
        try:
            return socket.create_server((address, port), backlog=128)
        finally:
            if libc.setns(home.fileno(), CLONE_NEWNET):
                os._exit(1)


def serve(config: Mapping[str, Any]) -> None:
    """Serve for ever what the configuration says."""
    mirrors = [Upstream(host, tls, tuple(paths)) for host, tls, paths in config["upstreams"]]
    Handler.upstreams = {each.host: each for each in mirrors}
    Handler.cache = Cache(Path(config["cache"]))
    Server(listen(config["namespace"], config["address"], config["port"])).serve_forever()


if __name__ == "__main__":
    serve(json.loads(Path(sys.argv[1]).read_text()))
