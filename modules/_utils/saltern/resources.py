"""API objects in a site file: are they described rightly, and in which order are they made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from saltern.errors import Problem, suggestion
from saltern.resource_kinds import BUILT_IN, KINDS, PLURALS, Field, Kind

Resource = tuple[str, str, dict[str, Any]]
"""Kind, name, properties."""
Known = Mapping[str, Iterable[str]]
_TYPES = {str: "a text", int: "a whole number", bool: "true or false", list: "a list", dict: "a mapping"}


def ordered(resources: Mapping[str, Any]) -> list[Resource]:
    """Return the objects of a site file in the order in which they can be made.

    What is listed as absent (``absent: true``) comes first and in the opposite order, so that a new object may take
    the place of an old one.
    """
    position = list(KINDS).index
    every = sorted(_every(resources), key=lambda each: position(each[0]))
    present = [each for each in every if not each[2].get("absent")]
    gone = [each for each in every if each[2].get("absent")]
    return [*reversed(gone), *_by_reference(present)]


def _every(resources: Mapping[str, Any]) -> Iterator[Resource]:
    for plural, named in resources.items():
        for name, properties in (named or {}).items():
            yield PLURALS[plural], str(name), dict(properties or {})


def _by_reference(resources: list[Resource]) -> list[Resource]:
    """Return objects so that one that another of its kind refers to (a kernel, a parent) stands before it."""
    by_key = {(kind, name): (kind, name, properties) for kind, name, properties in resources}
    result: dict[tuple[str, str], Resource] = {}

    def visit(resource: Resource, path: tuple[str, ...]) -> None:
        kind, name, properties = resource
        for other in _names(KINDS[kind], properties, kind):
            if (kind, other) in by_key and other not in path:
                visit(by_key[kind, other], (*path, other))
        result.setdefault((kind, name), resource)

    for resource in resources:
        visit(resource, (resource[1],))
    return list(result.values())


def _names(kind: Kind, properties: Mapping[str, Any], refers: str) -> list[str]:
    """Return the names of objects of one kind that an object refers to."""
    values = [properties.get(name) for name, field in kind.fields.items() if field.refers == refers]
    flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
    return [str(item["name"] if isinstance(item, Mapping) else item) for item in flat if _is_name(item)]


def _is_name(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, Mapping) and "name" in value)


def validate(resources: Any, known: Known | None = None) -> list[Problem]:
    """Return every mistake in a site's ``resources``.

    ``known`` names, by kind, objects that the site makes elsewhere (provider networks, users of services). Whoever
    refers to an object that exists without the site file's doing writes its id: ``{id: …}``.
    """
    if not isinstance(resources, Mapping):
        return [Problem("resources", resources, "a mapping of kinds")]
    problems = []
    for plural, named in resources.items():
        path = f"resources:{plural}"
        if plural not in PLURALS:
            problems.append(Problem(path, plural, suggestion(plural, PLURALS)))
        elif not isinstance(named, Mapping | None):
            problems.append(Problem(path, named, "a mapping of names"))
        else:
            problems += _validate_kind(KINDS[PLURALS[plural]], named or {}, path, _there(resources, known or {}))
    return problems


def _there(resources: Mapping[str, Any], known: Known) -> dict[str, set[str]]:
    """Return the names of objects by kind that references may use."""
    there = {kind: set(BUILT_IN.get(kind, ())) | set(map(str, known.get(kind, ()))) for kind in KINDS}
    for plural, named in resources.items():
        if plural in PLURALS and isinstance(named, Mapping):
            kept = (name for name, each in named.items() if not (isinstance(each, Mapping) and each.get("absent")))
            there[PLURALS[plural]].update(map(str, kept))
    return there


def _validate_kind(kind: Kind, named: Mapping[Any, Any], path: str, there: Mapping[str, set[str]]) -> list[Problem]:
    problems = []
    for name, properties in named.items():
        if not isinstance(properties, Mapping | None):
            problems.append(Problem(f"{path}:{name}", properties, "a mapping of properties"))
            continue
        problems += check(kind, str(name), properties or {}, path)
        if not (properties or {}).get("absent"):
            problems += _dangling(kind, properties or {}, f"{path}:{name}", there)
    return problems


def check(kind: Kind, name: str, properties: Mapping[str, Any], path: str = "") -> list[Problem]:
    """Return the mistakes in the properties of one object, without looking at others."""
    path = f"{path or kind.name}:{name}"
    absent = properties.get("absent", False)
    problems = [] if isinstance(absent, bool) else [Problem(f"{path}:absent", absent, _TYPES[bool])]
    if absent and kind.singleton:
        problems.append(Problem(f"{path}:absent", absent, "left out: a quota goes with its project"))
    for each, value in properties.items():
        if each in kind.fields:
            problems += _check_value(kind.fields[each], value, f"{path}:{each}")
        elif each != "absent":
            problems.append(Problem(f"{path}:{each}", each, suggestion(each, kind.fields)))
    for group in kind.one_of:
        if sum(bool(properties.get(each)) for each in group) != 1:
            problems.append(Problem(path, sorted(set(group) & set(properties)), f"exactly one of: {', '.join(group)}"))
    missing = [each for each, field in kind.fields.items() if field.required and properties.get(each) is None]
    return problems + [Problem(f"{path}:{each}", None, "required") for each in ([] if absent else missing)]


def _check_value(field: Field, value: Any, path: str) -> list[Problem]:
    if value is None:
        return []
    if field.secret:
        ok = isinstance(value, Mapping) and set(value) == {"secret"} and isinstance(value["secret"], str)
        # What stands there may be the password itself.
        return [] if ok else [Problem(path, "(hidden)", "{secret: name of a secret}")]
    if field.refers:
        items = value if field.type is list and isinstance(value, list) else [value]
        return [Problem(path, item, "a name, {name: …} or {id: …}") for item in items if not _is_reference(item)]
    if not isinstance(value, field.type) or (field.type is int and isinstance(value, bool)):
        return [Problem(path, value, _TYPES[field.type])]
    if field.choices and value not in field.choices:
        return [Problem(path, value, f"one of: {', '.join(field.choices)}")]
    return _check_form(field, value, path)


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, Mapping) and bool({"name", "id"} & set(value)))


def _check_form(field: Field, value: Any, path: str) -> list[Problem]:
    """Return a problem when a value cannot be brought to its usual form: no address, no CIDR, no pool."""
    try:
        if field.normal is not None:
            field.normal(value)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return [Problem(path, value, f"another form ({type(error).__name__}: {error})")]
    return []


def _dangling(kind: Kind, properties: Mapping[str, Any], path: str, there: Mapping[str, set[str]]) -> list[Problem]:
    """Return references to objects that nobody makes."""
    problems = []
    for each, field in kind.fields.items():
        if not field.refers or not KINDS[field.refers].declared or KINDS[field.refers].name == "region":
            continue
        only = Kind(kind.name, "", "", "", fields={each: field})
        for name in _names(only, properties, field.refers):
            if name not in there[field.refers]:
                accepted = (
                    suggestion(name, there[field.refers]) if there[field.refers] else f"no {field.refers} is declared"
                )
                problems.append(Problem(f"{path}:{each}", name, accepted))
    return problems
