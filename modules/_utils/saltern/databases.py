"""Databases, their users and grants on MariaDB: facts read, statements decided. Nothing is run here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from saltern.errors import Problem, Problems

CHARACTER_SET = "utf8mb4"
COLLATION = "utf8mb4_unicode_ci"
#: In a database from its creation until its schema was complete for the first time.
MARKER = "saltern_first_sync"
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
_SYSTEM = ("mysql", "sys", "information_schema", "performance_schema")
_ANY_TLS = 1


@dataclass(frozen=True)
class User:
    """A database user as it is to be: the hash of its password, and its own databases."""

    name: str
    password_hash: str = field(repr=False)
    databases: frozenset[str]


@dataclass(frozen=True)
class Facts:
    """What the server holds."""

    databases: frozenset[str]
    tables: Mapping[str, int]
    users: Mapping[str, Mapping[str, Any]]
    grants: Mapping[str, Mapping[str, bool]]


@dataclass(frozen=True)
class Step:
    """One change for people, and the statements that make it; values are passed apart from the statement."""

    thing: str
    change: str
    statements: tuple[tuple[str, tuple[str, ...]], ...] = field(repr=False)


def native_hash(password: str) -> str:
    """Return the hash that MariaDB keeps of a password (mysql_native_password)."""
    once = hashlib.sha1(password.encode()).digest()  # noqa: S324 (the server's own format)
    return f"*{hashlib.sha1(once).hexdigest().upper()}"  # noqa: S324


def wanted(databases: Mapping[str, Mapping[str, str]], secrets: Mapping[str, str]) -> dict[str, User]:
    """Return the users that the plan's databases need; bad names and missing secrets are all told at once."""
    problems: list[Problem] = []
    owned: dict[str, set[str]] = {}
    hashes: dict[str, str] = {}
    for database, spec in databases.items():
        user, secret = str(spec.get("user", "")), str(spec.get("secret", ""))
        for key, name in (("name", database), ("user", user)):
            if not _NAME.fullmatch(name) or name in _SYSTEM:
                problems.append(Problem(f"databases:{database}:{key}", name, "letters, digits and _ (at most 64)"))
        if not secrets.get(secret):
            problems.append(Problem(f"databases:{database}:secret", secret, "the name of a secret this host was given"))
            continue
        owned.setdefault(user, set()).add(database)
        if hashes.setdefault(user, native_hash(secrets[secret])) != native_hash(secrets[secret]):
            problems.append(Problem(f"databases:{database}:secret", secret, f"one secret for all of user {user}"))
    if problems:
        raise Problems(problems)
    return {user: User(user, hashes[user], frozenset(names)) for user, names in owned.items()}


def named(databases: str | Iterable[str]) -> tuple[str, ...]:
    """Return one or several names of databases as a tuple; bad ones are refused."""
    names = (databases,) if isinstance(databases, str) else tuple(databases)
    bad = [name for name in names if not _NAME.fullmatch(str(name)) or name in _SYSTEM]
    if bad:
        raise Problems(Problem("database", name, "letters, digits and _ (at most 64)") for name in bad)
    return names


def plan(databases: Iterable[str], users: Mapping[str, User], facts: Facts) -> list[Step]:
    """Return what is to be done, in order; nothing when the server is as it is to be."""
    steps = [step for name in databases for step in _database_steps(name, facts)]
    return steps + [step for user in users.values() for step in _user_steps(user, facts)]


