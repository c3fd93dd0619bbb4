"""What is wanted of an API object, which of the existing ones is meant, and where the two differ.

Nothing here talks to an API: objects come in as the API listed them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saltern.errors import SalternError
from saltern.resource_kinds import KINDS, Field, Kind

Object = Mapping[str, Any]
Objects = Callable[[str, str | None], Sequence[Object]]
"""Gives all the objects of a kind (of one owner, where the kind is listed by owner)."""
Differences = Mapping[str, tuple[Any, Any]]
"""Property → what it is and what is wanted."""
PRETENDED = "(new "
"""How the ids begin of objects that a dry run only pretends to have made."""


class Unreachable(SalternError):
    """The cloud does not answer, or is not configured on this host yet."""


class Unresolved(SalternError):
    """A name that no object has, or more than one."""


@dataclass(frozen=True)
class Wanted:
    """What an operator wants of one object, with names resolved to ids."""

    kind: Kind
    name: str
    plain: Mapping[str, Any]
    """Property → value as written, references as ids."""
    values: Mapping[str, Any]
    """Property → value in the form that is compared."""
    given: frozenset[str]
    warnings: tuple[str, ...] = ()


def pick(raw: Object, path: str) -> Any:
    """Return the value at a dotted path of an object, or None where it ends early."""
    value: Any = raw
    for part in () if path == "*" else path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def api_path(name: str, field_: Field) -> str:
    """Return the path of a property in the API's object."""
    return field_.api or name


def view(kind: Kind, name: str, raw: Object) -> Any:
    """Return one property of an API object in the form that is compared."""
    field_ = kind.fields[name]
    return normal(field_, pick(raw, api_path(name, field_)))


def normal(field_: Field, value: Any) -> Any:
    """Return a value in the one form in which it is compared."""
    return value if value is None or field_.normal is None else field_.normal(value)


def reference(kind_name: str, wanted: Any, objects: Objects) -> str:
    """Return the id of the object that a reference names: a name, ``{name, project or domain}`` or ``{id}``.

    A bare name means the object in the domain or project that is the default, then one that has the name elsewhere:
    what members of other projects and domains call their objects makes no name ambiguous.
    """
    kind = KINDS[kind_name]
    if isinstance(wanted, Mapping) and "id" in wanted:
        return str(wanted["id"])
    name, scope = (wanted["name"], dict(wanted)) if isinstance(wanted, Mapping) else (wanted, {})
    scope.pop("name", None)
    values = {each: reference(kind.fields[each].refers, value, objects) for each, value in scope.items()}
    listed = objects(kind_name, None)
    found = match(kind, str(name), _defaults(kind, objects) | values, listed) or match(kind, str(name), values, listed)
    if found is None:
        raise Unresolved(f"{kind.name} {name!r}: there is none of this name")
    return str(found[kind.ident])


def _defaults(kind: Kind, objects: Objects) -> dict[str, str]:
    """Return the ids of the domain or project in which objects of a kind are, unless something else is said."""
    home = {each: kind.fields[each] for each in kind.identity if kind.fields[each].refers and kind.named}
    return {each: reference(field_.refers, field_.default, objects) for each, field_ in home.items() if field_.default}


def match(kind: Kind, name: str, values: Mapping[str, Any], objects: Iterable[Object]) -> Object | None:
    """Return the object that is meant, or None; more than one is an error that says how to tell them apart."""
    if kind.singleton:
        return next(iter(objects), None)
    by = [each for each in kind.identity if each in values or not kind.named]
    found = [
        raw
        for raw in objects
        if (not kind.named or str(raw.get(kind.named)) == name)
        and all(view(kind, each, raw) == values.get(each) for each in by)
    ]
    if len(found) > 1:
        ids = ", ".join(sorted(str(raw.get(kind.ident, "?")) for raw in found))
        hint = " or ".join(f"{{name: {name}, {each}: …}}" for each in kind.identity) or "{id: …}"
        raise Unresolved(f"{kind.name} {name!r}: {len(found)} have this name ({ids}); tell them apart: {hint}")
    return found[0] if found else None


