"""A host's own certificates: what a plan wants on disk, what is there, and the files that make the difference.

The private key is made on the host and never leaves it. It is kept when a certificate is renewed, so that a kill
between two files leaves a pair that fits, or one that the next run recognises and replaces.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from saltern import atomic, hostplan, pki
from saltern.errors import Problem, Problems, SalternError, suggestion

MISPLACED = "owner or mode"
PUBLIC = 0o644


@dataclass(frozen=True)
class Files:
    """Where a certificate's parts belong on a host, and who may read the private ones."""

    ca: str
    subject: pki.Subject
    cert: str
    key: str
    ca_file: str
    bundle: str | None
    user: str
    group: str
    mode: int

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> Files:
        """Return the files of a host plan's certificate; raise Problems where something is missing or wrong."""
        needed = ("ca", "cert", "key", "ca_file", "common_name", "names", "usage")
        problems = [Problem(key, None, "accepted: a value; it is missing") for key in needed if not plan.get(key)]
        if problems:
            raise Problems(problems)
        group = str(plan.get("group", "root"))
        mode = int(str(plan.get("mode", "0600" if group == "root" else "0640")), 8)
        return cls(
            ca=str(plan["ca"]),
            subject=pki.Subject.of(plan),
            cert=str(plan["cert"]),
            key=str(plan["key"]),
            ca_file=str(plan["ca_file"]),
            bundle=plan.get("bundle"),
            user=str(plan.get("user", "root")),
            group=group,
            mode=mode,
        )

    @property
    def private(self) -> tuple[str, ...]:
        """Return the paths that hold the private key."""
        return (self.key, self.bundle) if self.bundle else (self.key,)


@dataclass(frozen=True)
class Trusted:
    """An authority that a host trusts without a certificate of its own: where its certificate belongs."""

    ca: str
    ca_file: str


@dataclass(frozen=True)
class Finding:
    """What a host lacks: why a new certificate is needed, and which files to write or to hand to their owner."""

    renew: tuple[str, ...] = ()
    files: Mapping[str, str] | None = None

    @property
    def changes(self) -> dict[str, str]:
        """Return a line for each thing that is not as wanted; no key material."""
        renewal = {"certificate": "; ".join(self.renew)} if self.renew else {}
        return renewal | dict(self.files or {})

    @property
    def written(self) -> set[str]:
        """Return the files whose content is going to change."""
        return {path for path, what in (self.files or {}).items() if what != MISPLACED}


def planned(pillar: Mapping[str, Any], service: str, name: str) -> tuple[Files | Trusted, str]:
    """Return the files of a certificate that a host's pillar describes, and the certificate of its authority.

    An entry of only ``ca`` and ``ca_file`` is an authority to trust.
    """
    known = hostplan.service(pillar, service).get("certificates") or {}
    authorities = hostplan.plan(pillar).get("authorities") or {}
    if name not in known:
        raise SalternError(f"pillar: saltern:services:{service}:certificates:{name}: {suggestion(name, known)}")
    plan = known[name]
    files = Trusted(plan["ca"], plan["ca_file"]) if {*plan} == {"ca", "ca_file"} else Files.of(plan)
    if files.ca not in authorities:
        raise SalternError(f"pillar: saltern:authorities:{files.ca}: {suggestion(files.ca, authorities)}")
    return files, str(authorities[files.ca])


def inspect(files: Files | Trusted, ca_pem: str, now: datetime | None = None) -> Finding:
    """Return what differs on this host from what is wanted; only reads, and only this host's files."""
    if isinstance(files, Trusted):
        right = _text(files.ca_file) == ca_pem and _access(files.ca_file) == (PUBLIC, 0, 0)
        return Finding(files={} if right else {files.ca_file: "content, owner or mode"})
    key, cert = _text(files.key), _text(files.cert)
    renew = pki.check(cert, key, ca_pem, files.subject, now)
    wanted = {files.ca_file: ca_pem}
    if files.bundle and not renew:
        wanted[files.bundle] = cert + key
    differing = {path: "content" for path, text in wanted.items() if _text(path) != text}
    if renew:
        differing |= dict.fromkeys((files.cert, *files.private[1:]), "content")
    if pki.load_key(key) is None:
        differing[files.key] = "new key"
    elif renew or _outlived(files):
        differing[files.key] = "time"
    return Finding(tuple(renew), differing | _misplaced(files, differing))


