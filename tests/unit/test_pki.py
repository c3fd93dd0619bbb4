"""The authorities, what they sign, and when a certificate is due; OpenSSL and Python's TLS are the judges."""

import os
import shutil
import socket
import ssl
import stat
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from saltern import atomic, pki
from saltern.errors import Problems, SalternError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SUBJECT = pki.Subject("ctl1.lab.example", ("10.20.0.11", "ctl1", "ctl1.lab.example"), ("client", "server"))


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    return pki.ensure_authority(str(tmp_path_factory.mktemp("pki")), "services", NOW)


@pytest.fixture(scope="module")
def libvirt(tmp_path_factory):
    return pki.ensure_authority(str(tmp_path_factory.mktemp("pki")), "libvirt", NOW)


@pytest.fixture
def pair(services):
    key = pki.new_key()
    return key, pki.sign(services, pki.request(key, SUBJECT), SUBJECT, NOW)


def test_an_authority_is_made_once_and_only_root_reads_its_key(tmp_path):
    directory = tmp_path / "made" / "here"
    first = pki.ensure_authority(str(directory), "services")
    assert pki.ensure_authority(str(directory), "services").pem == first.pem
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "services.key").stat().st_mode) == 0o600
    assert sorted(os.listdir(directory)) == [".lock", "services.crt", "services.key"]


def test_many_at_once_make_one_authority(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: pki.ensure_authority(str(tmp_path), "libvirt").pem, range(16)))
    assert len(set(made)) == 1


def test_a_kill_between_key_and_certificate_keeps_the_key(tmp_path):
    pki.ensure_authority(str(tmp_path), "services")
    key = (tmp_path / "services.key").read_text()
    (tmp_path / "services.crt").unlink()
    (tmp_path / ".services.crt.saltern-new").write_text("half a certifi")
    assert pki.ensure_authority(str(tmp_path), "services").key.public_key() == pki.load_key(key).public_key()
    assert not (tmp_path / ".services.crt.saltern-new").exists()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda d: (d / "services.key").unlink(), "restore the key"),
        (lambda d: (d / "services.key").write_text("x"), "services.key: not readable"),
        (lambda d: (d / "services.crt").write_text("x"), "services.crt: not readable"),
        (lambda d: (d / "services.key").write_text(pki.new_key()), "not the key of"),
        (lambda d: [(d / "services.crt").unlink(), (d / "services.key").write_text("x")], "services.key: not readable"),
    ],
)
def test_a_damaged_authority_is_never_replaced(tmp_path, broken, said):
    pki.ensure_authority(str(tmp_path), "services")
    broken(tmp_path)
    with pytest.raises(SalternError, match=said):
        pki.ensure_authority(str(tmp_path), "services")


def test_an_authority_of_another_name_does_not_exist(tmp_path):
    with pytest.raises(Problems, match="accepted: services, libvirt"):
        pki.ensure_authority(str(tmp_path), "../services")


def test_a_signed_certificate_says_exactly_what_is_allowed(pair, services):
    key, cert = pair
    assert pki.check(cert, key, services.pem, SUBJECT, NOW) == []
    made = pki.load_certificate(cert)
    assert pki.describe(made) == SUBJECT
    assert made.not_valid_after_utc == NOW + timedelta(days=365)
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_a_certificate_ends_no_later_than_its_authority(services):
    late = NOW + timedelta(days=3600)
    cert = pki.sign(services, pki.request(pki.new_key(), SUBJECT), SUBJECT, late)
    assert pki.load_certificate(cert).not_valid_after_utc == services.certificate.not_valid_after_utc


