"""Text of configuration files from plain data: one pure function for every kind of file.

Values are literal where the kind of file has a way to say so (``$$`` for oslo.config); in files for systemd and uWSGI
(``ini``) the programs expand ``%`` and ``$``. What cannot be written down
literally in a kind of file (a line break in a one-line value, say) is refused with a :class:`~saltern.errors.Problem`.
"""

from __future__ import annotations

import json
import pprint
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any
from urllib.parse import quote

import yaml

from saltern.errors import Problem, Problems, suggestion

HEADER = "# Managed by Saltern: edits made here are overwritten by the next run.\n"
SECRET = "<secret>"  # noqa: S105 (what is printed in place of one)

_ONE_LINE = re.compile(r"[\n\r\0\x85\v\f\x1c-\x1e\u2028\u2029]")


def render(kind: str, settings: Any, secret: Set[str] = frozenset(), redact: bool = False) -> str:
    """Return the text of a file of this kind; with ``redact``, options named in ``secret`` read ``<secret>``.

    ``secret`` holds dotted paths: ``section.option`` for files with sections, ``key`` for flat ones, the empty path for
    a file of lines. A path also covers all that lies below it.
    """
    if kind not in _KINDS:
        raise Problems([Problem("kind", kind, suggestion(kind, _KINDS))])
    data = plain(settings)
    if redact:
        data = [SECRET] if "" in secret else _redacted(data, secret, ())
    return _KINDS[kind](data)


def redact(text: str, secrets: Mapping[str, object]) -> str:
    """Return the text with every value of ``secrets`` blotted out, also in its URL-quoted and its ``$$`` form."""
    for form in sorted(_forms(secrets), key=len, reverse=True):
        text = text.replace(form, SECRET)
    return text


def plain(value: Any) -> Any:
    """Return the value with every mapping a plain dict and every sequence a list (``repr`` and YAML need that)."""
    if isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return value


def _forms(secrets: Mapping[str, object]) -> set[str]:
    """Return all the ways in which a secret may stand in a text."""
    values = {str(value) for value in secrets.values()}
    quoted = {quote(value, safe=safe) for value in values for safe in ("", "/")}
    # "$$" as oslo.config has it, "%%" as alembic quotes a URL once more
    escaped = {value.replace(char, char * 2) for value in values | quoted for char in "$%"}
    return (values | quoted | escaped) - {""}


def _redacted(data: Any, secret: Set[str], path: tuple[str, ...], hidden: bool = False) -> Any:
    """Return a copy of the data in which all at and below the secret paths reads ``<secret>``; nulls stay."""
    hidden = hidden or ".".join(path) in secret
    if isinstance(data, dict) and not (hidden and set(data) == {"multi"}):
        return {key: _redacted(value, secret, (*path, str(key)), hidden) for key, value in data.items()}
    return SECRET if hidden and data is not None else data


class _Writer:
    """Turns values into text and remembers each one that cannot be written, to report all of them at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def refuse(self, path: str, value: object, accepted: str) -> str:
        """Note a problem and return an empty text in place of the value."""
        self.problems.append(Problem(path, value, accepted))
        return ""

    def scalar(self, path: str, value: Any) -> str:
        """Return a single value as text; booleans in lower case."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return repr(value)
        if not isinstance(value, str):
            return self.refuse(path, value, "a string, a number or a boolean is accepted here")
        if _ONE_LINE.search(value):
            return self.refuse(path, SECRET, "must be on one line")
        return value

    def key(self, path: str, key: Any) -> str:
        """Return an option name as text; characters that end a name in some kind of file are refused."""
        text = str(key)
        if not re.fullmatch(r"[^\s=:#;\[\]\"'][^\s=#;\[\]\"']*", text):
            self.refuse(path, key, "not a possible option name")
        return text

    def mapping(self, path: str, value: Any) -> dict[Any, Any]:
        """Return the value when it is a mapping, or an empty one and a problem."""
        if isinstance(value, dict):
            return value
        self.refuse(path, value, "must be a mapping")
        return {}

    def done(self, text: str) -> str:
        """Return the text, or raise all the problems noted on the way."""
        if self.problems:
            raise Problems(self.problems)
        return text


