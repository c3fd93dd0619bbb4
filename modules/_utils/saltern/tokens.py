"""Secrets of one installation: made when they are handed out, and kept as hashes only."""

from __future__ import annotations

import hashlib
import hmac
import secrets


def new() -> str:
    """Return 256 random bits, in characters that need no quoting anywhere."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """Return what is kept of a token. It is random, so a plain hash gives nothing away: there is nothing to guess."""
    return hashlib.sha256(token.encode()).hexdigest()


def fits(token: str, kept: str) -> bool:
    """Tell whether a token is the one of which this is kept; without one, none is. Takes the same time in any case."""
    return hmac.compare_digest(digest(token), kept) and bool(kept)
