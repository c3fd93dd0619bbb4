"""The secrets file: made once, completed when a service is added, read only while nobody else can read it.

It is a flat YAML mapping of names to values. A value may be a PGP message; it is decrypted in memory when it is read.
No value ever stands in an error.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from saltern import atomic, yamlfile
from saltern.checks import join
from saltern.errors import Problem, Problems

MODE = 0o600
MIN_LENGTH = 12
PGP = "-----BEGIN PGP MESSAGE-----"
PEM = "-----BEGIN "
Forms = Mapping[str, str]
"""The form of each secret whose form is not ``text``."""

HEADER = "# Saltern's secrets. Keep this file at mode 0600; values may be PGP messages.\n"


def _ssh_key() -> str:
    """Return an Ed25519 private key in OpenSSH's format."""
    form, plain = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    return Ed25519PrivateKey.generate().private_bytes(serialization.Encoding.PEM, form, plain).decode()


FORMS: Mapping[str, Callable[[], str]] = {
    "text": lambda: secrets.token_urlsafe(32),
    "hex": lambda: secrets.token_hex(32),
    "ssh_key": _ssh_key,
}
"""How a secret may look; 256 random bits in each form."""

_MAKE = "./saltern init, or on the master salt-run saltern.secrets, makes it"
_GPG = ("gpg", "--batch", "--quiet", "--no-tty", "--decrypt")


def generate(existing: Mapping[str, str], names: Iterable[str], forms: Forms | None = None) -> dict[str, str]:
    """Return all existing secrets and a fresh one, of the form that ``forms`` names for it, for each further name."""
    forms = forms or {}
    return {**existing, **{name: FORMS[forms.get(name, "text")]() for name in names if name not in existing}}


def missing(mapping: Mapping[str, str], names: Iterable[str]) -> tuple[Problem, ...]:
    """Return a problem for each name that has no secret."""
    return tuple(Problem(f"secrets:{name}", None, f"a secret; {_MAKE}") for name in names if name not in mapping)


def read(path: str | Path, *, decrypt: bool = True, gpg_home: str | None = None) -> dict[str, str]:
    """Return the secrets in a file; raises Problems when others may read it, or when it holds anything else."""
    _check_mode(path)
    try:
        values = yamlfile.load(path)
    except Problems as refused:
        raise Problems(Problem(each.path, "not shown", each.accepted) for each in refused.problems) from None
    _check_values(values)
    if not decrypt:
        return values
    plain = {name: _decrypted(name, value, gpg_home) for name, value in values.items()}
    _check_values(plain)
    return plain


def write(path: str | Path, mapping: Mapping[str, str]) -> None:
    """Replace the file by one with these secrets: mode 0600, and root's when root writes it."""
    _write(Path(path), HEADER + _dump(mapping))


def complete(path: str | Path, names: Iterable[str], forms: Forms | None = None) -> list[str]:
    """Add the secrets that a file lacks and return their names; comments and PGP messages stay as they are."""
    target = Path(path)
    with _locked(target.parent):
        known = os.path.exists(target)
        text, existing = (yamlfile.read_text(target), read(target, decrypt=False)) if known else (HEADER, {})
        complete = generate(existing, names, forms)
        new = {name: value for name, value in complete.items() if name not in existing}
        if new:
            _write(target, _appended(text, new, complete))
    return list(new)


def _dump(mapping: Mapping[str, str]) -> str:
    return str(yaml.dump(dict(mapping), Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=2**16))


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as it is."""


def _represented(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _represented)


def _appended(text: str, new: Mapping[str, str], complete: Mapping[str, str]) -> str:
    """Return the text with more lines; a file in flow style, which takes no further lines, is written anew."""
    longer = text.rstrip("\n") + "\n" + _dump(new)
    try:
        if yamlfile.parse(longer) == complete:
            return longer
    except Problems:
        pass
    return HEADER + _dump(complete)


def _write(target: Path, text: str) -> None:
    try:
        atomic.write(str(target), text, MODE, (0, 0) if os.geteuid() == 0 else None)
    except OSError as error:
        raise Problems([Problem(str(target), error.strerror, "a file that can be written")]) from error


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep others from completing the same file at the same time: the later writer would drop secrets in use."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise Problems([Problem(str(directory), error.strerror, "a directory that exists")]) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _check_mode(path: str | Path) -> None:
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        raise Problems([Problem(str(path), "no such file", f"the secrets file; {_MAKE}")]) from None
    except OSError as error:
        raise Problems([Problem(str(path), error.strerror, "the secrets file")]) from error
    if mode & 0o077:
        raise Problems([Problem(str(path), f"mode {mode:04o}", f"mode {MODE:04o}, so that only its owner can read it")])


def _check_values(values: Mapping[Any, Any]) -> None:
    problems: list[Problem] = []
    first: dict[str, str] = {}
    for name, value in values.items():
        where = join("secrets", name)
        if not isinstance(name, str) or not isinstance(value, str):
            problems.append(Problem(where, f"{type(value).__name__}, not shown", "name: text (put the text in quotes)"))
        elif len(value) < MIN_LENGTH or not (value.isprintable() or value.startswith(PEM)):
            found = f"{len(value)} characters, not shown"
            problems.append(
                Problem(where, found, f"at least {MIN_LENGTH} printable characters on one line, or a key in PEM form")
            )
        elif first.setdefault(value, where) != where:
            problems.append(Problem(where, "not shown", f"a secret of its own: {first[value]} is the same"))
    if problems:
        raise Problems(problems)


def _decrypted(name: str, value: str, home: str | None) -> str:
    if not value.startswith(PGP):
        return value
    command = [_GPG[0], *(("--homedir", home) if home else ()), *_GPG[1:]]
    try:
        result = subprocess.run(command, input=value.encode(), capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Problems([Problem(f"secrets:{name}", type(error).__name__, "gpg, to decrypt the PGP message")]) from None
    if result.returncode:
        said = (result.stderr.decode(errors="replace").strip().splitlines() or ["gpg failed"])[-1]
        raise Problems([Problem(f"secrets:{name}", said, "a PGP message that gpg can decrypt with a key it has")])
    return result.stdout.decode(errors="replace").rstrip("\n")
