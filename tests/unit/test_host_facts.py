"""Facts of a host: parsing on samples, reading on real files, doors on real sockets."""

from __future__ import annotations

import hashlib
import http.server
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from saltern import host_facts, pki
from saltern.errors import SalternError

SS = """\
udp   UNCONN 0      0            127.0.0.53%lo:53         0.0.0.0:*    users:(("systemd-resolve",pid=1,fd=1))
tcp   LISTEN 0      4096             127.0.0.1:11211      0.0.0.0:*    users:(("memcached",pid=7,fd=26))
tcp   LISTEN 0      128                      *:4369             *:*    users:(("epmd",pid=9,fd=3),("epmd",pid=8,fd=3))
tcp   LISTEN 0      128                   [::]:22            [::]:*
tcp   LISTEN 0      128  [::ffff:10.20.0.11]:5671            [::]:*    users:(("beam.smp",pid=3,fd=3))
short line
"""


def test_listeners_are_parsed() -> None:
    assert host_facts.parse_sockets(SS) == [
        {"proto": "udp", "address": "127.0.0.53", "port": 53, "program": "systemd-resolve"},
        {"proto": "tcp", "address": "127.0.0.1", "port": 11211, "program": "memcached"},
        {"proto": "tcp", "address": "*", "port": 4369, "program": "epmd"},
        {"proto": "tcp", "address": "::", "port": 22, "program": "kernel"},
        {"proto": "tcp", "address": "10.20.0.11", "port": 5671, "program": "beam.smp"},
    ]


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of programs that takes the place of the system's."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def program(folder: Path, name: str, said: str, code: int = 0) -> None:
    """Put a program in place that prints a text and ends with a code."""
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\nexit {code}\n")
    path.chmod(0o755)


def plan(**services: Any) -> dict[str, Any]:
    """A plan with services."""
    return {"services": services, "secrets": {}}


def test_a_program_that_fails_or_is_absent_says_nothing(programs: Path) -> None:
    program(programs, "loud", "words", 3)
    assert host_facts.run("loud") == ""
    assert host_facts.run("no-such-program-anywhere") == ""


def test_sockets_come_from_ss(programs: Path) -> None:
    program(programs, "ss", SS)
    assert [each["port"] for each in host_facts.sockets({})] == [53, 11211, 4369, 22, 5671]


def test_units_keep_the_order_in_which_they_were_asked(programs: Path) -> None:
    program(programs, "systemctl", "Id=other.service\nActiveState=active\n\nId=b.service\nActiveState=failed")
    found = host_facts.units(plan(x={"units": {"b.service": {}}, "masked": ["a.service"]}))
    assert found["a.service"]["ActiveState"] == "active"
    assert found["b.service"]["ActiveState"] == "failed"
    assert host_facts.units(plan()) == {}


def test_failed_units_are_listed(programs: Path) -> None:
    program(programs, "systemctl", "bad.service loaded failed failed A bad one\n")
    assert host_facts.failed({}) == ["bad.service"]


