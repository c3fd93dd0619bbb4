"""What has to be done to an API object: read in, compare, and the list of requests that make it so.

Nothing here talks to an API: objects come in as the API listed them, requests go out as values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from saltern.errors import SalternError
from saltern.resource_kinds import KINDS, Field, Kind

Object = Mapping[str, Any]
Objects = Callable[[str, str | None], Sequence[Object]]
"""Gives all the objects of a kind (of one owner, where the kind is listed by owner)."""
PRETENDED = "(new "
"""How the ids begin of objects that a dry run only pretends to have made."""
JSON_PATCH = "application/openstack-images-v2.1-json-patch"


@dataclass(frozen=True)
class Request:
    """One call of an API; ``{id}`` in the path stands for the id of the object that the first call made."""

    method: str
    path: str
    body: Any = field(default=None, repr=False)
    content_type: str = "application/json"
    upload: str = ""
    secret: bool = False


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
    """Return the id of the object that a reference names: a name, ``{name, project or domain}`` or ``{id}``."""
    kind = KINDS[kind_name]
    if isinstance(wanted, Mapping) and "id" in wanted:
        return str(wanted["id"])
    name, scope = (wanted["name"], dict(wanted)) if isinstance(wanted, Mapping) else (wanted, {})
    scope.pop("name", None)
    values = {each: reference(kind.fields[each].refers, value, objects) for each, value in scope.items()}
    found = match(kind, str(name), values, objects(kind_name, None))
    if found is None:
        raise SalternError(f"{kind.name} {name!r}: there is none of this name")
    return str(found[kind.ident])


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
        hint = " or ".join(kind.identity) or "the name"
        raise SalternError(f"{kind.name} {name!r}: {len(found)} have this name ({ids}); tell them apart by {hint}")
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
        except SalternError as error:
            faults.append(f"{each}: {error}")
    if faults:
        raise SalternError(f"{kind.name} {name!r}: " + "; ".join(faults))
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
        except SalternError as error:
            missing.append(str(error))
    if missing and not field_.lenient:
        raise SalternError("; ".join(missing))
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


def refuse_fixed(wanted: Wanted, found: Mapping[str, tuple[Any, Any]]) -> None:
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


def creation(wanted: Wanted, password: str | None = None) -> list[Request]:
    """Return the requests that make the object."""
    kind = wanted.kind
    if kind.name == "role_assignment":
        return [Request("PUT", grant_path(wanted.values))]
    body = _body(wanted, [each for each in wanted.plain if not kind.fields[each].own])
    if kind.named:
        body[kind.named] = wanted.name
    if password is not None:
        body["password"] = password
    first = Request("POST", kind.path, _wrapped(kind, body), secret=password is not None)
    own = {each: (None, wanted.values[each]) for each in sorted(wanted.given) if kind.fields[each].own}
    return [first, *_own_requests(wanted, f"{kind.path}/{{id}}", own)]


def change(
    wanted: Wanted, raw: Object, found: Mapping[str, tuple[Any, Any]], password: str | None = None
) -> list[Request]:
    """Return the requests that bring an existing object to what is wanted."""
    kind = wanted.kind
    path = object_path(kind, raw, wanted)
    fields = [each for each in found if not kind.fields[each].own]
    requests = []
    if kind.name == "image" and fields:
        patch = [step for each in fields for step in _patch(wanted, each, found[each])]
        requests.append(Request(kind.update, path, patch, JSON_PATCH))
    elif fields or password is not None:
        body = _body(wanted, _whole(kind, wanted, fields))
        if password is not None:
            body["password"] = password
        requests.append(Request(kind.update, path, _wrapped(kind, body), secret=password is not None))
    return requests + _own_requests(wanted, path, {each: found[each] for each in found if kind.fields[each].own})


def removal(wanted: Wanted, raw: Object) -> list[Request]:
    """Return the requests that remove an object and what belongs to it alone."""
    kind = wanted.kind
    if kind.name == "role_assignment":
        return [Request("DELETE", grant_path(wanted.values))]
    path = object_path(kind, raw, wanted)
    first: list[Request] = []
    if kind.name == "router":
        first = _interfaces(path, raw["interfaces"], [])
    elif kind.name == "aggregate":
        first = _hosts(path, raw["hosts"], [])
    elif kind.name == "domain":
        first = [Request("PATCH", path, {"domain": {"enabled": False}})]
    query = f"?user_id={wanted.values['user']}" if kind.name == "keypair" and "user" in wanted.values else ""
    return [*first, Request("DELETE", path + query)]


def object_path(kind: Kind, raw: Object, wanted: Wanted) -> str:
    """Return the path of an existing object."""
    if kind.singleton:
        return kind.path.format(owner=wanted.values[kind.per])
    return f"{kind.path}/{quote(str(raw[kind.ident]), safe='')}"


def grant_path(values: Object) -> str:
    """Return the path at which a role is given to a user or group on a project, a domain or the system."""
    who = next(f"{each}s/{values[each]}" for each in ("user", "group") if values.get(each))
    scopes = (f"projects/{values.get('project')}", f"domains/{values.get('domain')}", "system")
    where = next(scope for scope, key in zip(scopes, ("project", "domain", "system"), strict=True) if values.get(key))
    return f"/{where}/{who}/roles/{values['role']}"


def _wrapped(kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
    return body if kind.one == "*" else {kind.one: body}


def _whole(kind: Kind, wanted: Wanted, fields: Sequence[str]) -> list[str]:
    """Return the fields with the other given parts of the same API value: it is only replaced whole."""
    roots = {_root(kind, each) for each in fields if "." in kind.fields[each].api}
    return [*fields, *(each for each in wanted.given if each not in fields and _root(kind, each) in roots)]


def _root(kind: Kind, name: str) -> str:
    return api_path(name, kind.fields[name]).split(".", maxsplit=1)[0]


def _body(wanted: Wanted, fields: Iterable[str]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for each in fields:
        field_ = wanted.kind.fields[each]
        value = wanted.plain[each]
        value = field_.body(value) if field_.body and value is not None else value
        if each == wanted.kind.per and wanted.kind.singleton:
            continue
        if field_.api == "*":
            body.update({key: item for key, item in value.items() if item is not None})
            continue
        root, _, leaf = api_path(each, field_).partition(".")
        if leaf:
            body.setdefault(root, {})[leaf] = value
        else:
            body[root] = value
    return {key: value for key, value in body.items() if not _void(value)} | {
        key: None for key, value in body.items() if _void(value)
    }


def _void(value: Any) -> bool:
    """Say whether a nested value was wholly taken away: a router without a gateway has no gateway info."""
    return isinstance(value, dict) and bool(value) and all(each is None for each in value.values())


def _patch(wanted: Wanted, name: str, found: tuple[Any, Any]) -> list[dict[str, Any]]:
    """Return the JSON patch of one property of an image (of each key of its free properties)."""
    old, new = found
    if wanted.kind.fields[name].api == "*":
        return [_operation(key, old[key], new[key]) for key in new]
    return [_operation(name, old, new)]


def _operation(key: str, old: Any, new: Any) -> dict[str, Any]:
    path = "/" + key.replace("~", "~0").replace("/", "~1")
    if new is None:
        return {"op": "remove", "path": path}
    return {"op": "add" if old is None else "replace", "path": path, "value": new}


def _own_requests(wanted: Wanted, path: str, found: Mapping[str, tuple[Any, Any]]) -> list[Request]:
    """Return the requests of the properties that take calls of their own."""
    makers = {"interfaces": _interfaces, "hosts": _hosts, "metadata": _metadata, "extra_specs": _extra_specs}
    requests: list[Request] = []
    for each, (old, new) in found.items():
        if each == "file":
            requests.append(
                Request("PUT", f"{path}/file", None, "application/octet-stream", local_path(wanted.plain["file"]))
            )
        else:
            requests += makers[each](path, old, new)
    return requests


def _interfaces(path: str, old: Any, new: Any) -> list[Request]:
    return [
        Request("PUT", f"{path}/{verb}_router_interface", {"subnet_id": subnet})
        for verb, subnet in _moves(old, new)
    ]  # fmt: skip


def _hosts(path: str, old: Any, new: Any) -> list[Request]:
    return [Request("POST", f"{path}/action", {f"{verb}_host": {"host": host}}) for verb, host in _moves(old, new)]


def _moves(old: Any, new: Any) -> list[tuple[str, str]]:
    """Return what is removed and what is added when one list becomes the other."""
    before, after = old or [], new or []
    return [("remove", each) for each in before if each not in after] + [
        ("add", each) for each in after if each not in before
    ]


def _metadata(path: str, old: Any, new: Any) -> list[Request]:
    return [Request("POST", f"{path}/action", {"set_metadata": {"metadata": dict(new)}})]


def _extra_specs(path: str, old: Any, new: Any) -> list[Request]:
    specs = {key: value for key, value in new.items() if value is not None}
    requests = [Request("POST", f"{path}/os-extra_specs", {"extra_specs": specs})] if specs else []
    gone = [key for key, value in new.items() if value is None and (old or {}).get(key) is not None]
    return requests + [Request("DELETE", f"{path}/os-extra_specs/{quote(key, safe='')}") for key in gone]


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


def shown(wanted: Wanted, found: Mapping[str, tuple[Any, Any]], objects: Objects) -> dict[str, dict[str, Any]]:
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


def made_id(kind: Kind, answer: Any) -> str:
    """Return the id of the object in the answer to its creation."""
    raw = answer if kind.one == "*" else answer.get(kind.one, {})
    return quote(str(raw.get(kind.ident, "")), safe="")


def listed(kind: Kind, answer: Object) -> list[dict[str, Any]]:
    """Return the objects in the answer to a list request."""
    if kind.singleton:
        return [answer[kind.one]]
    return [each[kind.one] if set(each) == {kind.one} else each for each in answer[kind.many]]


def next_page(kind: Kind, answer: Object) -> str:
    """Return the link to the next page of a list, or an empty string."""
    links = answer.get(f"{kind.many}_links") or []
    following = [each["href"] for each in links if each.get("rel") == "next"]
    return str(answer.get("next") or next(iter(following), ""))


def with_interfaces(routers: Iterable[Object], ports: Iterable[Object]) -> list[dict[str, Any]]:
    """Return routers with the subnets on which they have an interface."""
    subnets: dict[str, set[str]] = {}
    for port in ports:
        subnets.setdefault(port["device_id"], set()).update(each["subnet_id"] for each in port["fixed_ips"])
    return [{**router, "interfaces": sorted(subnets.get(router["id"], ()))} for router in routers]


def touched(kind: str) -> set[str]:
    """Return the kinds whose lists a change of a kind makes old: its own and those that refer to it."""
    refer = {each.name for each in KINDS.values() if any(field_.refers == kind for field_ in each.fields.values())}
    return {kind, *refer, *({"router_port"} if kind == "router" else ())}


def refusal(method: str, path: str, status: int, text: str) -> str:
    """Return an API's refusal on one line: its own message, wherever its JSON keeps it."""
    return f"{method} {path.partition('?')[0]}: {status}: {_message(text)}"


def _message(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return " ".join(text.split())[:300]
    while isinstance(value, dict) and value:
        value = value.get("message") or next(iter(value.values()))
    return str(value)


def local_path(source: str) -> str:
    """Return the path of a file given as a path or a ``file://`` URL."""
    return source.removeprefix("file://")
