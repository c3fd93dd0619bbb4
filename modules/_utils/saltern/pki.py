"""The internal certificate authorities: make one, ask it for a certificate, sign, and tell when one must be renewed.

Keys are EC P-256: OpenSSL, GnuTLS (libvirt, QEMU), Erlang (RabbitMQ), Open vSwitch and Go all take them.
There are two authorities because libvirt treats every client certificate of its CA as root on the host:
``services`` for everything else, ``libvirt`` for libvirt and QEMU only.
"""

from __future__ import annotations

import fcntl
import ipaddress
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from saltern import atomic
from saltern.errors import Problem, Problems, SalternError, described

AUTHORITIES = ("services", "libvirt")
"""The names of the authorities that exist."""
DIRECTORY = "/etc/saltern/authorities"
"""Where the authorities are, on the deploy host only; apart from the hosts' own certificates, which services read."""
USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
"""What a certificate may be used for."""
AUTHORITY_LIFE = timedelta(days=3650)
LIFE = timedelta(days=365)
# A machine that has just been installed may run hours behind until chrony has steered its clock.
BACKDATED = timedelta(days=1)


@dataclass(frozen=True)
class Subject:
    """Who a certificate is for and what it is good for."""

    common_name: str
    names: tuple[str, ...]
    usage: tuple[str, ...] = ("server",)

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> Subject:
        """Return the subject that a certificate of a host plan describes; raise Problems where it is not usable."""
        subject = cls(str(plan["common_name"]), tuple(plan["names"]), tuple(plan["usage"]))
        problems = list(_mistakes(subject))
        if problems:
            raise Problems(problems)
        return cls(subject.common_name, tuple(map(_canonical, subject.names)), subject.usage)


@dataclass(frozen=True)
class Authority:
    """A certificate authority: its name, its key (never leaves the deploy host) and its certificate."""

    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        """Return the certificate, which is public, as PEM text."""
        return _pem(self.certificate)


def new_key() -> str:
    """Return a new private key as PEM text (PKCS#8, not encrypted)."""
    return _key_pem(ec.generate_private_key(ec.SECP256R1()))


def ensure_authority(directory: str, name: str, now: datetime | None = None) -> Authority:
    """Return an authority, made first if it does not exist: safe to kill and to run several times at once."""
    if name not in AUTHORITIES:
        raise Problems([Problem("authority", name, f"accepted: {', '.join(AUTHORITIES)}")])
    try:
        with suppress(FileNotFoundError):
            return read_authority(directory, name)
        _make_authority(Path(directory), name, now or datetime.now(UTC))
        return read_authority(directory, name)
    except OSError as error:  # a full disk, say: the master's pillar and runners tell it in words
        raise SalternError(described(error)) from error


def _make_authority(base: Path, name: str, now: datetime) -> None:
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    base.chmod(0o700)
    with (base / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _complete_authority(base, name, now)


def read_authority(directory: str, name: str) -> Authority:
    """Return an authority that exists; raise FileNotFoundError or SalternError where a part is missing or bad."""
    key_path, certificate_path = Path(directory, f"{name}.key"), Path(directory, f"{name}.crt")
    key, certificate = (
        load_key(key_path.read_text(errors="replace")),
        load_certificate(certificate_path.read_text(errors="replace")),
    )
    if key is None or certificate is None:
        raise SalternError(f"{key_path if key is None else certificate_path}: not readable; restore it from the backup")
    if key.public_key() != certificate.public_key():
        raise SalternError(f"{key_path}: not the key of {certificate_path}; restore both from the backup")
    return Authority(name, key, certificate)


def request(key_pem: str, subject: Subject) -> str:
    """Return a signing request of a subject as PEM text; the key signs it and is not part of it."""
    key = load_key(key_pem)
    if key is None:
        raise SalternError("private key: not readable")
    names = x509.SubjectAlternativeName([_general_name(name) for name in subject.names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(subject.common_name))
    return _pem(builder.add_extension(names, critical=False).sign(key, hashes.SHA256()))


def sign(authority: Authority, csr_pem: str, allowed: Subject, now: datetime | None = None) -> str:
    """Return the certificate, as PEM text, of a request that names exactly what is allowed; raise Problems otherwise.

    Names and usage come from ``allowed``: the request can only agree with it, never widen it.
    """
    csr = _checked_request(csr_pem, allowed)
    start = now or datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(allowed.common_name))
        .issuer_name(authority.certificate.subject)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(start - BACKDATED, authority.certificate.not_valid_before_utc))
        .not_valid_after(min(start + LIFE, authority.certificate.not_valid_after_utc))
    )
    for extension, critical in _leaf_extensions(authority, csr.public_key(), allowed):
        builder = builder.add_extension(extension, critical)
    return _pem(builder.sign(authority.key, hashes.SHA256()))


