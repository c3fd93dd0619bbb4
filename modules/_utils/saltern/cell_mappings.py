"""The rows by which nova finds its cells, written as templates: a password stands in nova.conf alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from saltern.errors import SalternError

CELL0 = "00000000-0000-0000-0000-000000000000"
_PASSWORD = re.compile(r"(?<=:)(?!//)[^:@/{}]+(?=@)")


@dataclass(frozen=True)
class Cell:
    """A row of nova's ``cell_mappings``."""

    uuid: str
    name: str
    transport_url: str
    database_connection: str
    disabled: bool = False


def wanted(transport_url: str, connection: str, cell: str = "cell1") -> tuple[Cell, Cell]:
    """Return cell0 and the first real cell for the URLs in nova.conf; the uuid of the latter is not known before."""
    database = urlsplit(connection).path.lstrip("/")
    return (
        Cell(CELL0, "cell0", "none:///", template(connection, f"{database}_cell0")),
        Cell("", cell, template(transport_url), template(connection)),
    )


def template(url: str, path: str = "{path}") -> str:
    """Return nova's template for a URL: each part that the URL has, by its name.

    A part that the URL lacks must not be in the template: nova would write ``None`` in its place.
    """
    parts = urlsplit(url)
    if not parts.scheme or not parts.netloc:
        raise SalternError(f"{hidden(url)!r}: not a URL of the form scheme://user:password@host:port/path")
    hosts = parts.netloc.split(",")
    numbers = [""] if len(hosts) == 1 else [str(number) for number in range(1, len(hosts) + 1)]
    netloc = ",".join(_netloc(host, number) for host, number in zip(hosts, numbers, strict=True))
    return "{scheme}://" + netloc + f"/{path}" + ("?{query}" if parts.query else "")


def _netloc(text: str, number: str) -> str:
    parts = urlsplit(f"//{text}")
    user = "" if parts.username is None else f"{{username{number}}}"
    password = "" if parts.password is None else f":{{password{number}}}"
    host = f"[{{hostname{number}}}]" if ":" in str(parts.hostname) else f"{{hostname{number}}}"
    port = "" if parts.port is None else f":{{port{number}}}"
    return f"{user}{password}{'@' if user else ''}{host}{port}"


def hidden(url: str) -> str:
    """Return a URL that may be shown: without passwords."""
    return _PASSWORD.sub("***", url)


def differences(cells: tuple[Cell, ...], rows: Mapping[str, Cell]) -> dict[str, dict[str, dict[str, object]]]:
    """Return ``cell → field → {old, new}`` for what is missing or differs; passwords in old rows are not shown."""
    result = {}
    for cell in cells:
        row = rows.get(cell.name)
        found = {
            field: {"old": None if row is None else _shown(getattr(row, field)), "new": getattr(cell, field)}
            for field in ("transport_url", "database_connection", "disabled")
            if row is None or getattr(row, field) != getattr(cell, field)
        }
        if found:
            result[cell.name] = found
    return result


def _shown(value: object) -> object:
    return hidden(value) if isinstance(value, str) else value


def command(cell: Cell, row: Cell | None) -> list[str]:
    """Return the ``nova-manage`` command that maps a cell, or mends the row that is there."""
    urls = ["--database_connection", cell.database_connection]
    if row is not None:
        switch = ["--enable"] if row.disabled else []
        uuid = ["--cell_uuid", row.uuid, "--name", cell.name, "--transport-url", cell.transport_url]
        return ["nova-manage", "cell_v2", "update_cell", *uuid, *urls, *switch]
    if cell.uuid == CELL0:
        return ["nova-manage", "cell_v2", "map_cell0", *urls]
    return ["nova-manage", "cell_v2", "create_cell", "--name", cell.name, "--transport-url", cell.transport_url, *urls]


def by_name(rows: list[Cell]) -> dict[str, Cell]:
    """Return rows by name, cell0 by its uuid; two rows of one name are an error, for nova would use both."""
    result: dict[str, Cell] = {}
    for row in rows:
        name = "cell0" if row.uuid == CELL0 else row.name
        if name in result:
            raise SalternError(
                f"cell {name!r}: mapped twice ({result[name].uuid}, {row.uuid}); remove the unused one with "
                f"`nova-manage cell_v2 delete_cell --cell_uuid …`"
            )
        result[name] = row
    return result
