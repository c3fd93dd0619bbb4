"""What the APIs answer: lists, pages, refusals; and which lists a change makes old."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from saltern.resource_kinds import KINDS, Kind
from saltern.resource_plan import Object

BESIDE: Mapping[str, tuple[str, ...]] = {
    "router": ("router_port",),
    "role_assignment": ("system_user_role", "system_group_role"),
}
"""Lists that belong to a kind beside its own."""


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
    return {kind, *refer, *BESIDE.get(kind, ())}


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
    return " ".join(str(value).split())[:500]
