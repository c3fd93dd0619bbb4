"""Texts of files with their secrets taken out, also secrets that nobody here knows (a password of last year, say)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

from saltern import render, secret_words, yamlfile
from saltern.errors import SalternError
from saltern.layers import SECTIONED

HIDDEN = "<not shown: this file holds secrets>"
OTHER = "<secret, not this one>"
_KEYED = ("keyvalue", "libvirt", "shell", "words")
_SECTION = re.compile(r"\s*\[([^\]]+)\]\s*")
_ASSIGNMENT = re.compile(r"([A-Za-z_][\w.-]*)(\s*[=:]\s*|\s+)(?=\S)")


def wanted(entry: Mapping[str, Any], secrets: Mapping[str, str]) -> str:
    """Return a file's text as the plan has it, without its secrets."""
    shown = render.render(entry["kind"], entry["settings"], frozenset(entry["secret"]), redact=True)
    return redacted(shown, secrets)


def redacted(text: str, secrets: Mapping[str, str]) -> str:
    """Return the text without any secret, and without any line of those that have several."""
    lines = {
        f"{name}:{number}": line for name, value in secrets.items() for number, line in enumerate(value.splitlines())
    }
    return render.redact(text, {**secrets, **lines})


def applied(text: str, entry: Mapping[str, Any], secrets: Mapping[str, str]) -> str:
    """Return a file's present text without secrets: line by line the wanted one where nothing else differs.

    What is a secret by its name goes, too, unless the plan has this very line.
    """
    shown = wanted(entry, secrets)
    if text == render.render(entry["kind"], entry["settings"]):
        return shown
    if "" in entry["secret"]:
        return f"{OTHER}\n"
    found = redacted(_marked(text, entry, shown), secrets)
    return secret_words.without(found, OTHER, set(shown.splitlines()))


def _marked(text: str, entry: Mapping[str, Any], shown: str) -> str:
    """Return a file's present text without the options that the plan marks as secrets."""
    kind, secret = entry["kind"], frozenset(entry["secret"])
    if not secret:
        return text
    if kind in (*SECTIONED, *_KEYED):
        return _by_option(text, render.render(kind, entry["settings"]), secret)
    return _reparsed(text, entry) if kind in ("json", "yaml") else _known_lines(text, shown)


def _by_option(text: str, full: str, secret: Set[str]) -> str:
    """Return the lines that are safe to show: those of the plan, and new values of its options that are no secrets.

    Options that the plan does not have keep their name only; foreign comments and continued lines go.
    """
    known, managed = set(full.splitlines()), {name for _, name, _ in _named_lines(full)} - {""}
    lines = []
    for line, name, start in _named_lines(text):
        if name in secret:
            lines.append(start + (render.SECRET if line in known else OTHER))
        elif line in known or name in managed or _SECTION.fullmatch(line) or not line.strip():
            lines.append(line)
        elif name:
            lines.append(start + HIDDEN)
    return "".join(f"{line}\n" for line in lines)


def _named_lines(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield each line with its ``section.option``, and what stands before the value; section lines come without."""
    section = ""
    for line in text.splitlines():
        if match := _SECTION.fullmatch(line):
            section = match[1]
            yield line, "", ""
        elif (match := _ASSIGNMENT.match(line)) and line[:1] not in "#; \t":
            yield line, f"{section}.{match[1]}" if section else match[1], match[0]
        else:
            yield line, "", ""


def _reparsed(text: str, entry: Mapping[str, Any]) -> str:
    """Return the data of a file with its secrets replaced, and with all that the plan does not have."""
    try:
        data = json.loads(text) if entry["kind"] == "json" else yamlfile.parse(text)
        kept = {key: value if key in entry["settings"] else HIDDEN for key, value in data.items()}
        return render.render(entry["kind"], kept, frozenset(entry["secret"]), redact=True)
    except (SalternError, ValueError, AttributeError, RecursionError):
        return f"{HIDDEN}\n"


def _known_lines(text: str, shown: str) -> str:
    known = set(shown.splitlines())
    return "".join(f"{line if line in known else HIDDEN}\n" for line in text.splitlines())
