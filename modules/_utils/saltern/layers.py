"""The four layers of a file's settings and what each of them said: derived < catalogue < site < host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from saltern import secret_words

LAYERS = ("derived", "catalogue", "site", "host")
"""The layers, the later one wins."""

WRITTEN = ("site", "host")
"""The layers that the operator writes."""

SECTIONED = ("oslo", "ini")
"""Kinds of files whose settings are sections of options; the settings of the others are one flat mapping."""

Layered = tuple[tuple[str, Any], ...]


class Secret(str):
    """A text that must never be shown; a value keeps the mark on its way into the settings."""

    __slots__ = ()


class Asked(Secret):
    """The name of a secret, in the place where its value is to stand."""

    __slots__ = ()


def asked(kind: str, settings: Any) -> Any:
    """Return an override with each ``{secret: NAME}`` that stands for a value as the name that is asked for."""
    return _asked(settings, 2 if kind in SECTIONED else 1)


def _asked(value: Any, names: int) -> Any:
    """Return a value whose first levels are names: of sections and options, which may be called secret themselves."""
    if isinstance(value, list):
        return [_asked(each, 0) for each in value]
    if not isinstance(value, Mapping):
        return value
    if names <= 0 and set(value) == {"secret"} and isinstance(value["secret"], str):
        return Asked(value["secret"])
    return {key: _asked(each, names - 1) for key, each in value.items()}


def given(value: Any, secret: Callable[[str], Secret]) -> Any:
    """Return settings with the secrets that are asked for; no other one is fetched."""
    if isinstance(value, Mapping):
        return {key: given(each, secret) for key, each in value.items()}
    if isinstance(value, list):
        return [given(each, secret) for each in value]
    return secret(str(value)) if isinstance(value, Asked) else value


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
    """Return ``section.option`` (or the key) of every option that holds a secret in any layer.

    What the operator writes is one by its name, too.
    """
    names = {
        f"{section}.{option}" if section else option
        for layer, settings in layered
        for (section, option), value in options(kind, settings)
        if has_secret(value) or (layer in WRITTEN and secret_words.told(str(option), value))
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
