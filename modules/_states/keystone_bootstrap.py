"""The identity service's keys and its first user, project, roles and endpoints.

This runs before the API is started, so what is there is read from the database through root's socket (milliseconds)
instead of asking the API or starting ``keystone-manage`` (seconds). Killed at any point, it goes on at the next run:
every step looks at what is there, and ``keystone-manage bootstrap`` itself makes only what is missing.
"""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from saltern import commands, hostplan, outcome
from saltern.errors import SalternError
from saltern.identity_bootstrap import FACTS, HIDDEN, Bootstrap, differences, key_step, password_fits
from saltern.mariadb import SOCKET
from saltern.password_marks import MARKS, PasswordMarks
from saltern.render import redact

try:
    import pymysql

    HAS_PYMYSQL = True
except ImportError:
    HAS_PYMYSQL = False

REPOSITORIES = {"fernet": "/etc/keystone/fernet-keys", "credential": "/etc/keystone/credential-keys"}
NO_SUCH_DATABASE_OR_TABLE = (1049, 1146)


def __virtual__():
    return HAS_PYMYSQL or (False, "PyMySQL is not installed in Salt's environment")


@outcome.reported
def done(name, url, region, secret="identity_admin", user="keystone"):  # noqa: S107 - the name of a secret
    """Keep the keys, the administrator and the catalogue entry without which nobody can talk to the cloud.

    Afterwards the key folders hold a staged and a primary key that only the service's user reads; the default roles,
    the project ``admin``, the enabled user ``admin`` with its password and its roles, the region and the public,
    internal and admin endpoint of the identity service are in the database.

    name
        The state's id.

    url
        URL of the identity service.

    region
        Id of the region.

    secret
        Name of the secret that is the administrator's password.

    user
        Unprivileged user of the service.
    """
    wanted = Bootstrap(region, dict.fromkeys(("public", "internal", "admin"), url))
    password = hostplan.secret(__pillar__, secret)
    changes = _changes(wanted, password, user)
    if not changes:
        return outcome.success(name, "keys, administrator and endpoints are there")
    if __opts__["test"]:
        return outcome.planned(name, "keys, administrator and endpoints would be completed", changes)
    with ThreadPoolExecutor(len(REPOSITORIES)) as pool:  # a start of keystone-manage costs seconds
        list(pool.map(partial(_keys, user=user), REPOSITORIES, REPOSITORIES.values()))
    if differences(wanted, _facts(), partial(_fits, password)):
        _manage(["bootstrap"], user, wanted.environment(password))
    left = _changes(wanted, password, user)
    if left:
        return outcome.failure(name, f"keystone-manage ran, but still differ: {', '.join(left)}", changes)
    return outcome.success(name, "keys, administrator and endpoints were completed", changes)


def _changes(wanted, password, user):
    keys = {}
    for repository, path in REPOSITORIES.items():
        lacking = _lacking(path, user)
        if lacking:
            keys[f"{repository} keys"] = {"old": lacking, "new": HIDDEN}
    return keys | differences(wanted, _facts(), partial(_fits, password))


def _fits(password, stored):
    marks = PasswordMarks(os.path.join(__opts__["cachedir"], *MARKS))
    return marks.fits(password, stored, partial(password_fits, password, stored))


def _facts():
    """Return what the database says; a dry run takes a database that is not there yet as an empty one."""
    try:
        connection = pymysql.connect(unix_socket=SOCKET, user="root", database="keystone")
        with connection, connection.cursor() as cursor:
            cursor.execute(FACTS)
            return dict(cursor.fetchall())
    except pymysql.MySQLError as error:
        if __opts__["test"] and (error.args[0] in NO_SUCH_DATABASE_OR_TABLE or not os.path.exists(SOCKET)):
            return {}
        raise SalternError(f"database keystone: {error.args[-1]} (is its schema current?)") from error


def _lacking(path, user):
    """Return what a key folder lacks, in words; empty when it is complete and private."""
    if not os.path.isdir(path):
        return "no folder"
    step = key_step(os.listdir(path))
    if step:
        return {"setup": "no keys", "rotate": "no primary key"}[step]
    return next((f"{each} is not {user}'s alone" for each in _folder(path) if not _private(each, user)), "")


def _folder(path):
    """Return a key folder and the keys in it."""
    return [path, *(os.path.join(path, name) for name in sorted(os.listdir(path)))]


def _private(path, user):
    return __salt__["file.get_user"](path) == user and not os.stat(path).st_mode & 0o077


def _keys(repository, path, user):
    """Complete a key folder; keys that are there stay."""
    for each in _folder(path) if os.path.isdir(path) else ():
        shutil.chown(each, user, user)
        os.chmod(each, 0o700 if each == path else 0o600)
    for _ in ("setup", "rotate"):
        step = key_step(os.listdir(path) if os.path.isdir(path) else ())
        if step:
            owner = ["--keystone-user", user, "--keystone-group", user]
            _manage([f"{repository}_{step}", *owner], user, {})


def _manage(arguments, user, environment):
    """Run ``keystone-manage`` as the service's user: as root it would leave a log that the service cannot write."""
    command = ["/usr/bin/keystone-manage", *arguments]
    trouble = commands.run(command, user=user, environment=environment, timeout=300, umask=commands.PRIVATE)
    if trouble:
        said = redact(trouble, {"password": environment.get("OS_BOOTSTRAP_PASSWORD", "")})
        raise SalternError(f"keystone-manage {arguments[0]}: {said}")