def check(cert_pem: str, key_pem: str, ca_pem: str, subject: Subject, now: datetime | None = None) -> list[str]:
    """Return why a certificate must be renewed; an empty list means that it is good."""
    certificate, authority, key = load_certificate(cert_pem), load_certificate(ca_pem), load_key(key_pem)
    if authority is None:
        raise SalternError("certificate of the authority: not readable")
    if certificate is None:
        return ["no certificate" if not cert_pem else "certificate not readable"]
    reasons = []
    if key is None or key.public_key() != certificate.public_key():
        reasons.append("not the certificate of this key")
    if not _issued_by(certificate, authority):
        reasons.append("signed by another authority")
    reasons += _differences(describe(certificate), subject)
    return reasons + _age(certificate, now or datetime.now(UTC))


def describe(certificate: x509.Certificate) -> Subject:
    """Return the subject that a certificate states, names and usages sorted."""
    usage = _extension(certificate, x509.ExtendedKeyUsage)
    known = {oid: name for name, oid in USAGES.items()}
    return Subject(
        _common_name(certificate.subject),
        _names(certificate),
        tuple(sorted(known.get(oid, oid.dotted_string) for oid in usage or ())),
    )


def load_certificate(pem: str) -> x509.Certificate | None:
    """Return the first certificate of a PEM text, or None where there is none that can be read in full."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        _ = certificate.extensions  # parsed lazily: a broken one would raise later
        return certificate
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return None


def load_key(pem: str) -> ec.EllipticCurvePrivateKey | None:
    """Return the EC private key of a PEM text, or None where there is none."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _complete_authority(base: Path, name: str, now: datetime) -> None:
    """Write the parts of an authority that are missing, the key first: a kill leaves something to go on with."""
    key_path, certificate_path = base / f"{name}.key", base / f"{name}.crt"
    if not key_path.exists():
        if certificate_path.exists():
            raise SalternError(f"{key_path}: missing, {certificate_path} exists; restore the key from the backup")
        atomic.write(str(key_path), new_key(), mode=0o600)
    if not certificate_path.exists():
        key = load_key(key_path.read_text(errors="replace"))
        if key is None:
            raise SalternError(f"{key_path}: not readable; restore it from the backup")
        atomic.write(str(certificate_path), _pem(_self_signed(key, name, now)), mode=0o644)


def _self_signed(key: ec.EllipticCurvePrivateKey, name: str, now: datetime) -> x509.Certificate:
    """Return the certificate of a new authority; it may sign host certificates and no further authority."""
    subject, public = _name(f"Saltern {name} CA"), key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf_extensions(authority: Authority, public: Any, allowed: Subject) -> list[tuple[x509.ExtensionType, bool]]:
    """Return the extensions of a host certificate and whether each is critical."""
    identifier = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        # Older releases of QEMU and libvirt demand key encipherment; Debian 13's do not.
        (_key_usage(digital_signature=True, key_encipherment=True), True),
        (x509.ExtendedKeyUsage([USAGES[usage] for usage in allowed.usage]), False),
        (x509.SubjectAlternativeName([_general_name(name) for name in allowed.names]), False),
        (x509.SubjectKeyIdentifier.from_public_key(public), False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False),
    ]


def _key_usage(**granted: bool) -> x509.KeyUsage:
    """Return a key usage that grants what is named and nothing else."""
    every = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    rest = ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: granted.get(name, False) for name in every + rest})


