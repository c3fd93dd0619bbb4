"""The keys of minions that the Salt master accepts, as its driver ``localfs_key`` keeps them: one file each.

What comes in is read as an RSA key and written anew: nothing of a stranger's text gets into the master's directory.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from saltern import atomic, commands
from saltern.errors import Problem, Problems, SalternError

DIRECTORY = "/etc/salt/pki/master"
FORGET = ("/opt/saltern/salt/bin/salt-key", "--yes", "--delete")
TIMEOUT = 60.0
"""Seconds that the master's program may take."""
BITS = (2048, 8192)
"""The least and the largest key; Salt's own have 2048."""


def canonical(pem: str) -> str:
    """Return a public RSA key as PEM text of our own; raise Problems for anything else."""
    accepted = f"the public half of an RSA key of {BITS[0]} to {BITS[1]} bits, as PEM"
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise Problems([Problem("key", "not readable", accepted)]) from None
    if not isinstance(key, rsa.RSAPublicKey) or not BITS[0] <= key.key_size <= BITS[1]:
        raise Problems([Problem("key", type(key).__name__, accepted)])
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


def fingerprint(pem: str) -> str:
    """Return a key's fingerprint as this master's ``salt-key -f`` shows it (Salt 3008: of the text of its file)."""
    digest = hashlib.sha256(pem.encode()).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


@dataclass(frozen=True)
class Keys:
    """The keys of one master: where it has them, and its own program that forgets one."""

    directory: Path = Path(DIRECTORY)
    forget: tuple[str, ...] = FORGET

    def public(self) -> str:
        """Return the master's own public key; raise SalternError where there is none yet."""
        path = self.directory / "master.pub"
        try:
            return path.read_text()
        except OSError as error:
            raise SalternError(f"{path}: {error.strerror}; has the master been started once?") from error

    def refusal(self, host: str) -> str:
        """Return why no key of a host may be accepted, or an empty text."""
        rejected = self.directory / "minions_rejected" / host
        return f"{rejected}: an operator has rejected this minion; `salt-key -d {host}` ends that" * rejected.exists()

    def accept(self, host: str, pem: str) -> None:
        """Have the master accept this key of a host, and no other one; safe to repeat."""
        path = self.directory / "minions" / host
        before = _text(path)
        if before.strip() != pem.strip():
            if before:
                self._forgotten(host)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic.write(str(path), pem, 0o644)
        for other in ("minions_pre", "minions_denied"):
            (self.directory / other / host).unlink(missing_ok=True)

    def revoke(self, host: str, key: str) -> bool:
        """Have the master forget a host's key, if it is the one with this fingerprint; tell whether it was."""
        text = _text(self.directory / "minions" / host)
        if not key or not text or fingerprint(text) != key:
            return False
        self._forgotten(host)
        return True

    def _forgotten(self, host: str) -> None:
        """Run the master's own program: it also gives all others a new key, which the old minion is not told."""
        trouble = commands.bounded([*self.forget, host], commands.ENVIRONMENT, timeout=TIMEOUT)
        if trouble or _text(self.directory / "minions" / host):
            raise SalternError(f"{' '.join(self.forget)} {host}: {trouble or 'the key is still there'}")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
