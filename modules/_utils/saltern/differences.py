"""What differs between two texts of a configuration file, option by option, with secrets left out."""

from __future__ import annotations

import ast
import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import Any

import yaml

from saltern import secret_words
from saltern.render import SECRET, redact

Options = dict[str, str]
Differences = dict[str, dict[str, str | None]]


def differences(kind: str, old: str, new: str, secret: Set[str], secrets: Mapping[str, object]) -> Differences:
    """Return ``{option: {old, new}}`` for all that differs; None stands for an option that is not there.

    Values of the options in ``secret``, of options that sound secret, and known values of ``secrets`` are blotted out.
    """
    if old == new:
        return {}
    parser = _PARSERS.get(kind)
    before, after = (_parsed(parser, text) for text in (old, new))
    if parser is None or before is None or after is None:
        return {"text": {"old": None, "new": _line_difference(old, new, secret, secrets)}}
    found: Differences = {}
    for name in dict.fromkeys([*before, *after]):
        values = before.get(name), after.get(name)
        if values[0] != values[1]:
            shown = [_shown(name, value, secret, secrets) for value in values]
            found[name] = {"old": shown[0], "new": shown[1]}
    return found or {"text": {"old": None, "new": "only comments, order or spacing"}}


def _shown(name: str, value: str | None, secret: Set[str], secrets: Mapping[str, object]) -> str | None:
    """Return the value as it may be printed."""
    if value is None:
        return None
    # a secret may lie above an option (all of a section) or inside its value (a Python dict)
    hidden = any(f"{name}.".startswith(f"{path}.") or path.startswith(f"{name}.") for path in secret)
    if hidden or secret_words.sounds_secret(name):
        return SECRET
    return redact(secret_words.without(value, SECRET), secrets)


def _line_difference(old: str, new: str, secret: Set[str], secrets: Mapping[str, object]) -> str:
    """Return the changed lines of a text without options; nothing of it when it holds secrets."""
    if secret:
        return "changed (holds secrets)"
    before, after = (secret_words.without(text, SECRET) for text in (old, new))
    if before == after:
        return "changed (holds secrets)"
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))[2:]
    more = [f"… {len(lines) - 40} more lines"] if len(lines) > 40 else []
    return redact("\n".join([*lines[:40], *more]), secrets)


def _parsed(parser: Callable[[str], Options] | None, text: str) -> Options | None:
    """Return the options of a text; None when it cannot be read as its kind."""
    try:
        return parser(text) if parser else None
    except (ValueError, SyntaxError, RecursionError, yaml.YAMLError):
        return None


def _collected(pairs: Iterable[tuple[str, str]]) -> Options:
    """Return the pairs as a mapping; values of a repeated name are joined."""
    options: Options = {}
    for name, value in pairs:
        options[name] = f"{options[name]}; {value}" if name in options else value
    return options


def _lines(text: str) -> Iterator[str]:
    """Yield the lines that are neither empty nor comments."""
    for line in text.splitlines():
        if line.strip() and line.lstrip()[0] not in "#;":
            yield line


def _sections(text: str) -> Options:
    """Read an INI-like text."""

    def pairs() -> Iterator[tuple[str, str]]:
        section = "DEFAULT"
        for line in _lines(text):
            if header := re.match(r"\s*\[(.+)\]", line):
                section = header[1]
            else:
                name, _, value = line.partition("=")
                yield f"{section}.{name.strip()}", value.strip()

    return _collected(pairs())


def _assignments(text: str) -> Options:
    """Read ``key = value`` lines."""
    return _collected(
        (name.strip(), value.strip()) for name, _, value in (line.partition("=") for line in _lines(text))
    )


def _words(text: str) -> Options:
    """Read ``key value`` lines."""
    return _collected((line.split()[0], " ".join(line.split()[1:])) for line in _lines(text))


def _python(text: str) -> Options:
    """Read the assignments at the top of a Python file."""
    nodes = (node for node in ast.parse(text).body if isinstance(node, ast.Assign))
    return _collected((ast.unparse(node.targets[0]), ast.unparse(node.value)) for node in nodes)


def _flattened(data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested mappings under their dotted paths."""
    if isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _flattened(value, (*path, str(key)))
    elif path:
        yield ".".join(path), json.dumps(data, default=str, ensure_ascii=False)


def _yaml(text: str) -> Options:
    """Read YAML, and JSON with it."""
    return _collected(_flattened(yaml.safe_load(text)))


_PARSERS: dict[str, Callable[[str], Options]] = {
    "ini": _sections,
    "json": _yaml,
    "keyvalue": _assignments,
    "libvirt": _assignments,
    "oslo": _sections,
    "python": _python,
    "shell": _assignments,
    "words": _words,
    "yaml": _yaml,
}
