"""The requests that make, change and remove an API object, as values: nothing here talks to an API."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from saltern.resource_kinds import Kind
from saltern.resource_plan import Differences, Object, Wanted, api_path

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


def change(wanted: Wanted, raw: Object, found: Differences, password: str | None = None) -> list[Request]:
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


def _own_requests(wanted: Wanted, path: str, found: Differences) -> list[Request]:
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


def local_path(source: str) -> str:
    """Return the path of a file given as a path or a ``file://`` URL."""
    return source.removeprefix("file://")
