"""Debian's archives as the host's package manager lists them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import mirror
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
