"""Objects of the OpenStack APIs (projects, users, networks, flavors, images …), by one state.

.. code-block:: yaml

    neutron: network public:
      openstack_resource.present:
        - name: public
        - kind: network
        - properties: {"provider:network_type": vlan, "provider:segmentation_id": 200, shared: true}

``saltern.resource_kinds`` says which kinds there are and what their properties are called: as in the API itself.
Where the API wants an id, a name is written: ``project: demo``, ``network: public``; when several objects have the
name, ``{name: demo, domain: lab}``; ``{id: …}`` works as well. Only properties that are given are compared.

Lists are read once per run, so a state that has nothing to do costs no request of its own.

**Passwords of users** are given as ``password: {secret: name}`` and read from the pillar. Whether the right one is
set is found by authenticating with it: a mark left on the user would not see that someone changed the password
behind its back. That costs what a password hash costs (a quarter of a second of one core), so all users of the run
are tried at once when the first one comes up; and where keystone's database is on the same host, a stored hash that
was seen to fit a password is known by its mark (``saltern.password_marks``) and costs nothing until either changes.
"""

import hashlib
from contextlib import suppress
from dataclasses import replace
from functools import partial

from saltern import hostplan, outcome, resource_plan, resource_requests
from saltern.errors import Problems, SalternError
from saltern.resource_kinds import KINDS
from saltern.resource_plan import Unreachable, Unresolved
from saltern.resources import check

CLOUD = "saltern"
HIDDEN = {"old": "(hidden)", "new": "(hidden)"}


def begun(name, cloud=CLOUD):
    """Have the login to the cloud under way, so that the first object need not wait for it; changes nothing.

    name
        What this is for, for people.

    cloud
        Entry of clouds.yaml.
    """
    __salt__["openstack_api.begin"](cloud)
    return outcome.success(name, "the login is under way")


def present(name, kind, properties=None, cloud=CLOUD):
    """Keep an API object with the given properties.

    Afterwards the object exists and has them. A property that the API never changes and that differs is an error
    that names both values. Changes are told property by property.

    name
        Name of the object; for a kind without names (role assignment, endpoint, rule) only a label.

    kind
        One of ``saltern.resource_kinds.KINDS``.

    properties
        Property → value.

    cloud
        Entry of clouds.yaml.
    """
    # Not decorated: Salt hands __lowstate__ to the module of the function that it finds, which must be this one.
    try:
        return _present(name, kind, properties or {}, cloud)
    except Unreachable as error:
        return _unseen(name, kind, properties or {}, error)
    except SalternError as error:
        return outcome.failure(name, str(error))


def _unseen(name, kind, properties, error):
    """Return the outcome without a cloud: a dry run of what makes the cloud tells all that it would make there."""
    if not __opts__["test"]:
        return outcome.failure(name, str(error))
    changes = {
        each: HIDDEN if each == "password" else {"old": None, "new": value} for each, value in properties.items()
    }
    return outcome.planned(name, f"{kind} {name} could not be compared: {error}", changes)


def _present(name, kind, properties, cloud):
    wanted, raw, found, password = _compared(name, kind, properties, cloud)
    note = "".join(f"; {each}" for each in wanted.warnings)
    if raw is not None:
        resource_plan.refuse_fixed(wanted, found)
    if raw is not None and not found and password is None:
        return outcome.success(name, f"{kind} {name} is as wanted{note}")
    # An object that is nothing but its name is a change, too.
    changes = _changes(wanted, found, password, cloud) or {kind: {"old": None, "new": name}}
    verb = "made" if raw is None else "changed"
    if __opts__["test"]:
        if raw is None:
            _objects(cloud, kind, wanted.values.get(KINDS[kind].per)).append(resource_plan.pretended(wanted))
        return outcome.planned(name, f"{kind} {name} would be {verb}{note}", changes)
    make = (
        resource_requests.creation(wanted, password)
        if raw is None
        else resource_requests.change(wanted, raw, found, password)
    )
    _run(wanted, make, cloud)
    _verify(name, kind, properties, cloud)
    return outcome.success(name, f"{kind} {name} was {verb}{note}", changes)


