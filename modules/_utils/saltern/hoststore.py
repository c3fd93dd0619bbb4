"""Records of hosts on the deploy host: one JSON file each, replaced as a whole, by one writer at a time.

A change is on the disk before anybody is told of it: after a power cut a record is as it was told last, or newer.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from saltern import atomic
from saltern.errors import Problem, Problems, described
from saltern.hostlife import STATES, Alarm, Armed, Entry, Record

DIRECTORY = "/var/lib/saltern/hosts"
"""On the deploy host; root's alone."""
NAME = re.compile(r"(?!\d+$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A host's id, as site files have it; it is part of a path."""
Result = TypeVar("Result")


def text_of(record: Record) -> str:
    """Return a record as the text of its file."""
    return json.dumps(asdict(record), indent=1) + "\n"


def parsed(text: str, host: str) -> Record:
    """Return the record of a host that a text holds; raise ValueError, KeyError or TypeError where it holds none."""
    data = json.loads(text)
    armed = data["armed"]
    data |= {
        "armed": None if armed is None else _typed(Armed, armed),
        "alarms": tuple(_typed(Alarm, each) for each in data["alarms"]),
        "history": tuple(_typed(Entry, each) for each in data["history"]),
    }
    record = _typed(Record, data)
    if record.host != host or record.state not in STATES:
        raise ValueError("another host's, or in a state that does not exist")
    return record


def _typed(kind: Callable[..., Result], data: dict[str, Any]) -> Result:
    """Return a value of a dataclass; raise TypeError where a number or a text is something else."""
    for each in fields(kind):  # type: ignore[arg-type]
        plain = {"int": int, "str": str, "bool": bool}.get(str(each.type))
        if plain and type(data[each.name]) is not plain:
            raise TypeError(each.name)
    return kind(**data)


class Store:
    """The records below a directory."""

    def __init__(self, directory: str = DIRECTORY) -> None:
        """Keep the directory's name; it is made with the first record."""
        self.directory = Path(directory)

    def path(self, host: str) -> Path:
        """Return the path of a host's file; raise Problems for what is no host name."""
        if not NAME.fullmatch(host):
            raise Problems([Problem("hosts", host, "a host's id, as in the site file")])
        return self.directory / f"{host}.json"

    def hosts(self) -> list[str]:
        """Return the hosts of which there is a record."""
        found = (path.stem for path in self.directory.glob("*.json"))
        return sorted(each for each in found if NAME.fullmatch(each))

    def read(self, host: str) -> Record:
        """Return a host's record, a new one where there is no file; raise Problems where it cannot be read."""
        path = self.path(host)
        accepted = "a record that this release wrote; restore it, or remove the file: the host is then enrolled anew"
        try:
            return parsed(path.read_text(), host)
        except FileNotFoundError:
            return Record(host)
        except OSError as error:
            raise Problems([Problem(str(path), error.strerror, "a file that can be read, as root")]) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Problems([Problem(str(path), "not readable", accepted)]) from error

    def all(self) -> list[Record]:
        """Return every record."""
        return [self.read(host) for host in self.hosts()]

    def change(self, host: str, act: Callable[[Record], tuple[Record, Result]]) -> Result:
        """Replace a host's record by what an action makes of it; return the action's result once it is on the disk.

        What the action raises leaves the record as it was.
        """
        path = self.path(host)
        with self._locked():
            before = self.read(host)
            after, result = act(before)
            if after != before:
                self._write(path, after)
        return result

    def _write(self, path: Path, record: Record) -> None:
        try:
            atomic.write(str(path), text_of(record), 0o600)
        except OSError as error:
            raise Problems([Problem(str(path), error.strerror, "a file that can be written")]) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one writer at a time in; the lock goes with its process."""
        try:
            if not self.directory.is_dir():
                self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                atomic.sync_directory(str(self.directory.parent))
            descriptor = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise Problems([Problem(str(self.directory), described(error), "a directory of root's own")]) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