def create(name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the statements that make an empty database that knows that it was never in use."""
    options = f"CHARACTER SET {CHARACTER_SET} COLLATE {COLLATION}"
    return ((f"CREATE DATABASE IF NOT EXISTS `{name}` {options}", ()), *mark(name))


def mark(name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the statements that note in a database that its schema was never complete yet."""
    return ((f"CREATE TABLE IF NOT EXISTS `{name}`.`{MARKER}` (heads TEXT)", ()),)


def _database_steps(name: str, facts: Facts) -> list[Step]:
    """Return what one database needs."""
    if name not in facts.databases:
        return [Step(name, "created", create(name))]
    # its character set is left alone: nova's own migrations change that of their databases
    if not facts.tables.get(name):
        # killed between the creation and its note: an empty database was never in use either
        return [Step(name, "noted as new", mark(name))]
    return []


def _user_steps(user: User, facts: Facts) -> list[Step]:
    """Return what one user needs: its password, TLS, and all rights on its own databases alone."""
    thing = f"{user.name}@%"
    account = f"'{user.name}'@'%'"
    current = facts.users.get(user.name)
    steps = []
    problem = "created" if current is None else _account_change(user, current)
    if problem:
        # the server gets the hash: the password itself crosses no socket and no log ("%%" as values are passed)
        verb = "CREATE USER IF NOT EXISTS" if current is None else "ALTER USER"
        kind = "IDENTIFIED VIA mysql_native_password USING %s REQUIRE SSL ACCOUNT UNLOCK"
        statement = f"{verb} {account.replace('%', '%%')} {kind}"
        steps.append(Step(thing, problem, ((statement, (user.password_hash,)),)))
    if current and current.get("access"):
        statement = f"REVOKE ALL PRIVILEGES ON *.* FROM {account}"
        steps.append(Step(thing, "no global rights", ((statement, ()),)))
    held = facts.grants.get(user.name, {})
    own = {escaped(name) for name in user.databases}
    for database in sorted(own - {name for name, full in held.items() if full}):
        statement = f"GRANT ALL PRIVILEGES ON `{database}`.* TO {account}"
        steps.append(Step(thing, f"all rights on {database}", ((statement, ()),)))
    for database in sorted(set(held) - own):
        statement = f"REVOKE ALL PRIVILEGES ON `{database}`.* FROM {account}"
        steps.append(Step(thing, f"no rights on {database}", ((statement, ()),)))
    return steps


def _account_change(user: User, current: Mapping[str, Any]) -> str:
    """Return what is wrong with an account, for people; an empty text when nothing is."""
    wrong = []
    if (current.get("plugin"), current.get("authentication_string")) != ("mysql_native_password", user.password_hash):
        wrong.append("password set")
    if current.get("ssl_type") != _ANY_TLS:
        wrong.append("TLS required")
    if current.get("account_locked"):
        wrong.append("unlocked")
    return ", ".join(wrong)


def escaped(name: str) -> str:
    """Return a database's name as grants hold it: ``_`` alone would match any character."""
    return name.replace("_", r"\_")


def facts(rows: Mapping[str, Iterable[tuple[Any, ...]]]) -> Facts:
    """Return the facts from the rows of the queries in QUERIES."""
    grants: dict[str, dict[str, bool]] = {}
    for user, database, full in rows["grants"]:
        grants.setdefault(str(user), {})[str(database)] = bool(full)
    return Facts(
        databases=frozenset(str(row[0]) for row in rows["databases"]),
        tables={str(name): int(count) for name, count in rows["tables"]},
        users={str(name): json.loads(private) for name, private in rows["users"]},
        grants=grants,
    )


#: Rights of a database that GRANT ALL does not give.
_NOT_IN_ALL = "Grant_priv"
QUERIES = {
    "databases": "SELECT schema_name FROM information_schema.schemata",
    "tables": "SELECT table_schema, COUNT(*) FROM information_schema.tables GROUP BY table_schema",
    "users": "SELECT User, Priv FROM mysql.global_priv WHERE Host = '%'",
}


def grants_query(columns: Iterable[str]) -> str:
    """Return the query for grants; which rights there are depends on the server's release."""
    rights = [name for name in columns if name.endswith("_priv") and name != _NOT_IN_ALL]
    full = " AND ".join(f"`{name}` = 'Y'" for name in rights)
    return f"SELECT User, Db, {full} FROM mysql.db WHERE Host = '%'"
