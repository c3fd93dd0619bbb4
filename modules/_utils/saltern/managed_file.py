"""One configuration file of a host: as it is to be, how it differs from what is there, and its replacement."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saltern import atomic, candidate, option_check
from saltern.differences import differences
from saltern.errors import Problem, Problems, SalternError
from saltern.render import HEADER, SECRET, render

#: The interpreter that holds the distribution's OpenStack packages (Salt's own does not).
SYSTEM_PYTHON = "/usr/bin/python3"
CHECK_TIMEOUT = 180
UNIT_FILES = "/etc/systemd/system/"

Checked = tuple[list[str], str]
"""The options that the installed programs would not take; why nothing could be checked, if so."""


@dataclass(frozen=True)
class ManagedFile:
    """A file as the plan wants it."""

    path: str
    kind: str
    text: str
    secret: frozenset[str]
    user: str
    group: str
    mode: int
    namespaces: tuple[str, ...]
    python: str = SYSTEM_PYTHON
    checker: tuple[str, ...] = ()

    @classmethod
    def from_plan(cls, path: str, spec: Mapping[str, Any]) -> ManagedFile:
        """Return the file that an entry of the plan describes: ``settings`` of a ``kind``."""
        kind, secret = str(spec.get("kind", "lines")), frozenset(spec.get("secret") or ())
        mode = str(spec.get("mode", "0644"))
        if not mode.isdecimal() or set(mode) & set("89"):
            raise Problems([Problem(f"{path}:mode", mode, "an octal mode such as '0640', in quotes")])
        return cls(
            path=path,
            kind=kind,
            text=render(kind, spec.get("settings"), secret),
            secret=secret,
            user=str(spec.get("user", "root")),
            group=str(spec.get("group", "root")),
            mode=int(mode, 8),
            namespaces=tuple(spec.get("check") or ()),
            python=str(spec.get("python") or SYSTEM_PYTHON),
            checker=tuple(spec.get("validate") or ()),
        )

    def current_text(self) -> str | None:
        """Return what the file holds now; None when it is not there (or is no regular file)."""
        path = Path(self.path)
        if path.is_symlink() or not path.is_file():
            return None
        return path.read_bytes().decode("utf-8", "replace")

    def changes(self, secrets: Mapping[str, object]) -> dict[str, Any]:
        """Return what differs from the file that is there: options with their old and new values, owner and mode."""
        old = self.current_text()
        if old is None:
            return {"file": {"old": None, "new": f"{len(self.text.splitlines())} lines, {self._access()}"}}
        if self.text.startswith(HEADER) and not old.startswith(HEADER):
            # the package's own file: hundreds of options that go are of no interest
            return {"file": {"old": "not managed", "new": f"{len(self.text.splitlines())} lines, {self._access()}"}}
        found: dict[str, Any] = dict(differences(self.kind, old, self.text, self.secret, secrets))
        status = Path(self.path).stat()
        for key, was, wanted in (
            ("user", named(pwd.getpwuid, status.st_uid), self.user),
            ("group", named(grp.getgrgid, status.st_gid), self.group),
            ("mode", f"{status.st_mode & 0o7777:04o}", f"{self.mode:04o}"),
        ):
            if was != wanted:
                found[f"({key})"] = {"old": was, "new": wanted}
        return found

    def restarts_readers(self) -> bool:
        """Return whether writing the file makes it newer: its content does, of a unit's files owner and mode, too."""
        return self.current_text() != self.text or self.path.startswith(UNIT_FILES)

    def write(self) -> None:
        """Replace the file as a whole; it never has another owner or a wider mode, nor half of its content.

        When the content is right already, only owner and mode are set: nothing that reads the file need restart.
        """
        try:
            owner = pwd.getpwnam(self.user).pw_uid, grp.getgrnam(self.group).gr_gid
        except KeyError as error:
            missing = f"user {self.user!r} or group {self.group!r} does not exist"
            raise SalternError(f"{self.path}: {missing}; is its package installed?") from error
        if self.current_text() == self.text:
            return atomic.hand_over(self.path, self.mode, owner)
        Path(self.path).parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        return atomic.write(self.path, self.text, self.mode, owner)

    def tried(self, secrets: Mapping[str, str], foreseen: Collection[str] = ()) -> Checked:
        """Return what the program that reads the file has against it.

        ``foreseen`` are the files that a dry run has not written: a checker that opened one would say it is missing.
        """
        missing = sorted(path for path in foreseen if path in self.text and not os.path.exists(path))
        if self.checker and not missing:
            return candidate.checked(self.path, self.text, self.checker, secrets)
        return [], f"{missing[0]} is not there yet" if self.checker else ""

    def checked(self, found: Mapping[str, Any]) -> Checked:
        """Return for people what the programs answered about the file."""
        if "missing" in found:
            return [], f"option namespaces that are not installed: {', '.join(found['missing'])}"
        if "problems" not in found:
            return [], str(found["error"])
        return [f"{self.path}: {name}: {self._reason(name, reason)}" for name, reason in found["problems"]], ""

    def _reason(self, name: str, reason: str) -> str:
        """Return the reason without the value when our data calls the option secret."""
        return f"{SECRET}: not a value that is accepted" if name in self.secret and "no such" not in reason else reason

    def _access(self) -> str:
        """Return owner and mode for people."""
        return f"{self.user}:{self.group} {self.mode:04o}"


def check(files: Iterable[ManagedFile]) -> dict[str, Checked]:
    """Compare files with the options that the installed programs declare; return for each path what was found.

    Files without namespaces have nothing to be compared with. One process for each interpreter checks all its files.
    """
    asked: dict[str, list[ManagedFile]] = {}
    for file in files:
        if file.namespaces:
            asked.setdefault(file.python, []).append(file)
    return {
        file.path: file.checked(found)
        for python, mine in asked.items()
        for file, found in zip(mine, _ask_programs(python, mine), strict=True)
    }


def _ask_programs(python: str, files: Sequence[ManagedFile]) -> list[dict[str, Any]]:
    """Run the check under the interpreter of the programs; the texts go through a pipe, never a file."""
    requests = json.dumps([{"text": file.text, "namespaces": file.namespaces} for file in files])
    command = [python, "-I", os.path.abspath(option_check.__file__)]
    try:
        done = subprocess.run(command, input=requests, capture_output=True, text=True, timeout=CHECK_TIMEOUT)
        answers = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return [{"error": f"{python}: the check did not answer ({type(error).__name__})"}] * len(files)
    if isinstance(answers, list) and len(answers) == len(files) and all(isinstance(each, dict) for each in answers):
        return answers
    return [{"error": f"{python}: the check answered nonsense"}] * len(files)


def named(lookup: Any, number: int) -> str:
    """Return the name of a user or group number, or the number when it has none."""
    try:
        return str(lookup(number)[0])
    except KeyError:
        return str(number)
