"""Ask a thing itself whether it is ready: each probe answers None, or in one line why not yet.

A probe is data, ``{kind: ..., ...}``; secrets are given by name. Every answer is bounded by a few seconds.
"""

from __future__ import annotations

import http.client
import importlib
import json
import os
import socket
import ssl
import subprocess
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from saltern.errors import SalternError, suggestion
from saltern.render import redact

TIMEOUT = 5.0
HTTP_READY = (200, 204, 300, 401)
_UNIX_SOCKETS = Path("/proc/net/unix")
_LISTENS = "00010000"

Spec = Mapping[str, Any]
Secrets = Mapping[str, str]


def probe(spec: Spec, secrets: Secrets, timeout: float = TIMEOUT) -> str | None:
    """Return None when the thing is ready, else a one-line reason that holds no secret."""
    function, needed = _kind(spec)
    missing = [key for key in needed if key not in spec]
    if missing:
        raise SalternError(f"probe {describe(spec)}: {', '.join(missing)}: missing")
    try:
        return function(spec, secrets, timeout)
    except SalternError:
        raise
    except Exception as error:  # whatever a library raises means: not ready
        reason = redact(f"{type(error).__name__}: {error}", secrets)
        return " ".join(reason.split())[:300]


def describe(spec: Spec) -> str:
    """Return what is asked, for people: ``amqp ctl1:5671``."""
    port = f"{spec['host']}:{spec['port']}" if "port" in spec and "host" in spec else None
    where = port or spec.get("host") or spec.get("url") or spec.get("path") or spec.get("socket")
    services = f" ({', '.join(spec['services'])})" if spec.get("services") else ""
    return " ".join(str(each) for each in (spec.get("kind"), where) if each) + services


def _kind(spec: Spec) -> tuple[Callable[[Spec, Secrets, float], str | None], tuple[str, ...]]:
    """Return the function of the probe's kind, and the keys that it needs."""
    if spec.get("kind") not in _KINDS:
        raise SalternError(f"probe kind {spec.get('kind')!r}: {suggestion(spec.get('kind'), _KINDS)}")
    return _KINDS[spec["kind"]]


def _secret(spec: Spec, secrets: Secrets) -> str:
    """Return the value of the secret that the probe names."""
    if not secrets.get(spec["secret"]):
        raise SalternError(f"probe {describe(spec)}: secrets:{spec['secret']}: this host was not given it")
    return secrets[spec["secret"]]


def _context(spec: Spec) -> ssl.SSLContext:
    """Return a TLS context that trusts the probe's CA, or the system's, and nothing else."""
    context = ssl.create_default_context(cafile=spec.get("ca_file"))
    if spec.get("cert_file"):
        context.load_cert_chain(spec["cert_file"], spec.get("key_file"))
    return context


def _connected(spec: Spec, host: str, port: int, tls: bool, timeout: float) -> socket.socket:
    """Return a connection, with a verified peer when it is TLS."""
    plain = socket.create_connection((host, int(port)), timeout)
    if not tls:
        return plain
    try:
        return _context(spec).wrap_socket(plain, server_hostname=spec.get("server_name") or host)
    except BaseException:
        plain.close()
        raise


