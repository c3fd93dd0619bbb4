"""Schema syncs and the server's connection, on a server that is simulated; the real one is used on the lab's nodes."""

import os
import pwd
import re
import sys
import types

import pytest
from saltern import mariadb
from saltern.databases import MARKER, Step
from saltern.errors import SalternError
from saltern.mariadb import Server
from saltern.schema_sync import Sync, read

USER = pwd.getpwuid(os.getuid()).pw_name


class Connection:
    """Understands the few statements that are used; databases are ``{name: {table: [values]}}``."""

    def __init__(self, **databases):
        self.databases = databases
        self.killed = []

    def cursor(self):
        return self

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def execute(self, statement, values=None):
        self.rows = self._answer(statement, values or ())

    def fetchall(self):
        return self.rows

    def _answer(self, statement, values):
        verb = " ".join(statement.split()[:2])
        names = re.findall(r"`(\w+)`", statement)
        if "information_schema.processlist" in statement:
            return [(7,), (8,)]
        if "information_schema.tables" in statement:
            tables = self.databases.get(values[0], {})
            return [(table,) for table in tables if len(values) == 1 or table == values[1]]
        if verb.startswith("KILL"):
            self.killed.append(statement)
        elif verb.startswith("SELECT"):
            table = names[1] if len(names) > 1 else "alembic_version"
            return [(value,) for value in self.databases[names[0]][table]]
        elif verb == "DROP DATABASE":
            del self.databases[names[0]]
        elif verb == "CREATE DATABASE":
            self.databases.setdefault(names[0], {})
        elif verb == "CREATE TABLE":
            self.databases[names[0]].setdefault(names[1], [])
        elif verb == "DROP TABLE":
            del self.databases[names[0]][names[1]]
        elif verb == "DELETE FROM":
            self.databases[names[0]][names[1]] = []
        else:
            assert verb == "INSERT INTO"
            self.databases[names[0]][names[1]].append(values[0])
        return []


@pytest.fixture
def versions(tmp_path):
    (tmp_path / "expand").mkdir()
    (tmp_path / "aa.py").write_text("revision = 'aa'\ndown_revision = None\n")
    (tmp_path / "expand" / "bb.py").write_text("revision = 'bb'\ndown_revision = 'aa'\n")
    (tmp_path / "expand" / "cc.py").write_text("revision = 'cc'\ndown_revision = 'aa'\n")
    return str(tmp_path)


def sync(versions, *databases, **more):
    return Sync(databases or ("nova",), versions, ("true",), USER, **more)


CURRENT = {"alembic_version": ["cc", "bb"], "x": []}


def test_a_current_schema_needs_nothing(versions):
    assert sync(versions).stale(Server(Connection(nova=CURRENT))) == {}


@pytest.mark.parametrize(
    ("tables", "held"),
    [
        ({}, "no schema"),
        ({MARKER: []}, "no schema"),
        ({"x": [], "y": []}, "2 tables without a revision"),
        ({"alembic_version": []}, "no revision"),
        ({"alembic_version": ["bb", "aa"]}, "aa, bb"),
    ],
)
def test_what_a_stale_one_holds(versions, tables, held):
    assert sync(versions).stale(Server(Connection(nova=tables))) == {"nova": held}


def test_a_first_sync_notes_its_aim_and_ends_with_the_note_gone(versions):
    connection = Connection(nova={MARKER: []}, nova_cell0={MARKER: [], "x": []})
    server, both = Server(connection), sync(versions, "nova", "nova_cell0")
    assert both.prepare(server) == []
    # tables that were there before our first sync are somebody's: the note goes, and nothing is ever dropped
    assert connection.databases == {"nova": {MARKER: ["bb,cc"]}, "nova_cell0": {"x": []}}
    assert both.finish(server) == ["nova"]
    assert connection.databases["nova"] == {}
    assert both.finish(server) == []


def test_a_first_sync_that_was_killed_starts_afresh(versions):
    connection = Connection(nova={MARKER: ["bb,cc"], "x": [], "alembic_version": ["aa"]}, keystone=CURRENT)
    assert sync(versions).prepare(Server(connection)) == ["nova"]
    assert connection.databases == {"nova": {MARKER: ["bb,cc"]}, "keystone": CURRENT}
    assert connection.killed == ["KILL 7", "KILL 8"]


def test_a_first_sync_that_ended_is_never_dropped_whatever_the_code_says_now(versions):
    connection = Connection(nova={MARKER: ["aa"], "x": [], "alembic_version": ["aa"]})
    assert sync(versions).prepare(Server(connection)) == []
    assert connection.databases == {"nova": {"x": [], "alembic_version": ["aa"]}}


def test_a_database_in_use_is_left_alone(versions):
    connection = Connection(nova={"x": [], "alembic_version": ["aa"]})
    assert sync(versions).prepare(Server(connection)) == []
    assert connection.databases == {"nova": {"x": [], "alembic_version": ["aa"]}}
    assert read(Server(connection), "nova").marker is False


def test_no_revisions_at_all_is_an_error(tmp_path):
    with pytest.raises(SalternError, match="is the package installed"):
        sync(str(tmp_path)).heads()


def test_a_user_that_does_not_exist_is_named(versions):
    with pytest.raises(SalternError, match="nobody-at-all"):
        Sync(("nova",), versions, ("true",), "nobody-at-all").run()


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes another user")
def test_the_command_runs_as_its_user(versions):
    assert Sync(("nova",), versions, ("sh", "-c", "test $(id -un) = daemon"), "daemon").run() == ""
    failed = Sync(("nova",), versions, ("sh", "-c", "echo why; exit 3"), "daemon").run()
    assert failed == "exit status 3\nwhy"


def test_a_server_s_steps_and_tables():
    connection = Connection(nova={"x": []})
    server = Server(connection)
    server.apply([Step("a", "created", (("CREATE DATABASE `a`", ()), ("CREATE TABLE `a`.`t` (x)", ())))])
    assert server.has_table("a", "t")
    assert not server.has_table("a", "u")


@pytest.fixture
def pymysql(monkeypatch):
    class MySQLError(Exception):
        pass

    def connect(**arguments):
        if arguments["unix_socket"] == "/odd":
            raise MySQLError(1064, "error near '*0123456789ABCDEF0123456789ABCDEF01234567 REQUIRE' at line 1")
        if arguments["unix_socket"] == "/gone":
            raise MySQLError(2002, "Can't connect\nto it")
        assert "password" not in arguments
        return Connection(nova={})

    module = types.SimpleNamespace(MySQLError=MySQLError, connect=connect)
    monkeypatch.setitem(sys.modules, "pymysql", module)
    return module


@pytest.mark.usefixtures("pymysql")
def test_the_server_is_reached_through_its_socket():
    with mariadb.server() as server:
        assert not server.has_table("nova", "x")
    with pytest.raises(SalternError, match="Can't connect"), mariadb.server("/gone"):
        pass
    with pytest.raises(SalternError, match="near '<secret> REQUIRE' at line 1"), mariadb.server("/odd"):
        pass


def test_facts_are_read_with_one_query_each(monkeypatch):
    asked = []

    def query(self, statement, values=None):
        asked.append(statement)
        return [("Select_priv",), ("Grant_priv",)] if statement.startswith("SHOW") else []

    monkeypatch.setattr(Server, "query", query)
    assert Server(None).facts().users == {}
    assert len(asked) == 5
    assert "`Select_priv` = 'Y' FROM mysql.db" in asked[-1]