def _sections(writer: _Writer, data: Any) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Yield the sections in their order, DEFAULT first."""
    sections = writer.mapping("settings", data)
    for name in sorted(sections, key=lambda name: name != "DEFAULT"):
        if not re.fullmatch(r"[^\[\]\n\r]+", str(name)):
            writer.refuse(str(name), name, "not a possible section name")
        yield str(name), writer.mapping(str(name), sections[name])


def _oslo(data: Any) -> str:
    """Return the text of an oslo.config file."""
    writer, parts = _Writer(), [HEADER]
    for section, options in _sections(writer, data):
        lines = [
            line for key, value in options.items() for line in _oslo_option(writer, f"{section}.{key}", key, value)
        ]
        parts.append(f"[{section}]\n" + "".join(lines))
    return writer.done("\n".join(parts))


def _oslo_option(writer: _Writer, path: str, key: Any, value: Any) -> list[str]:
    """Return the lines of one option: none for null, several for ``{multi: [...]}``."""
    name = writer.key(path, key)
    if ":" in name:
        writer.refuse(path, key, "not a possible option name")
    if isinstance(value, dict) and set(value) == {"multi"} and isinstance(value["multi"], list):
        return [f"{name} = {_oslo_value(writer, path, item)}".rstrip() + "\n" for item in value["multi"]]
    return [] if value is None else [f"{name} = {_oslo_value(writer, path, value)}".rstrip() + "\n"]


def _oslo_value(writer: _Writer, path: str, value: Any) -> str:
    """Return a value as oslo.config reads it back: ``$`` is literal, outer spaces and quotes are kept."""
    if isinstance(value, list):
        text = ",".join(writer.scalar(path, item) for item in value)
    elif isinstance(value, dict):
        text = ",".join(f"{key}:{writer.scalar(path, item)}" for key, item in value.items())
    else:
        text = writer.scalar(path, value)
    # oslo.config takes "\$" for "$$": after a backslash only the former can be written
    text = re.sub(r"\\?\$", lambda match: "$$" if match[0] == "$" else "\\\\$", text)
    quoted = text != text.strip() or (text[:1] in ("'", '"') and text[0] == text[-1])
    return f'"{text}"' if quoted else text


def _ini(data: Any) -> str:
    """Return the text of an INI file (my.cnf, systemd units, uWSGI); an empty value makes a bare key."""
    writer, parts = _Writer(), [HEADER]
    for section, options in _sections(writer, data):
        lines = [line for key, value in options.items() for line in _ini_option(writer, f"{section}.{key}", key, value)]
        parts.append(f"[{section}]\n" + "".join(lines))
    return writer.done("\n".join(parts))


def _ini_option(writer: _Writer, path: str, key: Any, value: Any) -> list[str]:
    """Return the lines of one INI option; an empty item of a list keeps its ``=`` (systemd's reset)."""
    name = writer.key(path, key)
    if isinstance(value, list):
        return [f"{name} = {writer.scalar(path, item)}".rstrip() + "\n" for item in value]
    if value == "":
        return [f"{name}\n"]
    return [] if value is None else [f"{name} = {writer.scalar(path, value)}\n"]


def _keyvalue(data: Any) -> str:
    """Return ``key = value`` lines; a list repeats its key."""
    writer = _Writer()
    options = writer.mapping("settings", data)
    lines = [line for key, value in options.items() for line in _ini_option(writer, str(key), key, value)]
    return writer.done(HEADER + "".join(lines))


def _words(data: Any) -> str:
    """Return ``key value`` lines; a list repeats its key, true and "" make a bare key, false and null nothing."""
    writer, lines = _Writer(), []
    for key, value in writer.mapping("settings", data).items():
        name = writer.key(str(key), key)
        for item in value if isinstance(value, list) else [value]:
            if item is None or item is False:
                continue
            lines.append(f"{name}\n" if item is True or item == "" else f"{name} {writer.scalar(str(key), item)}\n")
    return writer.done(HEADER + "".join(lines))


def _shell(data: Any) -> str:
    """Return ``KEY="value"`` lines, quoted for a shell and for systemd's EnvironmentFile; lists become words."""
    writer, lines = _Writer(), []
    for key, value in writer.mapping("settings", data).items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(key)):
            writer.refuse(str(key), key, "not a possible variable name")
        if value is not None:
            words = value if isinstance(value, list) else [value]
            text = " ".join(writer.scalar(str(key), word) for word in words)
            escaped = re.sub(r'([\\"$`])', r"\\\1", text)
            lines.append(f'{key}="{escaped}"\n')
    return writer.done(HEADER + "".join(lines))


def _python(data: Any) -> str:
    """Return assignments of Python literals; dotted names and subscripts of earlier names are not accepted."""
    writer, lines = _Writer(), []
    for key, value in writer.mapping("settings", data).items():
        if not str(key).isidentifier():
            writer.refuse(str(key), key, "not a Python name")
        lines.append(f"{key} = {pprint.pformat(value, width=110, sort_dicts=False)}\n")
    return writer.done(HEADER + "".join(lines))


def _json(data: Any) -> str:
    """Return the data as indented JSON (no header: JSON has no comments)."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _yaml(data: Any) -> str:
    """Return the data as YAML in its own order."""
    return HEADER + str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110))


def _lines(data: Any) -> str:
    """Return the given lines, each ended by a line feed, and nothing else."""
    writer = _Writer()
    if not isinstance(data, list):
        writer.refuse("settings", data, "must be a list of lines")
        data = []
    return writer.done("".join(f"{writer.scalar(str(number), line)}\n" for number, line in enumerate(data, 1)))


def _libvirt(data: Any) -> str:
    """Return assignments as libvirtd.conf and qemu.conf take them: strings, numbers (booleans as 1/0), lists."""
    writer, lines = _Writer(), []
    for key, value in writer.mapping("settings", data).items():
        name = writer.key(str(key), key)
        if isinstance(value, list):
            items = ", ".join(_libvirt_value(writer, name, item) for item in value)
            lines.append(f"{name} = [ {items} ]\n" if value else f"{name} = []\n")
        elif value is not None:
            lines.append(f"{name} = {_libvirt_value(writer, name, value)}\n")
    return writer.done(HEADER + "".join(lines))


def _libvirt_value(writer: _Writer, path: str, value: Any) -> str:
    """Return one libvirt value; its strings know no escapes, so the quote is chosen by the content."""
    if isinstance(value, int):
        return str(int(value))
    text = writer.scalar(path, value)
    if '"' not in text:
        return f'"{text}"'
    return f"'{text}'" if "'" not in text else writer.refuse(path, SECRET, "has both kinds of quotes")


_KINDS: dict[str, Callable[[Any], str]] = {
    "ini": _ini,
    "json": _json,
    "keyvalue": _keyvalue,
    "libvirt": _libvirt,
    "lines": _lines,
    "oslo": _oslo,
    "python": _python,
    "shell": _shell,
    "words": _words,
    "yaml": _yaml,
}
