"""Nova's cell mappings as templates."""

from urllib.parse import urlsplit

import pytest
from saltern.cell_mappings import CELL0, Cell, by_name, command, differences, hidden, template, wanted
from saltern.errors import SalternError

RABBIT = "rabbit://nova:p%40ss@ctl1.lab.example:5671/nova"
DATABASE = "mysql+pymysql://nova:p%2Fss@ctl1.lab.example:3306/nova?charset=utf8mb4&ssl_ca=/ca.crt"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (RABBIT, "{scheme}://{username}:{password}@{hostname}:{port}/{path}"),
        (DATABASE, "{scheme}://{username}:{password}@{hostname}:{port}/{path}?{query}"),
        ("mysql+pymysql://nova:x@db/nova", "{scheme}://{username}:{password}@{hostname}/{path}"),
        ("mysql+pymysql://nova@db/nova", "{scheme}://{username}@{hostname}/{path}"),
        ("rabbit://db:5672/", "{scheme}://{hostname}:{port}/{path}"),
        ("rabbit://u:p@[2001:db8::1]:5671/v", "{scheme}://{username}:{password}@[{hostname}]:{port}/{path}"),
        (
            "rabbit://u:p@a:5671,u:p@b:5671/v",
            "{scheme}://{username1}:{password1}@{hostname1}:{port1},{username2}:{password2}@{hostname2}:{port2}/{path}",
        ),
    ],
)
def test_template(url, expected):
    assert template(url) == expected


@pytest.mark.parametrize("url", [RABBIT, DATABASE, "mysql+pymysql://nova:x@db/nova"])
def test_nova_gets_the_url_back_from_the_template(url):
    parts = urlsplit(url)
    values = {name: getattr(parts, name) for name in ("username", "password", "hostname", "port", "scheme", "query")}
    assert template(url).format(**values, path=parts.path.lstrip("/")) == url


def test_a_url_that_is_none():
    with pytest.raises(SalternError, match="scheme://user:password@host"):
        template("nova:secret@host")


CELLS = wanted(RABBIT, DATABASE)
ROWS = {"cell0": CELLS[0], "cell1": Cell("u-1", "cell1", CELLS[1].transport_url, CELLS[1].database_connection)}


def test_wanted():
    assert CELLS[0].uuid == CELL0
    assert CELLS[0].transport_url == "none:///"
    assert CELLS[0].database_connection == "{scheme}://{username}:{password}@{hostname}:{port}/nova_cell0?{query}"
    assert "p%" not in str(CELLS)


def test_nothing_to_do():
    assert differences(CELLS, ROWS) == {}


def test_nothing_there():
    found = differences(CELLS, {})
    assert set(found) == {"cell0", "cell1"}
    assert found["cell0"]["transport_url"] == {"old": None, "new": "none:///"}
    assert command(CELLS[0], None)[:3] == ["nova-manage", "cell_v2", "map_cell0"]
    assert command(CELLS[1], None)[:5] == ["nova-manage", "cell_v2", "create_cell", "--name", "cell1"]


def test_a_row_with_a_password_is_mended_and_the_password_not_shown():
    row = Cell("u-1", "cell1", CELLS[1].transport_url, "mysql+pymysql://nova:s3cret@db:3306/nova?x=y", disabled=True)
    found = differences(CELLS, {**ROWS, "cell1": row})
    assert found == {
        "cell1": {
            "database_connection": {
                "old": "mysql+pymysql://nova:***@db:3306/nova?x=y",
                "new": CELLS[1].database_connection,
            },
            "disabled": {"old": True, "new": False},
        }
    }
    arguments = command(CELLS[1], row)
    assert arguments[2:5] == ["update_cell", "--cell_uuid", "u-1"]
    assert arguments[-1] == "--enable"
    assert "--enable" not in command(CELLS[0], ROWS["cell0"])


def test_hidden():
    assert hidden("rabbit://u:p1@a:5,v:p2@b:5/x") == "rabbit://u:***@a:5,v:***@b:5/x"
    assert hidden(CELLS[1].transport_url) == CELLS[1].transport_url
    assert hidden("none:///") == "none:///"


def test_rows_by_name():
    unnamed = Cell(CELL0, "", "none:///", "x")
    assert by_name([unnamed, ROWS["cell1"]]) == {"cell0": unnamed, "cell1": ROWS["cell1"]}
    with pytest.raises(SalternError, match=r"'cell1': mapped twice \(u-1, u-1\)"):
        by_name([ROWS["cell1"], ROWS["cell1"]])
