"""Files that are replaced as a whole: a reader, or a kill at any point, sees the old or the new content."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path


def write(path: str, text: str, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Replace a file: content, mode and owner (user and group number) are right from the moment it has its name.

    Where that is refused (the disk is full, say), the OSError names the file, and nothing is left of the new one.
    """
    target = Path(path)
    # One fixed name, so that what a killed run left behind is removed by the next one.
    temporary = target.with_name(f".{target.name}.saltern-new")
    try:
        temporary.unlink(missing_ok=True)
        _write_new(temporary, text, mode, owner)
        temporary.replace(target)
        sync_directory(str(target.parent))
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise OSError(error.errno, error.strerror, path) from error


def _write_new(path: Path, text: str, mode: int, owner: tuple[int, int] | None) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        if owner is not None:
            os.fchown(descriptor, *owner)
        os.fchmod(descriptor, mode)
        file.flush()
        os.fsync(descriptor)


def hand_over(path: str, mode: int, owner: tuple[int, int]) -> None:
    """Give a file to its owner with its mode; nobody who may not read it afterwards can in between."""
    os.chmod(path, mode & stat.S_IMODE(os.stat(path).st_mode))
    os.chown(path, *owner)
    os.chmod(path, mode)


def sync_directory(path: str) -> None:
    """Make a directory's new names survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