def asking(common_name="ctl1.lab.example", names=SUBJECT.names, more=(), key=None):
    """A request as somebody might make it with other tools."""
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name), *more]
    general = [x509.IPAddress(pki.ipaddress.ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if general:
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    made = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("csr", "said"),
    [
        (asking(common_name="cmp1.lab.example"), "request.common_name: 'cmp1.lab.example': accepted: ctl1.lab.example"),
        (asking(more=[x509.NameAttribute(NameOID.ORGANIZATION_NAME, "x")]), "request.common_name"),
        (asking(more=[x509.NameAttribute(NameOID.COMMON_NAME, "cmp1")]), "request.common_name: ''"),
        (asking(names=(*SUBJECT.names, "cmp1")), "request.names: '10.20.0.11, cmp1, ctl1, ctl1.lab.example'"),
        (asking(names=("ctl1",)), "request.names: 'ctl1'"),
        (asking(names=()), "request.names: ''"),
        (asking(names=(*SUBJECT.names[1:], "10.20.0.12")), "request.names"),
        (asking(key=rsa.generate_private_key(65537, 2048)), "request.key"),
        ("", "request: '': accepted: a PEM"),
        ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "accepted: a PEM"),
    ],
)
def test_a_request_for_anything_else_is_refused(services, csr, said):
    with pytest.raises(Problems) as refused:
        pki.sign(services, csr, SUBJECT, NOW)
    assert said in str(refused.value)


def test_a_request_with_a_forged_signature_is_refused(services):
    der = bytearray(x509.load_pem_x509_csr(asking().encode()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises(Problems, match=r"request\.signature"):
        pki.sign(services, forged, SUBJECT, NOW)


def test_a_name_of_another_kind_is_no_dns_name(services):
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.load_pem_x509_csr(asking().encode()).subject)
    names = x509.SubjectAlternativeName([x509.RFC822Name("ctl1")])
    key = ec.generate_private_key(ec.SECP256R1())
    csr = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    with pytest.raises(Problems, match="RFC822Name:ctl1"):
        pki.sign(services, csr.public_bytes(serialization.Encoding.PEM).decode(), SUBJECT, NOW)


def test_a_request_needs_a_key():
    with pytest.raises(SalternError, match="private key: not readable"):
        pki.request("nothing", SUBJECT)


@pytest.mark.parametrize(
    ("days", "reason"),
    [(0, []), (240, []), (250, ["expires on 2027-03-01, less than a third of its life is left"])],
)
def test_it_is_due_when_a_third_of_its_life_is_left(pair, services, days, reason):
    assert pki.check(pair[1], pair[0], services.pem, SUBJECT, NOW + timedelta(days=days)) == reason


def test_every_other_reason_to_renew(pair, services, libvirt):
    key, cert = pair
    other = pki.Subject("ctl2", ("ctl2",), ("server",))

    def reasons(cert=cert, key=key, ca=services, subject=SUBJECT, now=NOW):
        return "; ".join(pki.check(cert, key, ca.pem, subject, now))

    assert reasons(now=NOW + timedelta(days=366)) == "expired on 2027-03-01"
    assert reasons(now=NOW - timedelta(days=2)) == "not valid before 2026-02-28 00:00 UTC"
    assert reasons(cert="") == "no certificate"
    assert reasons(cert="x") == "certificate not readable"
    assert reasons(key=pki.new_key()) == reasons(key="") == "not the certificate of this key"
    assert reasons(ca=libvirt) == "signed by another authority"
    assert reasons(subject=other) == (
        "common name ctl1.lab.example, wanted ctl2; names 10.20.0.11, ctl1, ctl1.lab.example, wanted ctl2; "
        "usage client, server, wanted server"
    )


def test_an_authority_remade_under_the_same_name_is_another_one(pair, tmp_path):
    remade = pki.ensure_authority(str(tmp_path), "services", NOW)
    assert pki.check(pair[1], pair[0], remade.pem, SUBJECT, NOW) == ["signed by another authority"]


def test_a_bad_authority_is_an_error_not_a_reason(pair):
    with pytest.raises(SalternError, match="of the authority"):
        pki.check(pair[1], pair[0], "", SUBJECT)


def test_a_certificate_without_names_or_usage_is_described(services):
    assert pki.describe(services.certificate) == pki.Subject("Saltern services CA", (), ())


def test_an_rsa_key_is_not_ours():
    key = rsa.generate_private_key(65537, 2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    assert pki.load_key(key.private_bytes(*form).decode()) is None


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"common_name": ""}, "common_name: '': accepted: 1 to 64 characters"),
        ({"common_name": "x" * 65}, "accepted: 1 to 64 characters"),
        ({"names": []}, "names: []"),
        ({"names": ["*.lab.example"]}, "without wildcards"),
        ({"names": ["b\u00fccher"]}, "without wildcards"),
        ({"names": [7]}, "names: 7"),
        ({"usage": ["root"]}, "usage: 'root': accepted: server, client"),
        ({"usage": []}, "usage: []"),
    ],
)
def test_an_unusable_subject_is_refused(plan, said):
    with pytest.raises(Problems) as refused:
        pki.Subject.of({"common_name": "a", "names": ["a"], "usage": ["server"]} | plan)
    assert said in str(refused.value)


