"""The cloud's APIs as seen from one run: one authentication, each kind of object listed once.

The connection (openstacksdk, ``/etc/openstack/clouds.yaml``) and the lists live in ``__context__``, that is for one
job; a change drops the lists that it touched.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

from saltern import resource_answers
from saltern.errors import SalternError
from saltern.mariadb import SOCKET
from saltern.password_marks import MARKS, PasswordMarks
from saltern.resource_kinds import KINDS
from saltern.resource_plan import PRETENDED, Unreachable

try:
    import openstack
    import pymysql
    from keystoneauth1.exceptions import ClientException, ConnectFailure, EndpointNotFound

    HAS_SDK = True
except ImportError:
    HAS_SDK = False

CLOUD = "saltern"
CLOUDS = "/etc/openstack/clouds.yaml"
CATALOG = ("region", "service", "endpoint")
HASHES = """SELECT l.user_id, p.password_hash FROM password p JOIN local_user l ON l.id = p.local_user_id
WHERE l.user_id IN %s ORDER BY p.created_at_int, p.id"""


def __virtual__():
    return HAS_SDK or (False, "openstacksdk and PyMySQL are not both installed in Salt's environment")


def begin(cloud=CLOUD):
    """Begin to log in, beside what else the job does; what comes of it shows where a list is first wanted.

    A login that fails, or with credentials that have changed since, is forgotten: it is then done again.

    CLI Example:

    .. code-block:: bash

        salt ctl1 openstack_api.begin
    """
    begun = __context__.setdefault("openstack_api.begun", {})
    if cloud not in begun:
        pool = ThreadPoolExecutor(1)
        begun[cloud] = _written(), pool.submit(_connected, cloud)
        pool.shutdown(wait=False)


def objects(kind, owner=None, cloud=CLOUD):
    """Return all objects of a kind as the API lists them; for a kind that is listed by owner, those of one owner.

    CLI Example:

    .. code-block:: bash

        salt ctl1 openstack_api.objects network
    """
    lists = __context__.setdefault("openstack_api.objects", {})
    key = (cloud, kind, owner)
    if key not in lists:
        # What a dry run only pretends to have made owns nothing yet.
        pretended = str(owner).startswith(PRETENDED)
        lists[key] = [] if pretended else _listed(KINDS[kind], owner, cloud)
    return lists[key]


def run(kind, requests, cloud=CLOUD):
    """Send requests (``saltern.resource_requests.Request``) to the service of a kind, one after the other.

    CLI Example: only of use from other modules, since requests are objects of the package ``saltern``.

    .. code-block:: bash

        salt ctl1 openstack_api.run network '[]'
    """
    made = ""
    for request in requests:
        path = request.path.replace("{id}", made)
        body = {"json": request.body} if request.body is not None else {}
        headers = {"Content-Type": request.content_type}
        if request.upload:
            with open(request.upload, "rb") as stream:
                answer = _call(KINDS[kind], request.method, path, cloud, data=stream, headers=headers)
        else:
            answer = _call(KINDS[kind], request.method, path, cloud, log=not request.secret, headers=headers, **body)
        made = made or resource_answers.made_id(KINDS[kind], answer)
    forget(kind)
    if kind in CATALOG:
        __context__.setdefault("openstack_api.stale", set()).add(cloud)


def forget(kind=None):
    """Forget what was listed of a kind and of those that refer to it; of all kinds when none is named.

    CLI Example:

    .. code-block:: bash

        salt ctl1 openstack_api.forget network
    """
    lists = __context__.get("openstack_api.objects", {})
    for key in [key for key in lists if kind is None or key[1] in resource_answers.touched(kind)]:
        del lists[key]


def fitting(passwords, cloud=CLOUD):
    """Say of each ``{user id: password}`` whether the user can authenticate with it.

    Trying one costs what its hash costs, so all are tried at once, and where keystone's database is on this host a
    hash that was once seen to fit is not computed again (``saltern.password_marks``).

    CLI Example: not for a command line, where a password would be seen.

    .. code-block:: bash

        salt ctl1 openstack_api.fitting '{}'
    """
    known = __context__.setdefault("openstack_api.fitting", {})
    stored, marks = _stored_hashes(passwords), PasswordMarks(os.path.join(__opts__["cachedir"], *MARKS))
    known |= {user: True for user in stored if marks.fits(passwords[user], stored[user])}
    unknown = [user for user in passwords if not known.get(user)]
    identity = _connection(cloud).identity if unknown else None
    with ThreadPoolExecutor(max_workers=8) as pool:
        known |= zip(unknown, pool.map(lambda user: _fits(identity, user, passwords[user]), unknown), strict=True)
    for user in set(unknown) & set(stored):
        marks.fits(passwords[user], stored[user], partial(known.get, user))
    return {user: known[user] for user in passwords}


def _stored_hashes(users):
    """Return ``user id → stored hash`` where keystone's database is on this host; else every password is tried."""
    try:
        connection = pymysql.connect(unix_socket=SOCKET, user="root", database="keystone")
        with connection, connection.cursor() as cursor:
            cursor.execute(HASHES, [list(users)])
            return dict(cursor.fetchall())
    except pymysql.MySQLError:
        return {}