def _request(
    spec: Spec, timeout: float, method: str = "GET", body: Any = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Return status, headers and body of one HTTP request; redirections are not followed."""
    url = urlsplit(spec["url"])
    tls = url.scheme == "https"
    port = url.port or (443 if tls else 80)
    host = url.hostname or ""
    with closing(http.client.HTTPConnection(host, port, timeout=timeout)) as connection:
        connection.sock = _connected(spec, host, port, tls, timeout)
        headers = {"Connection": "close", "Content-Type": "application/json", **(spec.get("headers") or {})}
        path = f"{url.path or '/'}{'?' + url.query if url.query else ''}"
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def _http(spec: Spec, secrets: Secrets, timeout: float) -> str | None:
    """Ready when the URL answers with one of the expected statuses."""
    status, _, _ = _request(spec, timeout)
    wanted = spec.get("status") or HTTP_READY
    accepted = [wanted] if isinstance(wanted, int) else list(wanted)
    return None if status in accepted else f"HTTP status {status}, not one of {accepted}"


def _tls(spec: Spec, secrets: Secrets, timeout: float) -> str | None:
    """Ready when a TLS handshake succeeds with a certificate for the name, from the CA."""
    _connected(spec, spec["host"], spec["port"], True, timeout).close()
    return None


def _tcp(spec: Spec, secrets: Secrets, timeout: float) -> str | None:
    """Ready when the port takes a connection."""
    _connected(spec, spec["host"], spec["port"], False, timeout).close()
    return None


def _socket(spec: Spec, secrets: Secrets, timeout: float) -> str | None:
    """Ready when somebody listens at the Unix socket; who connects and says nothing makes some services complain.

    The kernel's table (proc_net(5), ``unix``) has the flag ``__SO_ACCEPTCON`` of those that listen, and their paths.
    """
    lines = [line.split(maxsplit=7) for line in _UNIX_SOCKETS.read_text(errors="replace").splitlines()]
    listening = {os.path.realpath(line[7]) for line in lines if len(line) == 8 and line[3] == _LISTENS}
    return None if os.path.realpath(spec["path"]) in listening else f"nobody listens at {spec['path']}"


def _amqp(spec: Spec, secrets: Secrets, timeout: float) -> str | None:
    """Ready when the broker accepts the login to the virtual host."""
    amqp = importlib.import_module("amqp")
    password = _secret(spec, secrets)
    tls: dict[str, Any] | None = None
    if spec.get("ca_file"):
        # without a host name the library would not compare it with the certificate
        name = spec.get("server_name") or spec["host"]
        tls = {"ca_certs": spec["ca_file"], "server_hostname": name, "cert_reqs": ssl.CERT_REQUIRED}
    connection = amqp.Connection(
        host=f"{spec['host']}:{spec.get('port', 5671 if tls else 5672)}",
        userid=spec["user"],
        password=password,
        virtual_host=spec.get("vhost", "/"),
        ssl=tls or False,
        connect_timeout=timeout,
        read_timeout=timeout,
        write_timeout=timeout,
    )
    try:
        connection.connect()
    finally:
        connection.collect()
    return None


def _clock(spec: Spec, secrets: Secrets, timeout: float) -> str | None:
    """Ready when chrony follows a source, or serves its own time; while it does not, it is asked for a burst.

    A source that did not answer at first is else asked again at the usual intervals only, and takes minutes to be
    trusted; chronyc(1): ``tracking`` (the third field of ``-c`` is the stratum, 0 without a source), ``burst``.
    """
    fields = _chronyc(timeout, "-c", "tracking").split(",")
    if len(fields) > 2 and fields[2] != "0":
        return None
    _chronyc(timeout, "burst", "4/4")
    return "chrony follows no source yet"


def _chronyc(timeout: float, *arguments: str) -> str:
    """Return what chronyc says; raises OSError with its words when it fails."""
    done = subprocess.run(["chronyc", *arguments], capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise OSError(f"chronyc {' '.join(arguments)}: {(done.stdout + done.stderr).strip()}")
    return done.stdout


#: Tokens by address, user, project and password: checking that costs keystone a quarter of a second of computing.
_tokens: dict[tuple[str, str, str, str], str] = {}


def _session(spec: Spec, secrets: Secrets, timeout: float) -> tuple[str, list[dict[str, Any]]]:
    """Return a token of the user and the catalogue as it is now; raises OSError when keystone gives none.

    The user logs in once; Identity API v3: ``POST /v3/auth/tokens``, ``GET /v3/auth/catalog``.
    """
    base = f"{str(spec['url']).rstrip('/').removesuffix('/v3')}/v3/auth"
    key = base, str(spec["user"]), str(spec.get("project", "service")), _secret(spec, secrets)
    if token := _tokens.pop(key, None):
        given = {**spec, "url": f"{base}/catalog", "headers": {"X-Auth-Token": token}}
        status, _, answer = _request(given, timeout)
        if status == 200:
            _tokens[key] = token
            return token, json.loads(answer)["catalog"]
    user = {"name": spec["user"], "domain": {"name": "Default"}, "password": key[3]}
    scope = {"project": {"name": key[2], "domain": {"name": "Default"}}}
    identity = {"methods": ["password"], "password": {"user": user}}
    body = {"auth": {"identity": identity, "scope": scope}}
    status, headers, answer = _request({**spec, "url": f"{base}/tokens"}, timeout, "POST", body)
    if status != 201:
        raise OSError(f"login of {spec['user']} answered with HTTP status {status}")
    _tokens[key] = str(headers["X-Subject-Token"])
    return _tokens[key], json.loads(answer)["token"].get("catalog", [])


def _catalog(spec: Spec, secrets: Secrets, timeout: float) -> str | None:
    """Ready when the user can log in to keystone and its catalogue holds the services."""
    _, catalog = _session(spec, secrets, timeout)
    present = {service.get("type") for service in catalog if service.get("endpoints")}
    missing = sorted(set(spec.get("services") or ()) - present)
    return f"not in the catalogue yet: {', '.join(missing)}" if missing else None


def _asked(spec: Spec, secrets: Secrets, timeout: float, service: str, path: str, version: str) -> dict[str, Any]:
    """Return what the API of a service type answers the user; an empty mapping when it knows no such thing."""
    token, catalog = _session(spec, secrets, timeout)
    endpoints = [each for entry in catalog if entry.get("type") == service for each in entry["endpoints"]]
    urls = [each["url"].rstrip("/") for each in endpoints if each["interface"] == "internal"]
    if not urls:
        raise OSError(f"no internal endpoint of {service} in the catalogue")
    headers = {"X-Auth-Token": token, "OpenStack-API-Version": version}
    status, _, answer = _request({**spec, "url": f"{urls[0]}{path}", "headers": headers}, timeout)
    if status not in (200, 404):
        _tokens.clear()  # the user may have got a role since its login
        raise OSError(f"HTTP status {status} from {service}")
    return dict(json.loads(answer))


def _hypervisor(spec: Spec, secrets: Secrets, timeout: float) -> str | None:
    """Ready when nova lists the host as an up hypervisor, so that it is mapped to a cell, and placement knows its size.

    Hosts that are not mapped yet are left out of the list (Compute API, ``GET /os-hypervisors/detail``, 2.53); its ids
    are those of placement's resource providers. Each is there seconds before the next one.
    """
    path = f"/os-hypervisors/detail?hypervisor_hostname_pattern={spec['host']}"
    listed = _asked(spec, secrets, timeout, "compute", path, "compute 2.53").get("hypervisors", [])
    mine = [each for each in listed if each["service"]["host"] == spec["host"]]
    if not mine:
        return f"{spec['host']} is not mapped to a cell yet"
    up = [each["id"] for each in mine if each["state"] == "up"]
    if not up:
        return f"{spec['host']} is {mine[0]['state']}"
    path = f"/resource_providers/{up[0]}/inventories"
    known = _asked(spec, secrets, timeout, "placement", path, "placement 1.0").get("inventories")
    return None if known else f"placement does not know yet what {spec['host']} has"


def _mariadb(spec: Spec, secrets: Secrets, timeout: float) -> str | None:
    """Ready when the server answers a query, through its socket or over TLS."""
    pymysql = importlib.import_module("pymysql")
    arguments: dict[str, Any] = {"user": spec.get("user", "root"), "database": spec.get("database")}
    if spec.get("host"):
        arguments |= {"host": spec["host"], "port": int(spec.get("port", 3306)), "password": _secret(spec, secrets)}
        arguments["ssl"] = _context(spec)
    else:
        arguments["unix_socket"] = spec.get("socket", "/run/mysqld/mysqld.sock")
    options = {"connect_timeout": timeout, "read_timeout": timeout}
    with closing(pymysql.connect(**arguments, **options)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return None


_KINDS: dict[str, tuple[Callable[[Spec, Secrets, float], str | None], tuple[str, ...]]] = {
    "amqp": (_amqp, ("host", "user", "secret")),
    "catalog": (_catalog, ("url", "user", "secret")),
    "clock": (_clock, ()),
    "http": (_http, ("url",)),
    "hypervisor": (_hypervisor, ("url", "host", "user", "secret")),
    "mariadb": (_mariadb, ()),
    "socket": (_socket, ("path",)),
    "tcp": (_tcp, ("host", "port")),
    "tls": (_tls, ("host", "port")),
}
