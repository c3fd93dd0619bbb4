"""The MariaDB server of this host, as root through its socket: no password is needed, none is sent."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from saltern.databases import QUERIES, Facts, Step, facts, grants_query
from saltern.errors import SalternError
from saltern.render import SECRET

_HASH = re.compile(r"\*?[0-9A-Fa-f]{16,}")
SOCKET = "/run/mysqld/mysqld.sock"


class Server:
    """One connection to the server."""

    def __init__(self, connection: Any) -> None:
        """Keep the connection."""
        self._connection = connection

    def query(self, statement: str, values: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of one statement; values are passed apart from it."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def facts(self) -> Facts:
        """Return what the server holds of databases, users and grants."""
        rows: dict[str, Iterable[tuple[Any, ...]]] = {name: self.query(text) for name, text in QUERIES.items()}
        rows["grants"] = self.query(grants_query(row[0] for row in self.query("SHOW COLUMNS FROM mysql.db")))
        return facts(rows)

    def apply(self, steps: Iterable[Step]) -> None:
        """Run the statements of the steps in order."""
        for step in steps:
            for statement, values in step.statements:
                self.query(statement, values or None)

    def has_table(self, database: str, table: str) -> bool:
        """Whether a table is there."""
        statement = "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
        return bool(self.query(statement, (database, table)))

    def kill_users_of(self, database: str) -> None:
        """End the connections that use a database."""
        statement = "SELECT id FROM information_schema.processlist WHERE db = %s"
        for (number,) in self.query(statement, (database,)):
            self.query(f"KILL {int(number)}")


@contextmanager
def server(socket: str = SOCKET) -> Iterator[Server]:
    """Yield the server of this host; whatever it refuses becomes a SalternError without values."""
    pymysql = importlib.import_module("pymysql")
    try:
        connection = pymysql.connect(unix_socket=socket, user="root", autocommit=True, connect_timeout=10)
        with closing(connection):
            yield Server(connection)
    except pymysql.MySQLError as error:
        # the last argument is the server's message, which may quote a piece of a statement: a hash of a password in it
        said = _HASH.sub(SECRET, " ".join(str(part) for part in error.args[-1:]))
        raise SalternError(f"MariaDB ({socket}): {said}") from None
