"""Nova's cells: cell0, where instances end that no host took, and the first real cell.

The rows of ``nova_api.cell_mappings`` are templates that nova fills from its own nova.conf, so neither a row nor a
command line holds a password, and a new password needs no new row.
"""

import configparser
from concurrent.futures import ThreadPoolExecutor

from saltern import commands, outcome
from saltern.cell_mappings import Cell, by_name, command, differences, hidden, wanted
from saltern.errors import SalternError
from saltern.mariadb import SOCKET

try:
    import pymysql

    HAS_PYMYSQL = True
except ImportError:
    HAS_PYMYSQL = False

ROWS = "SELECT uuid, COALESCE(name, ''), transport_url, database_connection, COALESCE(disabled, 0) FROM cell_mappings"


def __virtual__():
    return HAS_PYMYSQL or (False, "PyMySQL is not installed in Salt's environment")


@outcome.reported
def mapped(name, config="/etc/nova/nova.conf", cell="cell1", user="nova", database="nova_api"):
    """Keep cell0 and one cell mapped to the database and the message bus of nova.conf.

    It runs after ``nova-manage api_db sync`` and before ``nova-manage db sync``, which gives cell0 its schema, and
    with the final URLs in nova.conf. Afterwards both rows are there, enabled, and hold no password.

    name
        The state's id.

    config
        The file with the URLs.

    cell
        Name of the real cell.

    user
        Unprivileged user that runs ``nova-manage``.

    database
        Nova's API database.
    """
    rows = _rows(database)
    try:
        cells = _wanted(config, cell)
    except SalternError as error:
        if not __opts__["test"]:
            raise
        missing = {each: {"old": None, "new": "mapped"} for each in ("cell0", cell) if each not in rows}
        return outcome.planned(name, f"would be mapped (cannot be compared yet: {error})", missing)
    changes = differences(cells, rows)
    if not changes:
        return outcome.success(name, f"cell0 and {cell} are mapped")
    if __opts__["test"]:
        return outcome.planned(name, f"would be mapped: {', '.join(changes)}", changes)
    missing = [command(each, rows.get(each.name)) for each in cells if each.name in changes]
    with ThreadPoolExecutor() as pool:  # each spends its two seconds on starting
        list(pool.map(lambda arguments: _manage(arguments, user), missing))
    left = differences(cells, _rows(database))
    if left:
        return outcome.failure(name, f"nova-manage ran, but still differ: {', '.join(left)}", changes)
    return outcome.success(name, f"mapped: {', '.join(changes)}", changes)


def _rows(database):
    """Return the mappings by name; a dry run takes a database that is not there yet as an empty one."""
    try:
        connection = pymysql.connect(unix_socket=SOCKET, user="root", database=database)
        with connection, connection.cursor() as cursor:
            cursor.execute(ROWS)
            return by_name([Cell(*row[:4], bool(row[4])) for row in cursor.fetchall()])
    except pymysql.MySQLError as error:
        if __opts__["test"]:
            return {}
        raise SalternError(f"database {database}: {error.args[-1]}") from error


def _wanted(config, cell):
    """Return the cells that nova.conf asks for."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, default_section="")
    try:
        with open(config, encoding="utf-8") as stream:
            parser.read_file(stream)
        urls = parser["DEFAULT"]["transport_url"], parser["database"]["connection"]
    except KeyError as error:
        needed = "DEFAULT.transport_url and database.connection are needed"
        raise SalternError(f"{config}: {error} is missing; {needed}") from None
    except (OSError, configparser.Error) as error:
        # A parser's message quotes the line, and with it perhaps a password.
        raise SalternError(f"{config}: cannot be read: {type(error).__name__}") from None
    return wanted(*urls, cell)


def _manage(arguments, user):
    """Run ``nova-manage`` as the service's user, who can read nova.conf and owns the log."""
    run = ["/usr/bin/" + arguments[0], *arguments[1:]]
    trouble = commands.run(run, user=user, timeout=300, umask=commands.PRIVATE)
    if trouble:
        raise SalternError(f"{' '.join(arguments[:3])}: {hidden(trouble)}")
