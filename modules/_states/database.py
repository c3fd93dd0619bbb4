"""MariaDB: databases of the services, their users and rights."""

from saltern import databases as model
from saltern import hostplan, mariadb, outcome


@outcome.reported
def present(name, databases, socket=mariadb.SOCKET):
    """Have databases, and for each user all rights on exactly its own ones, over TLS only.

    Passwords are compared and set by their hash. A new database notes in itself that its schema was never complete:
    ``schema.current`` removes that note.

    name
        What this is for, for people.

    databases
        ``{database: {user: name, secret: name of the password in the pillar}}``.

    socket
        Socket of the server.
    """
    users = model.wanted(databases, hostplan.secrets(__pillar__))
    try:
        with mariadb.server(socket) as server:
            steps = model.plan(databases, users, server.facts())
            if steps and not __opts__["test"]:
                server.apply(steps)
                left = model.plan(databases, users, server.facts())
                if left:
                    return outcome.failure(name, f"the server does not keep: {_changes(left)}", _changes(steps))
    except mariadb.SalternError:
        if not __opts__["test"]:
            raise
        return outcome.planned(name, "the server does not run yet", dict.fromkeys(databases, "created"))
    if not steps:
        return outcome.success(name, f"{len(databases)} databases are as planned")
    return (outcome.planned if __opts__["test"] else outcome.success)(name, "databases are set up", _changes(steps))


def _changes(steps):
    """Return what happens to each database and user."""
    found = {}
    for step in steps:
        found[step.thing] = ", ".join(filter(None, [found.get(step.thing), step.change]))
    return found