def resolve(kind: Kind, name: str, properties: Mapping[str, Any], objects: Objects) -> Wanted:
    """Return what is wanted with every name resolved; all the names that do not resolve are told at once."""
    plain: dict[str, Any] = {}
    warnings: list[str] = []
    faults: list[str] = []
    for each, field_ in kind.fields.items():
        value = _given(each, field_, properties)
        if field_.secret or (value is None and each not in properties):
            continue
        try:
            plain[each] = _resolved(field_, value, objects, warnings)
        except Unresolved as error:
            faults.append(f"{each}: {error}")
    if faults:
        raise Unresolved(f"{kind.name} {name!r}: " + "; ".join(faults))
    values = {each: normal(kind.fields[each], value) for each, value in plain.items()}
    return Wanted(kind, name, plain, values, frozenset(properties) & frozenset(plain), tuple(warnings))


def _given(name: str, field_: Field, properties: Mapping[str, Any]) -> Any:
    if name in properties:
        return properties[name]
    return field_.default(properties) if callable(field_.default) else field_.default


def _resolved(field_: Field, value: Any, objects: Objects, warnings: list[str]) -> Any:
    if not field_.refers or value is None:
        return value
    if field_.type is not list:
        return reference(field_.refers, value, objects)
    ids, missing = [], []
    for each in value:
        try:
            ids.append(reference(field_.refers, each, objects))
        except Unresolved as error:
            missing.append(str(error))
    if missing and not field_.lenient:
        raise Unresolved("; ".join(missing))
    warnings += [f"{each}: left out until it exists" for each in missing]
    return ids


def differences(wanted: Wanted, raw: Object) -> dict[str, tuple[Any, Any]]:
    """Return ``property → (old, new)`` for the given properties that differ."""
    result = {}
    for each in sorted(wanted.given - {wanted.kind.per}):
        old, new = view(wanted.kind, each, raw), wanted.values[each]
        if wanted.kind.fields[each].type is dict:
            old, new = _parts(old or {}, new or {})
        if old != new:
            result[each] = (old, new)
    return result


def _parts(old: Object, new: Object) -> tuple[Object, Object]:
    """Return the keys of a mapping that differ, of those that are given; a null value means: not there."""
    keys = [key for key, value in new.items() if old.get(key) != value]
    return {key: old.get(key) for key in keys}, {key: new[key] for key in keys}


def refuse_fixed(wanted: Wanted, found: Differences) -> None:
    """Raise an error that names every differing property that the API never changes, and the way out."""
    kind = wanted.kind
    stuck = [
        f"{each} is {old!r}, wanted {new!r}"
        for each, (old, new) in found.items()
        if kind.fields[each].fixed
        or (kind.fields[each].once and old is not None)
        or not (kind.update or kind.singleton)
    ]
    if stuck:
        raise SalternError(
            f"{kind.name} {wanted.name!r}: {'; '.join(stuck)}: the {kind.service} service never changes this on an "
            f"existing {kind.name}. Give back the old value, use another name, or remove it first (openstack_resource."
            f"absent, and what uses it) so that it is made anew"
        )


def candidates(wanted: Wanted, objects: Objects) -> Sequence[Object]:
    """Return the objects among which the wanted one is, if it is there."""
    kind, values = wanted.kind, wanted.values
    if kind.name == "role_assignment" and values.get("system"):
        who = "user" if values.get("user") else "group"
        roles = objects(f"system_{who}_role", values[who])
        scope = {"system": {"all": True}}
        return [{"role": role, who: {"id": values[who]}, "scope": scope} for role in roles]
    return objects(kind.name, values.get(kind.per))


def pretended(wanted: Wanted) -> dict[str, Any]:
    """Return the object as the API would list it: later objects of a dry run can refer to it."""
    kind = wanted.kind
    raw: dict[str, Any] = {kind.ident: f"{PRETENDED}{kind.name} {wanted.name})"} if kind.ident else {}
    for each, value in wanted.plain.items():
        parts = api_path(each, kind.fields[each]).split(".")
        place = raw
        for part in parts[:-1]:
            place = place.setdefault(part, {})
        place[parts[-1]] = value
    return raw | ({kind.named: wanted.name} if kind.named else {})


def shown(wanted: Wanted, found: Differences, objects: Objects) -> dict[str, dict[str, Any]]:
    """Return changes as ``property → {old, new}``, with names in place of ids."""
    result = {}
    for each, (old, new) in found.items():
        refers = wanted.kind.fields[each].refers
        result[each] = {"old": _named(refers, old, objects), "new": _named(refers, new, objects)}
    return result


def _named(refers: str, value: Any, objects: Objects) -> Any:
    if not refers or value is None:
        return value
    if isinstance(value, list):
        return [_named(refers, each, objects) for each in value]
    kind = KINDS[refers]
    return next((raw[kind.named] for raw in objects(refers, None) if str(raw.get(kind.ident)) == str(value)), value)
