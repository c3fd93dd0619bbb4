"""Debian's archives as the host's package manager lists them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lab import mirror
from lab.command import LabError
from lab.mirror import Entry

TARGETS = """\
Debian|Debian|http://mirror.example/debian/|bookworm|bookworm
Debian|Debian|http://mirror.example/debian/|bookworm-updates|bookworm-updates
Debian|Debian-Security|http://mirror.example/debian-security/|bookworm-security|bookworm-security
Debian|Debian|http://mirror.example/debian/|bookworm|bookworm
Debian Backports|Debian Backports|http://mirror.example/debian/|bookworm-backports|bookworm-backports
Node Source|Node Source|https://deb.other.example/node/|nodistro|nodistro
Google|cloud-sdk|https://packages.other.example/apt/|cloud-sdk-bookworm|cloud-sdk-bookworm
"""


def test_only_debian_with_another_suite_and_the_main_archive_first() -> None:
    assert mirror.entries(TARGETS, "trixie") == (
        Entry("http://mirror.example/debian", "trixie"),
        Entry("http://mirror.example/debian", "trixie-updates"),
        Entry("http://mirror.example/debian-security", "trixie-security"),
    )


def test_sources_may_speak_of_a_release_by_its_state() -> None:
    by_state = TARGETS.replace("|bookworm|", "|stable|").replace("|bookworm-updates|", "|stable-updates|")
    by_state = by_state.replace("|bookworm-security|", "|stable-security|")
    assert by_state.count("|stable") == 4
    assert mirror.entries(by_state, "trixie") == mirror.entries(TARGETS, "trixie")


@pytest.mark.parametrize("content", [None, "# nothing\n\n"])
def test_a_mirror_list_that_names_none_is_told_in_words(tmp_path: Path, content: str | None) -> None:
    listing = tmp_path / "debian.list"
    if content is not None:
        listing.write_text(content)
    with pytest.raises(LabError, match=r"apt's sources: .*debian.list"):
        mirror.resolved(f"mirror+file:{listing}")


class Server(BaseHTTPRequestHandler):
    """An archive, with another one that has moved."""

    def do_HEAD(self) -> None:
        moved = not self.path.startswith("/debian/dists/trixie/")
        self.send_response(302 if moved else 200)
        self.send_header("Location", "http://elsewhere.example/debian")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    found = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    found.server_close()


def test_a_mirror_that_cannot_be_asked_as_the_proxy_does_is_told_at_once(server: str) -> None:
    mirror.probe(Entry(f"{server}/debian", "trixie"))
    with pytest.raises(LabError, match=r"redirects to http://elsewhere.example/debian: .*mirrors: "):
        mirror.probe(Entry(f"{server}/old", "trixie"))
    with pytest.raises(LabError, match=r"http://127.0.0.1:9/debian: .*refused: .*mirrors: "):
        mirror.probe(Entry("http://127.0.0.1:9/debian", "trixie"), tries=1)


def test_no_entry_of_debian_gives_none() -> None:
    others = "\n".join(line for line in TARGETS.splitlines() if not line.startswith("Debian|"))
    assert mirror.entries(others, "trixie") == ()


def test_a_mirror_list_in_a_file_gives_its_first_archive(tmp_path: Path) -> None:
    listing = tmp_path / "debian.list"
    listing.write_text("# preferred\n\nhttps://near.example/debian\tpriority:1\nhttps://far.example/debian\n")
    targets = f"Debian|Debian|mirror+file:{listing}/|bookworm|bookworm\n"
    assert mirror.entries(targets, "trixie") == (Entry("https://near.example/debian", "trixie"),)


@pytest.mark.parametrize(
    ("url", "host", "plain"),
    [
        ("http://m.example/debian", "m.example:80", "http://m.example/debian"),
        ("http://m.example:8080/debian", "m.example:8080", "http://m.example:8080/debian"),
        ("https://m.example/debian", "m.example:443", "http://m.example:443/debian"),
        ("https://m.example:8443/d", "m.example:8443", "http://m.example:8443/d"),
    ],
)
def test_nodes_speak_clear_text_to_the_proxy(url: str, host: str, plain: str) -> None:
    entry = Entry(url, "trixie")
    assert (entry.host, entry.plain) == (host, plain)
    assert entry.line().endswith(f"] {plain} trixie main")


def test_only_options_about_the_mirror_are_carried_over() -> None:
    dump = 'Acquire::Check-Valid-Until "false";\nAcquire::http::Proxy "http://p:1";\nAcquire::Retries "3";\nAPT "";\n'
    assert mirror.options(dump) == 'Acquire::Check-Valid-Until "false";\nAcquire::Retries "3";\n'