def test_file_has_owner_mode_hash_and_differences(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("one\n")
    path.chmod(0o640)
    spec = {"kind": "lines", "settings": ["two"], "mode": "0640", "user": "root", "group": "root", "secret": []}
    found = host_facts.files(plan(x={"files": {str(path): spec, str(tmp_path / "none"): spec}}))
    assert found[str(tmp_path / "none")] is None
    seen = found[str(path)]
    assert seen is not None
    assert (seen["mode"], seen["sha256"]) == ("0640", hashlib.sha256(b"one\n").hexdigest())
    assert seen["changes"]


def test_status_is_of_regular_files_and_knows_nameless_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host_facts.status(str(tmp_path)) is None
    (tmp_path / "file").touch(mode=0o600)

    def nobody(number: int) -> Any:
        raise KeyError(number)

    monkeypatch.setattr("pwd.getpwuid", nobody)
    found = host_facts.status(str(tmp_path / "file"))
    assert found is not None
    assert found["user"] == str(os.getuid())


def test_packages_tell_versions_of_installed_ones(programs: Path) -> None:
    program(programs, "dpkg-query", "nova-api installed 2:31\nlibc6:amd64 installed 2.41\nold config-files 1\n")
    found = host_facts.packages(plan(x={"packages": ["nova-api", "old", "libc6"]}, y={"packages": ["none"]}))
    assert found == {"libc6": "2.41", "none": "", "nova-api": "2:31", "old": ""}


def test_firewall_is_read_twice(programs: Path) -> None:
    program(programs, "nft", "table inet saltern {\n}")
    program(programs, "unshare", "table inet saltern {\n\tdrop\n}")
    found = host_facts.firewall({})
    assert found["loaded"] == ["table inet saltern {", "}"]
    assert found["file"] == ["table inet saltern {", "\tdrop", "}"]


def test_clock_tells_reference_and_offset(programs: Path) -> None:
    program(programs, "chronyc", "0A14000B,10.20.0.11,11,1763.5,-0.000012,0.1")
    found = host_facts.clock({})
    assert (found["reference"], found["stratum"], found["offset"]) == ("10.20.0.11", 11, -0.000012)
    program(programs, "chronyc", "", 1)
    assert host_facts.clock({})["offset"] is None


def test_route_of_the_metadata_address(programs: Path) -> None:
    program(programs, "ip", "169.254.169.254 via 10.0.0.1 dev eth0\n    cache")
    assert host_facts.routes({}) == {"metadata": "169.254.169.254 via 10.0.0.1 dev eth0"}


def test_switch_tells_ports_and_settings(programs: Path) -> None:
    assert host_facts.switch(plan()) == {}
    script = programs / "ovs-vsctl"
    script.write_text(
        "#!/bin/sh\ncase $1 in list-br) echo br-trunk;; list-ports) echo eth1;;\n"
        """*) echo '{"data": [[["map", [["ovn-encap-type", "geneve"]]]]]}';; esac\n"""
    )
    script.chmod(0o755)
    found = host_facts.switch(plan(openvswitch={}))
    assert found == {"bridges": {"br-trunk": ["eth1"]}, "settings": {"ovn-encap-type": "geneve"}}
    program(programs, "ovs-vsctl", "", 1)
    assert host_facts.switch(plan(openvswitch={})) == {"bridges": {}, "settings": {}}


def test_queues_and_policies_by_vhost(programs: Path) -> None:
    assert host_facts.messaging(plan()) == {}
    script = programs / "rabbitmqctl"
    script.write_text(
        """#!/bin/sh\ncase "$*" in *list_vhosts*) echo '[{"name": "nova"}]';;"""
        """ *list_queues*) echo '[{"name": "q"}]';; esac\n"""
    )
    script.chmod(0o755)
    assert host_facts.messaging(plan(rabbitmq={})) == {"nova": {"queues": [{"name": "q"}], "policies": []}}


def test_open_files_with_a_secret_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_facts, "EXPOSED_ROOTS", (str(tmp_path), str(tmp_path / "missing")))
    tmp_path.chmod(0o755)
    key = "-----BEGIN-----\nabcdefghijklmnopqrstuvwxyz\n-----END-----"
    given = {"password": "correct horse", "short": "abc", "key": key}
    for name, text, mode in (
        ("open", "password = correct horse\n", 0o644),
        ("closed", "correct horse", 0o640),
        ("harmless", "abc", 0o644),
        ("key", "abcdefghijklmnopqrstuvwxyz", 0o644),
        ("large", "correct horse" + " " * host_facts.EXPOSED_SIZE, 0o644),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    for folder, mode in (("shut", 0o750), ("ajar", 0o755)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text("correct horse")
        (tmp_path / folder).chmod(mode)
    for folder in host_facts.EXPOSED_SKIPPED_NAMES:
        (tmp_path / "ajar" / folder).mkdir()
        (tmp_path / "ajar" / folder / "file").write_text("correct horse")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = host_facts.exposed({"secrets": given})
    assert [Path(each).relative_to(tmp_path).as_posix() for each in found] == ["ajar/file", "key", "open"]


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_root_that_nobody_else_enters_exposes_nothing(
    mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_facts, "EXPOSED_ROOTS", (str(tmp_path),))
    (tmp_path / "open").write_text("correct horse")
    tmp_path.chmod(mode)
    found = host_facts.exposed({"secrets": {"password": "correct horse"}})
    assert found == ([str(tmp_path / "open")] if mode & 0o001 else [])


@pytest.mark.parametrize("place", ["/var/cache/salt/minion", "/var/cache/keystone", "/var/tmp", "/srv", "/var/log"])
def test_no_place_where_a_leak_would_stay_is_passed_over(place: str) -> None:
    above = [str(each) for each in (Path(place), *Path(place).parents)]
    assert set(above) & set(host_facts.EXPOSED_ROOTS)
    assert not set(above) & host_facts.EXPOSED_SKIPPED


def test_a_file_that_vanishes_holds_nothing(tmp_path: Path) -> None:
    assert not host_facts._holds(str(tmp_path / "gone"), [b"x"])
    assert not host_facts._enterable(str(tmp_path / "gone"))


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    """A certificate of 127.0.0.1 with its key and its authority, in files."""
    authority = pki.ensure_authority(str(tmp_path / "pki"), "services")
    subject = pki.Subject("here", ("127.0.0.1",), ("server", "client"))
    key = pki.new_key()
    cert = pki.sign(authority, pki.request(key, subject), subject, datetime.now(UTC))
    spec = {"cert": tmp_path / "a.crt", "key": tmp_path / "a.key", "ca_file": tmp_path / "ca.crt"}
    for path, text in zip(spec.values(), (cert, key, authority.pem), strict=True):
        path.write_text(text)
    return {name: str(path) for name, path in spec.items()}


def test_certificates_tell_whether_key_and_certificate_are_a_pair(certificate: dict[str, str]) -> None:
    found = host_facts.certificates(plan(x={"certificates": {"a": certificate, "ca": {"ca_file": "/no/such"}}}))
    assert found["a"]["paired"]
    assert found["a"]["cert"] == Path(certificate["cert"]).read_text()
    assert set(found["a"]["readers"]) == {"key"}
    assert found["ca"] == {"cert": "", "ca_file": "", "paired": False, "readers": {}}
    Path(certificate["key"]).write_text(pki.new_key())
    assert not host_facts.certificates(plan(x={"certificates": {"a": certificate}}))["a"]["paired"]


class Quiet(http.server.BaseHTTPRequestHandler):
    """An HTTP server that answers 200 to everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[int]:
    """The port of an HTTP server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def door(port: int, mode: str, **more: str) -> dict[str, Any]:
    """A target on the loopback."""
    return {"host": "127.0.0.1", "port": port, "mode": mode, **more}


def test_doors_in_clear_text(web: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        closed = unused.getsockname()[1]
    said = host_facts.reach([door(web, "tcp"), door(web, "http"), door(closed, "tcp"), door(web, "tls")])
    assert said[:2] == ["open", "HTTP/1.0 200 OK"]
    assert said[2].startswith("closed")
    assert said[3].startswith("refused")
    with pytest.raises(SalternError, match="accepted: tcp, http, banner, tls"):
        host_facts.meet(door(web, "knock"))


@pytest.mark.parametrize(("first", "mode", "said"), [(b"", "http", "silent"), (b"\x4e\x00", "banner", "4e00")])
def test_doors_that_do_not_speak_http(first: bytes, mode: str, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            channel, _ = server.accept()
            channel.sendall(first)
            channel.close()

        thread = threading.Thread(target=greet)
        thread.start()
        assert host_facts.meet(door(server.getsockname()[1], mode)) == said
        thread.join()


def test_a_door_that_waits_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", lambda address, timeout: connect(address, timeout=0.2))
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert host_facts.meet(door(server.getsockname()[1], "banner")) == "silent"


@pytest.fixture
def secured(certificate: dict[str, str]) -> Iterator[tuple[int, ssl.SSLContext]]:
    """A TLS server that wants a client's certificate of the same authority, and stays silent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate["cert"], certificate["key"])
    context.load_verify_locations(certificate["ca_file"])
    context.verify_mode = ssl.CERT_REQUIRED
    kept: list[ssl.SSLSocket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    channel, _ = server.accept()
                except OSError:
                    return
                try:
                    kept.append(context.wrap_socket(channel, server_side=True))
                except OSError:
                    channel.close()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1], context
        server.shutdown(socket.SHUT_RDWR)


def test_doors_that_want_a_certificate(secured: tuple[int, ssl.SSLContext], certificate: dict[str, str]) -> None:
    port, _ = secured
    pair = {name: certificate[name] for name in ("cert", "key")}
    ca_file = certificate["ca_file"]
    assert host_facts.meet(door(port, "tls", ca_file=ca_file, **pair)) == "verified"
    assert host_facts.meet(door(port, "tls", ca_file=ca_file)).startswith("refused")
    assert "CERTIFICATE_VERIFY_FAILED" in host_facts.meet(door(port, "tls", **pair))


def test_a_door_that_closes_after_the_handshake_refuses(certificate: dict[str, str]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate["cert"], certificate["key"])
    with socket.create_server(("127.0.0.1", 0)) as server:

        def once() -> None:
            channel, _ = server.accept()
            with suppress(OSError):
                context.wrap_socket(channel, server_side=True).unwrap()

        thread = threading.Thread(target=once, daemon=True)
        thread.start()
        said = host_facts.meet(door(server.getsockname()[1], "tls", ca_file=certificate["ca_file"]))
        assert said.startswith("refused")


def test_gather_asks_every_reader(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_facts, "EXPOSED_ROOTS", ())
    found = host_facts.gather(plan())
    assert set(found) == set(host_facts.READERS)


def test_a_reader_that_broke_leaves_its_error_without_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(plan: host_facts.Plan) -> None:
        raise ValueError("odd line: hunter2-hunter2")

    monkeypatch.setattr(host_facts, "READERS", {"broken": broken, "whole": lambda plan: 7})
    found = host_facts.gather({"secrets": {"a": "hunter2-hunter2"}})
    assert found == {"broken": "ValueError: odd line: <secret>", "whole": 7}
