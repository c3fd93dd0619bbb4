"""Databases, users, grants: statements from facts."""

import json

import pytest
from saltern.databases import MARKER, Facts, User, create, facts, grants_query, named, native_hash, plan, wanted
from saltern.errors import Problems

# SELECT PASSWORD('password') on a server
HASH = "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"
NOVA = User("nova", HASH, frozenset({"nova", "nova_api"}))
ACCOUNT = {"plugin": "mysql_native_password", "authentication_string": HASH, "ssl_type": 1, "access": 0}
GOOD = Facts(
    databases=frozenset({"nova", "nova_api"}),
    tables={"nova": 100, "nova_api": 30},
    users={"nova": ACCOUNT},
    grants={"nova": {"nova": True, r"nova\_api": True}},
)


def steps(**more):
    found = plan(["nova", "nova_api"], {"nova": NOVA}, Facts(**{**GOOD.__dict__, **more}))
    return [(step.thing, step.change, step.statements) for step in found]


def test_the_hash_is_the_server_s():
    assert native_hash("password") == HASH


def test_a_server_that_is_as_it_is_to_be_needs_nothing():
    assert steps() == []


def test_an_empty_server():
    found = steps(databases=frozenset(), tables={}, users={}, grants={})
    assert [(thing, change) for thing, change, _ in found] == [
        ("nova", "created"),
        ("nova_api", "created"),
        ("nova@%", "created"),
        ("nova@%", "all rights on nova"),
        ("nova@%", r"all rights on nova\_api"),
    ]
    assert found[0][2] == create("nova")
    assert f"`nova`.`{MARKER}`" in found[0][2][1][0]
    statement, values = found[2][2][0]
    assert statement.startswith("CREATE USER IF NOT EXISTS 'nova'@'%%'")
    assert "REQUIRE SSL" in statement
    assert values == (HASH,)
    assert found[4][2] == ((r"GRANT ALL PRIVILEGES ON `nova\_api`.* TO 'nova'@'%'", ()),)


def test_a_creation_that_was_killed_is_completed():
    assert [step[:2] for step in steps(tables={"nova": 100})] == [("nova_api", "noted as new")]


@pytest.mark.parametrize(
    ("fact", "change"),
    [
        ({"authentication_string": "*00"}, "password set"),
        ({"plugin": "unix_socket"}, "password set"),
        ({"ssl_type": 0}, "TLS required"),
        ({"account_locked": True}, "unlocked"),
        ({"ssl_type": 0, "authentication_string": ""}, "password set, TLS required"),
    ],
)
def test_an_account_that_differs_is_altered_not_made_anew(fact, change):
    [(thing, found, statements)] = steps(users={"nova": {**ACCOUNT, **fact}})
    assert (thing, found) == ("nova@%", change)
    assert statements[0][0].startswith("ALTER USER 'nova'@'%%'")


def test_rights_are_exact():
    found = steps(
        users={"nova": {**ACCOUNT, "access": 1}}, grants={"nova": {"nova": False, "nova_api": True, "x": True}}
    )
    assert [change for _, change, _ in found] == [
        "no global rights",
        "all rights on nova",
        r"all rights on nova\_api",
        "no rights on nova_api",
        "no rights on x",
    ]


def test_wanted_users():
    databases = {name: {"user": "nova", "secret": "mariadb_nova"} for name in ("nova", "nova_api")}
    assert wanted(databases, {"mariadb_nova": "password"}) == {"nova": NOVA}
    assert "password" not in repr(wanted(databases, {"mariadb_nova": "password"}))
    assert HASH not in repr(NOVA)


def test_all_mistakes_are_told_at_once():
    databases = {
        "a-b": {"user": "x", "secret": "one"},
        "mysql": {"user": "y'", "secret": "one"},
        "c": {"user": "x", "secret": "two"},
        "d": {"user": "z"},
    }
    with pytest.raises(Problems) as caught:
        wanted(databases, {"one": "hunter2", "two": "hunter3"})
    paths = [problem.path for problem in caught.value.problems]
    assert paths == [
        "databases:a-b:name",
        "databases:mysql:name",
        "databases:mysql:user",
        "databases:c:secret",
        "databases:d:secret",
    ]
    assert "hunter" not in str(caught.value)


def test_names():
    assert named("nova") == ("nova",)
    assert named(["nova", "nova_cell0"]) == ("nova", "nova_cell0")
    with pytest.raises(Problems, match="mysql"):
        named(["nova", "mysql", "a`b"])


def test_facts_from_rows():
    rows = {
        "databases": [("nova",), ("nova_api",)],
        "tables": [("nova", 100), ("nova_api", 30)],
        "users": [
            ("nova", json.dumps(ACCOUNT)),
        ],
        "grants": [("nova", "nova", 1), ("nova", r"nova\_api", 1)],
    }
    assert facts(rows) == GOOD


def test_the_query_for_grants_asks_for_all_rights_but_to_grant():
    query = grants_query(["Host", "Db", "User", "Select_priv", "Grant_priv", "Drop_priv"])
    assert query == "SELECT User, Db, `Select_priv` = 'Y' AND `Drop_priv` = 'Y' FROM mysql.db WHERE Host = '%'"