def prepare(files: Files) -> str:
    """Return a signing request of this host's key, which is made first if there is none."""
    key = _text(files.key)
    if pki.load_key(key) is None:
        key = pki.new_key()
        _write_private(files, files.key, key)
    return pki.request(key, files.subject)


def install(files: Files | Trusted, ca_pem: str, cert_pem: str | None) -> None:
    """Put the certificate (None: the one in place stays), the authority's and the bundle on disk, with their owners.

    A certificate that is not good for the key and the names in place is refused before anything is written.
    """
    if isinstance(files, Trusted):
        return _write_public(files.ca_file, ca_pem)
    key = _text(files.key)
    cert = _text(files.cert) if cert_pem is None else cert_pem
    reasons = pki.check(cert, key, ca_pem, files.subject)
    if reasons:
        raise SalternError(f"{files.cert}: the certificate offered is not usable: {'; '.join(reasons)}")
    _write_public(files.ca_file, ca_pem)
    _write_public(files.cert, cert)
    _write_private(files, files.key, key)
    if files.bundle:
        _write_private(files, files.bundle, cert + key)
    if _outlived(files):
        os.utime(files.key)
    return None


def _outlived(files: Files) -> bool:
    """Tell whether the certificate is younger than its key.

    Open vSwitch and OVN, which run on, take a new certificate only together with a key that is newer than the one they
    have read (``stream_ssl_set_key_and_cert`` in lib/stream-ssl.c): the key is given the later time.
    """
    return os.stat(files.key).st_mtime_ns < os.stat(files.cert).st_mtime_ns


def _misplaced(files: Files, differing: Mapping[str, str]) -> dict[str, str]:
    """Return the files whose content is right and whose owner or mode is not."""
    wanted: dict[str, tuple[int, int, int] | None] = dict.fromkeys((files.ca_file, files.cert), (PUBLIC, 0, 0))
    try:
        owner: tuple[int, int] | None = _owner(files)
    except Problems:
        owner = None  # A dry run before the package is installed that brings the user.
    wanted |= dict.fromkeys(files.private, (files.mode, *owner) if owner else None)
    return {path: MISPLACED for path, expected in wanted.items() if path not in differing and _access(path) != expected}


def _write_public(path: str, text: str) -> None:
    """Make a file that everybody may read, root's own."""
    _write(path, text, PUBLIC, (0, 0))


def _write_private(files: Files, path: str, text: str) -> None:
    """Make a file that holds the key, readable by the service's group at most."""
    _write(path, text, files.mode, _owner(files))


def _write(path: str, text: str, mode: int, owner: tuple[int, int]) -> None:
    """Replace a file only if its content differs, so that only then its time changes; set owner and mode anyway."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if _text(path) != text:
        atomic.write(path, text, mode, owner)
    elif _access(path) != (mode, *owner):
        atomic.hand_over(path, mode, owner)


def _access(path: str) -> tuple[int, int, int]:
    """Return a file's mode, user and group number."""
    status = os.stat(path)
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


def _owner(files: Files) -> tuple[int, int]:
    """Return the numbers of the user and the group that own the private files."""
    try:
        return pwd.getpwnam(files.user).pw_uid, grp.getgrnam(files.group).gr_gid
    except KeyError as error:
        raise Problems([Problem("user, group", f"{files.user}:{files.group}", "accepted: ones that exist")]) from error


def _text(path: str) -> str:
    """Return a file's text, empty where there is none."""
    try:
        # what is damaged differs from all that is wanted, and is made anew
        return Path(path).read_text(errors="replace")
    except FileNotFoundError:
        return ""
