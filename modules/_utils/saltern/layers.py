"""The four layers of a file's settings and what each of them said: derived < catalogue < site < host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LAYERS = ("derived", "catalogue", "site", "host")
"""The layers, the later one wins."""

SECTIONED = ("oslo", "ini")
"""Kinds of files whose settings are sections of options; the settings of the others are one flat mapping."""

Layered = tuple[tuple[str, Any], ...]


class Secret(str):
    """A text that must never be shown; a value keeps the mark on its way into the settings."""

    __slots__ = ()


def overlaid(low: Any, high: Any) -> Any:
    """Return the higher layer laid over the lower: mappings merge, null removes the key, all else replaces."""
    if not isinstance(high, Mapping):
        return high
    result = dict(low) if isinstance(low, Mapping) else {}
    for key, value in high.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = overlaid(result[key], value)
        else:
            result[key] = overlaid({}, value)
    return result


def options(kind: str, settings: Any) -> Iterator[tuple[tuple[str, str], Any]]:
    """Yield ``((section, option), value)`` for each setting; the section of a flat kind is empty."""
    if not isinstance(settings, Mapping):
        yield ("", ""), settings
        return
    for key, value in settings.items():
        if kind in SECTIONED and isinstance(value, Mapping):
            yield from (((key, option), each) for option, each in value.items())
        elif kind not in SECTIONED:
            yield ("", key), value


def provenance(kind: str, layered: Layered) -> dict[tuple[str, str], list[tuple[str, Any]]]:
    """Return what each layer said of each option, in the order of the layers."""
    result: dict[tuple[str, str], list[tuple[str, Any]]] = {}
    for layer, settings in layered:
        for name, value in options(kind, settings):
            result.setdefault(name, []).append((layer, value))
    return result


def secret_names(kind: str, layered: Layered) -> tuple[str, ...]:
    """Return ``section.option`` (or the key) of every option that holds a secret in any layer."""
    names = {
        f"{section}.{option}" if section else option
        for _, settings in layered
        for (section, option), value in options(kind, settings)
        if has_secret(value)
    }
    return tuple(sorted(names))


def has_secret(value: Any) -> bool:
    """Return whether a value is a secret or holds one."""
    if isinstance(value, str):
        return isinstance(value, Secret)
    if isinstance(value, Mapping):
        return any(has_secret(each) for each in value.values())
    if isinstance(value, (list, tuple)):
        return any(has_secret(each) for each in value)
    return False


def plain(value: Any) -> Any:
    """Return a value without the marks of secrets, made of lists, dicts and scalars only."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, Secret) else value