def test_names_are_compared_in_one_form():
    subject = pki.Subject.of({"common_name": "a", "names": ["CTL1", "FD00:0::1"], "usage": ["server"]})
    assert subject.names == ("ctl1", "fd00::1")


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl")
@pytest.mark.parametrize(
    ("ca", "purpose", "accepted"),
    [("services", "sslserver", True), ("services", "sslclient", True), ("libvirt", "sslserver", False)],
)
def test_openssl_judges_strictly(pair, services, libvirt, tmp_path, ca, purpose, accepted):
    (tmp_path / "ca").write_text({"services": services, "libvirt": libvirt}[ca].pem)
    (tmp_path / "cert").write_text(pair[1])
    at = str(int((NOW + timedelta(days=1)).timestamp()))
    options = ["-x509_strict", "-attime", at, "-purpose", purpose, "-verify_ip", "10.20.0.11"]
    command = ["openssl", "verify", *options, "-CAfile", str(tmp_path / "ca"), str(tmp_path / "cert")]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (judged.returncode == 0) is accepted, judged.stderr


def handshake(server, client, server_hostname):
    """Run one TLS connection over a socket pair, both sides demanding a certificate; return what the client read."""
    left, right = socket.socketpair()

    def serve():
        try:
            with server.wrap_socket(left, server_side=True) as wrapped:
                wrapped.sendall(b"hello")
        except OSError:
            left.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        right.settimeout(5)
        with client.wrap_socket(right, server_hostname=server_hostname) as wrapped:
            return wrapped.recv(5)
    finally:
        right.close()
        thread.join(5)


def side(tmp_path, protocol, authority, trusted):
    """A TLS context with a fresh certificate of an authority, that verifies the peer strictly."""
    key = pki.new_key()
    cert = pki.sign(authority, pki.request(key, SUBJECT), SUBJECT)
    (tmp_path / "pair").write_text(cert + key)
    context = ssl.SSLContext(protocol)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(tmp_path / "pair")
    context.load_verify_locations(cadata=trusted.pem)
    return context


def test_python_accepts_both_sides_and_refuses_the_other_authority(tmp_path):
    services, libvirt = (pki.ensure_authority(str(tmp_path), name) for name in pki.AUTHORITIES)
    server = side(tmp_path, ssl.PROTOCOL_TLS_SERVER, services, services)
    client = side(tmp_path, ssl.PROTOCOL_TLS_CLIENT, services, services)
    assert handshake(server, client, "ctl1.lab.example") == b"hello"
    assert handshake(server, client, "10.20.0.11") == b"hello"
    with pytest.raises(ssl.SSLCertVerificationError, match="match"):
        handshake(server, client, "cmp1.lab.example")
    guarded = side(tmp_path, ssl.PROTOCOL_TLS_SERVER, libvirt, libvirt)
    stranger = side(tmp_path, ssl.PROTOCOL_TLS_CLIENT, services, libvirt)
    with pytest.raises(OSError, match=r"(?i)unknown.ca|eof|reset"):
        assert not handshake(guarded, stranger, "ctl1.lab.example")


def test_a_file_is_replaced_with_mode_and_owner(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")
    atomic.write(str(path), "new", 0o640, (os.getuid(), os.getgid()))
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["f"]


def test_a_temporary_name_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / ".f.saltern-new").symlink_to(tmp_path / "elsewhere")
    atomic.write(str(tmp_path / "f"), "new", 0o600)
    assert not (tmp_path / "elsewhere").exists()