def _fits(identity, user, password):
    method = {"methods": ["password"], "password": {"user": {"id": user, "password": password}}}
    body = {"auth": {"identity": method, "scope": "unscoped"}}
    try:
        answer = identity.request("/auth/tokens", "POST", json=body, authenticated=False, log=False, raise_exc=False)
    except (ConnectFailure, EndpointNotFound) as error:
        raise Unreachable(f"the identity service does not answer: {error}") from error
    except (ClientException, openstack.exceptions.SDKException) as error:
        raise SalternError(f"the identity service: {error}") from error
    if answer.status_code not in (201, 401):
        raise SalternError(resource_answers.refusal("POST", "/auth/tokens", answer.status_code, answer.text))
    return answer.status_code == 201


def _connection(cloud, service="identity"):
    connections = __context__.setdefault("openstack_api.connections", {})
    stale = __context__.setdefault("openstack_api.stale", set())
    if cloud in stale and service != "identity":
        # The catalogue came with the token, from before the change.
        stale.discard(cloud)
        connections.pop(cloud, None)
    if cloud not in connections:
        connections[cloud] = _begun(cloud) or _connected(cloud)
    if isinstance(connections[cloud], SalternError):
        # A dry run is told so at once by every further state; a real one tries again.
        raise connections[cloud] if __opts__["test"] else connections.pop(cloud)
    return connections[cloud]


def _begun(cloud):
    """Return the connection that was begun before, once, if it is one and holds."""
    written, login = __context__.get("openstack_api.begun", {}).pop(cloud, (None, None))
    if login is None or written != _written():
        return None
    return None if isinstance(login.result(), SalternError) else login.result()


def _written():
    """Return when the credentials were written; None when there are none."""
    try:
        return os.stat(CLOUDS).st_mtime_ns
    except OSError:
        return None


def _connected(cloud):
    try:
        connection = openstack.connect(cloud=cloud)
        connection.authorize()
    except (ConnectFailure, openstack.exceptions.ConfigException) as error:
        return Unreachable(f"cloud {cloud!r}: {error}")
    except (ClientException, openstack.exceptions.SDKException) as error:
        return SalternError(f"cloud {cloud!r}: {error}")
    return connection


def _listed(kind, owner, cloud):
    path = (kind.lists or kind.path).format(owner=owner)
    query = "&".join(part for part in (kind.query, f"user_id={owner}" if kind.per == "user" and owner else "") if part)
    result = []
    while query is not None:
        answer = _call(kind, "GET", f"{path}?{query}" if query else path, cloud)
        result += resource_answers.listed(kind, answer)
        following = resource_answers.next_page(kind, answer)
        query = urlsplit(following).query if following else None
    if kind.name == "router":
        return resource_answers.with_interfaces(result, objects("router_port", None, cloud))
    return result


def _call(kind, method, path, cloud, headers=None, **arguments):
    connection = _connection(cloud, kind.service)
    try:
        adapter = getattr(connection, kind.service)
        answer = adapter.request(
            path, method, headers={"Accept": "application/json", **(headers or {})}, raise_exc=False,
            microversion=kind.microversion, **arguments,
        )  # fmt: skip
    except (ConnectFailure, EndpointNotFound, openstack.exceptions.ConfigException) as error:
        raise Unreachable(f"the {kind.service} service does not answer: {error}") from error
    except (ClientException, openstack.exceptions.SDKException) as error:
        raise SalternError(f"the {kind.service} service: {error}") from error
    if answer.status_code == 503:
        raise Unreachable(resource_answers.refusal(method, path, answer.status_code, answer.text))
    if answer.status_code >= 400:
        raise SalternError(resource_answers.refusal(method, path, answer.status_code, answer.text))
    return answer.json() if answer.text[:1] in ("{", "[") else {}
