"""Heads of alembic revisions from the texts of their files."""

import pytest
from saltern.migrations import Schema, heads

FIRST = "revision = 'aa'\ndown_revision = None\n"
CASES = {
    "none": ([], set()),
    "one": ([FIRST], {"aa"}),
    "a line": ([FIRST, 'revision = "bb"\ndown_revision = "aa"\n'], {"bb"}),
    "annotations": ([FIRST, "revision: str = 'bb'\ndown_revision: Union[str, None] = 'aa'\n"], {"bb"}),
    "two branches": (
        [FIRST, "revision = 'ex'\ndown_revision = 'aa'\n", "revision='co'\ndown_revision='aa'\n"],
        {"ex", "co"},
    ),
    "a merge": (
        [
            FIRST,
            "revision = 'bb'\ndown_revision = None",
            "revision = 'cc'\ndown_revision = (\n    'aa',\n    \"bb\",\n)\n",
        ],
        {"cc"},
    ),
    "a list": ([FIRST, "revision = 'cc'\ndown_revision = ['aa']\n"], {"cc"}),
    "a dependency passes a head on": (
        [FIRST, "revision = 'ex'\ndown_revision = 'aa'", "revision = 'co'\ndown_revision = 'aa'\ndepends_on = 'ex'\n"],
        {"co"},
    ),
    "dependencies": ([FIRST, "revision = 'co'\ndown_revision = None\ndepends_on = ('aa',)\n"], {"co"}),
    "files that are no revisions": ([FIRST, "x = 1\n", "'''\ndown_revision = 'aa'\n'''\n"], {"aa"}),
    "indented names are not the module's": ([FIRST, "def f():\n    revision = 'zz'\n"], {"aa"}),
}


@pytest.mark.parametrize("name", CASES)
def test_heads(name):
    texts, expected = CASES[name]
    assert heads(texts) == expected


A, B = frozenset("a"), frozenset("b")


@pytest.mark.parametrize(
    ("schema", "unfinished"),
    [
        (Schema(None, marker=True, marked_heads=None, tables=0), False),
        (Schema(None, marker=True, marked_heads=A, tables=0), False),
        (Schema(None, marker=True, marked_heads=A, tables=7), True),
        (Schema(frozenset(), marker=True, marked_heads=A, tables=1), True),
        (Schema(B, marker=True, marked_heads=A, tables=7), True),
        (Schema(A, marker=True, marked_heads=A, tables=7), False),
        (Schema(B, marker=True, marked_heads=None, tables=7), False),
        (Schema(B, marker=False, marked_heads=None, tables=7), False),
        (Schema(None, marker=False, marked_heads=None, tables=7), False),
    ],
)
def test_only_a_first_sync_that_never_ended_is_unfinished(schema, unfinished):
    assert schema.unfinished() is unfinished


def test_a_schema_that_others_made_is_in_use():
    assert Schema(B, marker=True, marked_heads=None, tables=7).in_use()
    assert Schema(A, marker=True, marked_heads=A, tables=7).in_use()
    assert not Schema(B, marker=True, marked_heads=A, tables=7).in_use()
    assert not Schema(None, marker=True, marked_heads=None, tables=0).in_use()