def _checked_request(csr_pem: str, allowed: Subject) -> x509.CertificateSigningRequest:
    """Return a request whose signature holds and whose names are exactly those allowed; raise Problems otherwise."""
    try:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        _ = csr.extensions
    except (ValueError, AttributeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise Problems([Problem("request", "", "accepted: a PEM certificate signing request")]) from error
    problems = []
    if not csr.is_signature_valid:
        problems.append(Problem("request.signature", "", "accepted: a signature by the key of the request"))
    if not isinstance(csr.public_key(), ec.EllipticCurvePublicKey):
        problems.append(Problem("request.key", type(csr.public_key()).__name__, "accepted: an EC key"))
    stated = _common_name(csr.subject)
    if stated != allowed.common_name or len(list(csr.subject)) != 1:
        problems.append(Problem("request.common_name", stated, f"accepted: {allowed.common_name}"))
    if _names(csr) != tuple(sorted(allowed.names)):
        problems.append(Problem("request.names", ", ".join(_names(csr)), f"accepted: {', '.join(allowed.names)}"))
    if problems:
        raise Problems(problems)
    return csr


def _mistakes(subject: Subject) -> Iterable[Problem]:
    """Yield what makes a subject unusable."""
    if not 0 < len(subject.common_name) <= 64:
        yield Problem("common_name", subject.common_name, "accepted: 1 to 64 characters")
    if not subject.names:
        yield Problem("names", list(subject.names), "accepted: one or more DNS names or addresses")
    for name in subject.names:
        if not isinstance(name, str) or not name.isascii() or "*" in name:
            yield Problem("names", name, "accepted: DNS names without wildcards, and addresses")
    for usage in subject.usage:
        if usage not in USAGES:
            yield Problem("usage", usage, f"accepted: {', '.join(USAGES)}")
    if not subject.usage:
        yield Problem("usage", list(subject.usage), f"accepted: one or more of {', '.join(USAGES)}")


def _differences(stated: Subject, wanted: Subject) -> list[str]:
    """Return in which respects a certificate states something else than what is wanted."""
    pairs: list[tuple[str, str | tuple[str, ...], str | tuple[str, ...]]] = [
        ("common name", stated.common_name, wanted.common_name),
        ("names", stated.names, tuple(sorted(wanted.names))),
        ("usage", stated.usage, tuple(sorted(wanted.usage))),
    ]
    return [f"{what} {_shown(old)}, wanted {_shown(new)}" for what, old, new in pairs if old != new]


def _shown(value: str | tuple[str, ...]) -> str:
    """Return a value or a list of values on one line."""
    return value if isinstance(value, str) else ", ".join(value) or "none"


def _age(certificate: x509.Certificate, now: datetime) -> list[str]:
    """Return why a certificate's time is over: expired, less than a third of its life left, or from the future."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        return [f"expired on {end:%Y-%m-%d}"]
    if now < start:
        return [f"not valid before {start:%Y-%m-%d %H:%M} UTC"]
    if end - now < (end - start) / 3:
        return [f"expires on {end:%Y-%m-%d}, less than a third of its life is left"]
    return []


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Return whether an authority's key has signed a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _extension(source: x509.Certificate | x509.CertificateSigningRequest, kind: type[Any]) -> Any:
    """Return an extension's value, or None where it is absent."""
    try:
        return source.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _names(source: x509.Certificate | x509.CertificateSigningRequest) -> tuple[str, ...]:
    """Return the alternative names, sorted; names of other kinds than DNS and address keep their type's name."""
    names = _extension(source, x509.SubjectAlternativeName) or ()
    plain = (x509.DNSName, x509.IPAddress)
    return tuple(sorted(str(n.value) if isinstance(n, plain) else f"{type(n).__name__}:{n.value}" for n in names))


def _general_name(name: str) -> x509.GeneralName:
    """Return a name as an address where it is one, as a DNS name otherwise."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _canonical(name: str) -> str:
    """Return an address in its shortest form, a DNS name in lower case: the forms that certificates are compared in."""
    return str(_general_name(name.lower()).value)


def _name(common_name: str) -> x509.Name:
    """Return a distinguished name of one common name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _common_name(name: x509.Name) -> str:
    """Return the common name of a distinguished name, empty where there is not exactly one."""
    values = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(values[0].value) if len(values) == 1 else ""


def _pem(what: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """Return a certificate or a request as PEM text."""
    return what.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """Return a private key as PEM text."""
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
