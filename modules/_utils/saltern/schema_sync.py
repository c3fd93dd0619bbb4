"""Bring the schema of a service's databases to that of its installed code: read, compare, run, verify."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from saltern import commands
from saltern.databases import MARKER, Step, create
from saltern.errors import SalternError
from saltern.mariadb import Server
from saltern.migrations import Schema, heads


@dataclass(frozen=True)
class Sync:
    """A schema sync: which databases it brings up to which code, by which command."""

    databases: tuple[str, ...]
    versions: str
    command: tuple[str, ...]
    user: str
    timeout: float = 900

    def heads(self) -> frozenset[str]:
        """Return the revisions that the installed code ends at."""
        paths = sorted(Path(self.versions).rglob("*.py"))
        found = heads(path.read_text(errors="replace") for path in paths)
        if not found:
            raise SalternError(f"{self.versions}: no alembic revisions here; is the package installed?")
        return found

    def stale(self, server: Server) -> dict[str, str]:
        """Return the databases that are not at the code's revisions, with what they hold."""
        target = self.heads()
        schemas = {name: read(server, name) for name in self.databases}
        return {name: _held(schema) for name, schema in schemas.items() if schema.revisions != target}

    def prepare(self, server: Server) -> list[str]:
        """Start afresh the databases whose first sync never ended; return their names.

        Only a database that still holds the note of its creation, and is at no complete schema, is ever dropped.
        """
        target = ",".join(sorted(self.heads()))
        renewed = []
        for name in self.databases:
            schema = read(server, name)
            if schema.unfinished():
                server.kill_users_of(name)
                server.query(f"DROP DATABASE `{name}`")
                server.apply([Step(name, "created", create(name))])
                renewed.append(name)
            elif schema.in_use():
                server.query(f"DROP TABLE `{name}`.`{MARKER}`")
                continue
            if schema.marker:
                server.query(f"DELETE FROM `{name}`.`{MARKER}`")
                server.query(f"INSERT INTO `{name}`.`{MARKER}` VALUES (%s)", (target,))
        return renewed

    def finish(self, server: Server) -> list[str]:
        """Remove the notes of creation: from now on the databases are in use; return where there was one."""
        marked = [name for name in self.databases if server.has_table(name, MARKER)]
        for name in marked:
            server.query(f"DROP TABLE `{name}`.`{MARKER}`")
        return marked

    def run(self) -> str:
        """Run the command as its user; return an empty text, or how it failed with the end of its output."""
        return commands.run(self.command, timeout=self.timeout, user=self.user)


def read(server: Server, database: str) -> Schema:
    """Return what a database holds; it must exist."""
    rows = server.query("SELECT table_name FROM information_schema.tables WHERE table_schema = %s", (database,))
    tables = {str(row[0]) for row in rows}
    revisions = marked = None
    if "alembic_version" in tables:
        statement = f"SELECT version_num FROM `{database}`.alembic_version"
        revisions = frozenset(str(row[0]) for row in server.query(statement))
    if MARKER in tables:
        noted = server.query(f"SELECT heads FROM `{database}`.`{MARKER}`")
        marked = frozenset(str(noted[0][0]).split(",")) if noted else None
    return Schema(revisions, MARKER in tables, marked, len(tables - {MARKER}))


def _held(schema: Schema) -> str:
    """Return what a database holds, for people."""
    if schema.revisions is None:
        return "no schema" if not schema.tables else f"{schema.tables} tables without a revision"
    return ", ".join(sorted(schema.revisions)) or "no revision"
