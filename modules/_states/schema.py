"""Database schemas of the services."""

from saltern import hostplan, mariadb, outcome
from saltern.databases import MARKER, named
from saltern.render import redact
from saltern.schema_sync import Sync


@outcome.reported
def current(name, database, versions, command, user, timeout=900, socket=mariadb.SOCKET):
    """Have databases at the schema of the installed code; when they are, nothing runs.

    The revisions of the code are read from its alembic directory and compared with ``alembic_version``. A first sync
    that was killed half-way is started afresh on an empty database; no service ever ran on it.

    name
        What this is for, for people.

    database
        Name of the database, or a list when the command keeps several of the same schema (nova's cells).

    versions
        Directory of the code's alembic revisions.

    command
        The sync command as a list; it must hold no secret.

    user
        System user that runs it.

    timeout
        Seconds after which the command is killed.

    socket
        Socket of the database server.
    """
    sync = Sync(named(database), versions, tuple(command), user, float(timeout))
    try:
        with mariadb.server(socket) as server:
            return _brought_up(name, sync, server)
    except mariadb.SalternError as error:
        if not __opts__["test"]:
            raise
        return outcome.planned(name, f"would sync the schema (cannot be compared yet: {error})")


def _brought_up(name, sync, server):
    """Compare, run, verify."""
    stale = sync.stale(server)
    marked = [each for each in sync.databases if server.has_table(each, MARKER)]
    target = ", ".join(sorted(sync.heads()))
    changes = {each: {"old": held, "new": target} for each, held in stale.items()}
    changes |= {each: {"old": "new", "new": "in use"} for each in marked if each not in stale}
    if not changes:
        return outcome.success(name, f"the schema is at {target}")
    if __opts__["test"]:
        return outcome.planned(name, f"the schema would be brought to {target}", changes)
    if stale:
        renewed = sync.prepare(server)
        trouble = sync.run()
        if trouble:
            comment = redact(f"{' '.join(sync.command)}: {trouble}", hostplan.secrets(__pillar__))
            return outcome.failure(name, comment, dict.fromkeys(renewed, "renewed"))
        left = sync.stale(server)
        if left:
            return outcome.failure(name, f"{' '.join(sync.command)} left {left}, not {target}", changes)
    sync.finish(server)
    return outcome.success(name, f"the schema was brought to {target}", changes)