@outcome.reported
def absent(name, kind, properties=None, cloud=CLOUD):
    """Keep an API object away; what belongs to it alone (a router's interfaces) goes with it.

    Afterwards there is no such object. What others still use is not removed: the API's refusal is the error.

    name
        Name of the object.

    kind
        One of ``saltern.resource_kinds.KINDS``; a quota cannot be removed.

    properties
        What tells the object from others of its name (``project``, ``domain``, ``user`` …).

    cloud
        Entry of clouds.yaml.
    """
    if _kind(kind).singleton:
        raise SalternError(f"{kind} {name!r}: it goes with its project and cannot be removed")
    wanted = resource_plan.resolve(KINDS[kind], name, properties or {}, partial(_objects, cloud))
    raw = _found(wanted, cloud)
    if raw is None:
        return outcome.success(name, f"there is no {kind} {name}")
    changes = {kind: {"old": name, "new": None}}
    if __opts__["test"]:
        listed = _objects(cloud, kind, wanted.values.get(KINDS[kind].per))
        listed[:] = [each for each in listed if each is not raw]
        return outcome.planned(name, f"{kind} {name} would be removed", changes)
    _run(wanted, resource_requests.removal(wanted, raw), cloud)
    __salt__["openstack_api.forget"]()
    if _found(wanted, cloud) is not None:
        return outcome.failure(name, f"{kind} {name} is still there after its removal", changes)
    return outcome.success(name, f"{kind} {name} was removed", changes)


def _compared(name, kind, properties, cloud):
    """Return what is wanted, what is there, the differences, and the password if it must be set."""
    problems = check(_kind(kind), name, properties)
    if problems:
        raise Problems(problems)
    wanted = resource_plan.resolve(KINDS[kind], name, properties, partial(_objects, cloud))
    if kind == "image" and properties.get("file"):
        wanted = replace(wanted, values={**wanted.values, "file": _digest(wanted.plain["file"])})
    raw = _found(wanted, cloud)
    found = resource_plan.differences(wanted, raw or {})
    return wanted, raw, found, _password(properties, raw, cloud)


def _kind(kind):
    if kind not in KINDS or not KINDS[kind].declared:
        raise SalternError(
            f"{kind!r}: no such kind; accepted: {', '.join(each for each in KINDS if KINDS[each].declared)}"
        )
    return KINDS[kind]


def _objects(cloud, kind, owner):
    return __salt__["openstack_api.objects"](kind, owner, cloud=cloud)


def _found(wanted, cloud):
    candidates = resource_plan.candidates(wanted, partial(_objects, cloud))
    return resource_plan.match(wanted.kind, wanted.name, wanted.values, candidates)


def _digest(source):
    try:
        with open(resource_requests.local_path(source), "rb") as stream:
            return hashlib.file_digest(stream, "sha512").hexdigest()
    except OSError as error:
        raise SalternError(f"image file {source!r}: {error.strerror}") from error


def _changes(wanted, found, password, cloud):
    hidden = {} if password is None else {"password": HIDDEN}
    return resource_plan.shown(wanted, found, partial(_objects, cloud)) | hidden


def _password(properties, raw, cloud):
    """Return the password that must be set; None when there is none to keep or the right one is set."""
    if "password" not in properties:
        return None
    password = _secret(properties)
    if raw is None:
        return password
    if properties.get("enabled") is False:
        return None  # nobody can authenticate as this user: there is nothing to find out
    wanted = {**_passwords_of_run(cloud), raw["id"]: password}
    return None if __salt__["openstack_api.fitting"](wanted, cloud=cloud)[raw["id"]] else password


def _passwords_of_run(cloud):
    """Return ``user id → password`` of the users that this run keeps and that exist."""
    result = {}
    for low in __lowstate__ or ():
        properties = low.get("properties") or {}
        if low["state"] == "openstack_resource" and low.get("kind") == "user" and "password" in properties:
            with suppress(Unresolved):  # told by that user's own state
                user = {"name": low["name"], "domain": properties.get("domain", "Default")}
                result[resource_plan.reference("user", user, partial(_objects, cloud))] = _secret(properties)
    return result


def _secret(properties):
    return hostplan.secret(__pillar__, properties["password"]["secret"])


def _run(wanted, requests, cloud):
    try:
        __salt__["openstack_api.run"](wanted.kind.name, requests, cloud=cloud)
    except SalternError as error:
        raise SalternError(f"{wanted.kind.name} {wanted.name!r}: {error}") from error


def _verify(name, kind, properties, cloud):
    _, raw, found, password = _compared(name, kind, properties, cloud)
    left = [*found, *(["password"] if password is not None else [])]
    if raw is None or left:
        raise SalternError(
            f"{kind} {name!r}: the API took the change, but {', '.join(left) or 'the object'} is not there"
        )
