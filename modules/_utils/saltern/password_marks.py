"""Which stored password hash was seen to fit which password: so that a slow hash is computed once, not at each run.

A mark is HMAC-SHA256 of the stored hash, keyed with the password. It holds for this very pair: when either changes,
there is no mark and the password is tried again. So a mark cannot lie, unlike a note that a password *was set*.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path

from saltern import atomic

MARKS = ("saltern", "password-marks.json")
"""Where the marks are, below Salt's cache directory."""
KEPT = 1000
"""Marks kept in the file; the oldest go first."""


class PasswordMarks:
    """Marks in a file that only root reads."""

    def __init__(self, path: str) -> None:
        """Read the marks; a file that is missing or damaged counts as empty."""
        self._path = Path(path)
        try:
            found = json.loads(self._path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            found = []
        self._marks = [str(each) for each in found] if isinstance(found, list) else []

    def fits(self, password: str, stored: str, check: Callable[[], bool] | None = None) -> bool:
        """Say whether the password was seen to fit the stored hash; if not, and a check is given, let it say."""
        mark = hmac.new(password.encode(), stored.encode(), hashlib.sha256).hexdigest()
        if mark in self._marks:
            return True
        if check is None or not check():
            return False
        self._marks.append(mark)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic.write(str(self._path), json.dumps(self._marks[-KEPT:]), 0o600)
        return True
