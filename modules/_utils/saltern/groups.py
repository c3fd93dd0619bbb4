"""Groups of settings that a file of the catalogue asks for by name: ``uses: [messaging]``.

Each group is one function of the context and the parameters given in the catalogue; it returns settings in the shape
of the file's kind (sections for oslo and ini, one mapping or a list for the others).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from . import dnsmasq
from .boot_groups import boot_application, boot_server
from .catalogue import Catalogue, uwsgi_path
from .derive import CA_FILE, PLACEHOLDER, Context, api_url
from .errors import Problem, Problems
from .firewall import ruleset
from .layers import Secret
from .model import ROLES


def database(ctx: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the connection to a database over TLS with the server's name checked."""
    user = params.get("user", ctx.service)
    password = ctx.secret(f"mariadb_{user}")
    query = f"charset=utf8mb4&ssl_ca={CA_FILE}&ssl_check_hostname=true"
    url = Secret(
        f"mysql+pymysql://{user}:{quote(password, safe='')}@{ctx.fqdn(ctx.controller)}:3306/{params['name']}?{query}"
    )
    return {params.get("section", "database"): {"connection": url}}


def messaging(ctx: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message bus: TLS, the service's own vhost, quorum queues for calls, replies and fan-out streams."""
    password = quote(ctx.secret(f"rabbitmq_{ctx.service}"), safe="")
    url = Secret(f"rabbit://{ctx.service}:{password}@{ctx.fqdn(ctx.controller)}:5671/{ctx.service}")
    options = {
        "ssl": True,
        "ssl_ca_file": CA_FILE,
        "ssl_enforce_hostname_verification": True,
        "rabbit_quorum_queue": True,
        "rabbit_transient_quorum_queue": True,
        "rabbit_stream_fanout": True,
        "rabbit_qos_prefetch_count": 10,
        "use_queue_manager": True,
        "hostname": ctx.host.id,
    }
    return {"DEFAULT": {"transport_url": url}, "oslo_messaging_rabbit": options}


def client(ctx: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section with which a service authenticates at keystone (keystoneauth, password plugin)."""
    user = params.get("user", ctx.service)
    return {
        params["section"]: {
            "auth_type": "password",
            "auth_url": api_url(ctx, "identity"),
            "username": user,
            "password": ctx.secret(f"identity_{user}"),
            "project_name": "service",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
            "region_name": ctx.site.region,
            "cafile": CA_FILE,
        }
    }


def authtoken(ctx: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``[keystone_authtoken]``: tokens checked at keystone, cached encrypted in memcached."""
    section = client(ctx, {"section": "keystone_authtoken", **params})["keystone_authtoken"]
    own = {
        "www_authenticate_uri": api_url(ctx, "identity"),
        "memcached_servers": "127.0.0.1:11211",
        "memcache_security_strategy": "ENCRYPT",
        "memcache_secret_key": ctx.secret("memcache"),
        "service_token_roles_required": True,
        "service_token_roles": "service",
    }
    return {"keystone_authtoken": {**section, **own}}


def live_migration(ctx: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return nova's side of live migration: TLS for libvirt and QEMU, or the legacy SASL over TCP."""
    scheme = ctx.site.live_migration
    return {
        "libvirt": {
            "live_migration_scheme": scheme,
            "live_migration_inbound_addr": ctx.host.address,
            "live_migration_with_native_tls": scheme == "tls",
        }
    }


def uwsgi(ctx: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of an API's uWSGI: on the loopback only, HAProxy stands in front."""
    user = params["user"]
    settings = {
        "http-socket": f"127.0.0.1:{params['port']}",
        "wsgi-file": params["wsgi"],
        "uid": user,
        "gid": params.get("group", user),
        "chdir": params.get("directory", f"/var/lib/{user}"),
        "plugins": "python3",
        "master": True,
        "lazy-apps": True,
        "thunder-lock": True,
        # Without it the application's own threads stand still between two requests: neutron's, which hear OVN's events.
        "enable-threads": True,
        "die-on-term": True,
        # glance's worker never obeys; without this systemd waits 15 s for it at each restart.
        "worker-reload-mercy": 5,
        "no-orphans": True,
        # Without its application it would answer 500 for ever; like this systemd tries again.
        "need-app": True,
        "close-on-exec": True,
        "buffer-size": 65535,
        "processes": 4,
        "threads": 1,
        "listen": 100,
        "add-header": "Connection: close",
        "env": [f"OS_OSLO_MESSAGING_RABBIT__PROCESSNAME={params['api']}"],
    }
    return {"uwsgi": {**settings, **params.get("uwsgi", {})}}


def uwsgi_unit(ctx: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the drop-in that starts an API with our uWSGI configuration instead of the packaged init script."""
    command = f"/usr/bin/uwsgi_python3 --ini {uwsgi_path(params['api'])}"
    # At a boot of the host the database may come later.
    order = {"After": "network-online.target mariadb.service rabbitmq-server.service memcached.service"}
    restart = {"Restart": "on-failure", "RestartSec": "3"}
    return {
        "Unit": {**order, "StartLimitIntervalSec": "0"},
        "Service": {"ExecStart": ["", command], "KillSignal": "SIGTERM", **restart},
    }


def time_sources(ctx: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return whose time a host follows: controllers the site's servers, every other host the controllers."""
    controllers = ctx.site.having("controller")
    if ctx.host in controllers:
        servers = list(ctx.site.ntp_servers)
        return {
            "server": [f"{each} iburst" for each in servers],
            "local": "stratum 10",
            "allow": ctx.site.management.cidr,
        }
    return {"server": [f"{each.address} iburst minpoll 4 maxpoll 6" for each in controllers]}


@lru_cache(maxsize=4)
def _host_lines(names: tuple[tuple[str, str, str], ...], api: tuple[str, str]) -> tuple[str, ...]:
    hosts = (f"{address} {fqdn} {short}" for address, fqdn, short in names)
    return ("127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", *hosts, " ".join(api))


def hosts_file(ctx: Context, params: Mapping[str, Any]) -> list[str]:
    """Return /etc/hosts: every host of the site and the name of the APIs, the same on all hosts."""
    return list(_host_lines(ctx.site.names, (ctx.site.api_address, ctx.site.api_name)))


def host_name(ctx: Context, params: Mapping[str, Any]) -> list[str]:
    """Return the id of this host on a line of its own."""
    return [ctx.host.id]


def ssh_private(ctx: Context, params: Mapping[str, Any]) -> list[str]:
    """Return the lines of a private SSH key."""
    return [Secret(line) for line in ctx.secret(params["secret"]).splitlines()]


def ssh_authorized(ctx: Context, params: Mapping[str, Any]) -> list[str]:
    """Return authorized_keys for a key that only compute hosts may use, to run commands and nothing else."""
    sources = ",".join(host.address for host in ctx.site.having("compute"))
    return [f'from="{sources}",restrict {ssh_public(params["secret"], ctx.secret(params["secret"]))}']


def ssh_known(ctx: Context, params: Mapping[str, Any]) -> list[str]:
    """Return known_hosts for the one host key that all compute hosts show to each other."""
    return [f"{params['alias']} {ssh_public(params['secret'], ctx.secret(params['secret']))}"]


@lru_cache(maxsize=8)
def ssh_public(name: str, private: str) -> str:
    """Return the public half of the secret of this name, an OpenSSH private key; of a placeholder another placeholder.

    Raises Problems when it is neither; the text is not shown.
    """
    if private.startswith(PLACEHOLDER):
        return f"{PLACEHOLDER}public half of {private.removeprefix(PLACEHOLDER)}"
    try:
        key = serialization.load_ssh_private_key(private.encode(), password=None)
    except (ValueError, UnsupportedAlgorithm):
        accepted = "an OpenSSH private key without a passphrase"
        raise Problems([Problem(f"secrets:{name}", "not shown", f"accepted: {accepted}")]) from None
    form = serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, form).decode()


def libvirt_peers(ctx: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return whose certificates libvirt takes: those of the compute hosts, not every one of its CA."""
    return {"tls_allowed_dn_list": [f"CN={ctx.fqdn(host)}" for host in ctx.site.having("compute")]}


def rabbitmq_definitions(ctx: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a vhost and a user for each service that uses the bus; of passwords only salted hashes.

    The broker loads them at each start (https://www.rabbitmq.com/docs/definitions). The salt comes from the password,
    so that the file stays the same from run to run.
    """
    names = sorted(messaging_services(ctx.catalogue))
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    return {
        "vhosts": [{"name": name} for name in names],
        "users": [
            {
                "name": name,
                "password_hash": Secret(rabbitmq_hash(ctx.secret(f"rabbitmq_{name}"))),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [],
            }
            for name in names
        ],
        "permissions": [{"user": name, "vhost": name, **rights} for name in names],
    }


def rabbitmq_hash(password: str) -> str:
    """Return a password as RabbitMQ stores it: base64 of a 4-byte salt and SHA-256 of salt and password."""
    salt = hashlib.sha256(b"saltern" + password.encode()).digest()[:4]
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def messaging_services(catalogue: Catalogue) -> Iterator[str]:
    """Yield the services that use the message bus."""
    for service in catalogue.values():
        files = [entry for part in service.parts() for entry in part.get("files", {}).values()]
        if any("messaging" in names(entry.get("uses", [])) for entry in files):
            yield service.name


def names(uses: list[Any]) -> list[str]:
    """Return the names of the groups in ``uses``, whose items are names or ``{name: parameters}``."""
    return [name for each in uses for name in (each if isinstance(each, Mapping) else [each])]


def haproxy(ctx: Context, params: Mapping[str, Any]) -> list[str]:
    """Return haproxy.cfg: TLS on the API address for each API of this host, clear text only on the loopback."""
    lines = list(params["lines"])
    for part in ctx.parts.values():
        for name, api in part.get("apis", {}).items():
            front = api.get("public_port", api["port"])
            lines += [
                "",
                f"listen {name}",
                f"    bind {ctx.site.api_address}:{front} ssl crt /etc/saltern/pki/api.pem",
                # Not among the defaults: a listen section cannot inherit rules.
                "    http-request set-header X-Forwarded-Proto https",
                *(f"    {line}" for line in api.get("haproxy", [])),
                f"    server {ctx.host.id} 127.0.0.1:{api['port']}",
            ]
    return lines


def firewall_openings(ctx: Context) -> list[dict[str, Any]]:
    """Return what this host's services let in: service, ports, protocol and sources (an empty list: everyone)."""
    result = []
    for service, part in ctx.parts.items():
        for opening in part.get("openings", {}).values():
            words = opening.get("from", ["management"])
            sources = _sources(ctx, words)
            if not sources and "any" not in words:
                continue  # nobody holds the role: an empty list would mean everyone
            result.append(
                {
                    "service": service,
                    "ports": list(opening["ports"]),
                    "proto": opening.get("proto", "tcp"),
                    "sources": sources,
                    **({"replies": True} if opening.get("replies") else {}),
                }
            )
    own = ctx.site.openings.items()
    return result + [
        {"service": name, "ports": list(each.ports), "proto": each.proto, "sources": list(each.sources)}
        for name, each in own
    ]


def _sources(ctx: Context, words: list[str]) -> list[str]:
    result: list[str] = []
    for word in words:
        if word in ROLES:
            result += [host.address for host in ctx.site.having(word)]
        elif word == "tunnels":
            result += [host.tunnel_address or host.address for host in ctx.site.having("compute")]
        elif word == "management":
            result.append(ctx.site.management.cidr)
        elif word == "admin":
            result += ctx.site.admin
        elif word == "boot":
            result.append(dnsmasq.boot_network(ctx.site).cidr)
        elif word == "unaddressed":
            result.append("0.0.0.0")  # noqa: S104 - whence a machine asks that has no address yet
    return result


def clouds(ctx: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return clouds.yaml with the administrator of the cloud."""
    auth = {
        "auth_url": api_url(ctx, "identity"),
        "username": "admin",
        "password": ctx.secret("identity_admin"),
        "project_name": "admin",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }
    cloud = {"auth": auth, "region_name": ctx.site.region, "cacert": CA_FILE, "identity_api_version": 3}
    return {"clouds": {params["name"]: cloud}}


def firewall(ctx: Context, params: Mapping[str, Any]) -> list[str]:
    """Return the nftables ruleset that opens only what this host's services need."""
    return ruleset(ctx.site.management.cidr, firewall_openings(ctx))


USES: Mapping[str, Callable[[Context, Mapping[str, Any]], Any]] = {
    each.__name__: each
    for each in (
        authtoken,
        boot_application,
        boot_server,
        client,
        clouds,
        database,
        firewall,
        haproxy,
        host_name,
        hosts_file,
        libvirt_peers,
        live_migration,
        messaging,
        rabbitmq_definitions,
        ssh_authorized,
        ssh_known,
        ssh_private,
        time_sources,
        uwsgi,
        uwsgi_unit,
    )
}
"""Groups by name."""
