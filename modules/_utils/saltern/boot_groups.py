"""Groups of settings for the boot service on the deploy host: its web server, its application, who asks it for what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import dnsmasq
from .derive import Context

APPLICATION = "/run/saltern-boot/socket"
KEEPER = "/run/saltern-keeper/socket"
TREE = dnsmasq.DIRECTORY
CERTIFICATE = "/etc/saltern/pki/boot"

_HTTP = (
    "user www-data;",
    "worker_processes auto;",
    "pid /run/nginx.pid;",
    "error_log /var/log/nginx/error.log;",
    "events { worker_connections 4096; }",
    "http {",
    *(
        f"    {line}"
        for line in (
            "default_type application/octet-stream;",
            "access_log /var/log/nginx/access.log;",
            "server_tokens off;",
            "sendfile on;",
            "tcp_nopush on;",
            # GRUB leaves connections open and comes back with the same ports: the second start then gets no answer.
            "keepalive_timeout 0;",
            # A token in a body is never put into a file on its way: it fits into memory, or is refused.
            "client_max_body_size 16k;",
            "client_body_buffer_size 16k;",
            "limit_req_zone $binary_remote_addr zone=machines:10m rate=10r/s;",
            "limit_req_status 429;",
            "uwsgi_param REQUEST_METHOD $request_method;",
            "uwsgi_param PATH_INFO $uri;",
            "uwsgi_param QUERY_STRING '';",
            "uwsgi_param CONTENT_LENGTH $content_length;",
            "uwsgi_param REMOTE_ADDR $remote_addr;",
            "uwsgi_param SERVER_NAME $server_name;",
            "uwsgi_param SERVER_PORT $server_port;",
            "uwsgi_param SERVER_PROTOCOL $server_protocol;",
            "uwsgi_param HTTPS $https if_not_empty;",
        )
    ),
)
_ASKED = (
    "limit_req zone=machines burst=100;",
    f"uwsgi_pass unix:{APPLICATION};",
    # An answer with a token in it is never put into a file on its way.
    "uwsgi_max_temp_file_size 0;",
    "uwsgi_read_timeout 150s;",
)


def boot_server(ctx: Context, params: Mapping[str, Any]) -> list[str]:
    """Return nginx.conf: files as they are, all that takes a decision to the application; on the boot network alone.

    Reference: https://nginx.org/en/docs/ (core, http, ssl, uwsgi, limit_req).
    """
    address = dnsmasq.boot_address(ctx.site, ctx.host)
    return [*_HTTP, "", "    server {", *_indented(_plain(address)), "    }", "",
            "    server {", *_indented(_trusted(address)), "    }", "}"]  # fmt: skip


def _plain(address: str) -> list[str]:
    """Return the server of what machines read before there is any trust."""
    return [
        f"listen {address}:{dnsmasq.PORT};",
        f"root {TREE};",
        # GET brings HEAD with it, which UEFI HTTP boot asks first.
        *_location("/", "limit_except GET { deny all; }"),
        # Whatever is wrong with the service: a machine then starts from its disk.
        *_location("/nodes/", *_ASKED, "error_page 429 502 503 504 = @disk;"),
        *_location("@disk", "limit_except GET { deny all; }"),
        *_location("/answers/", *_ASKED),
        *_location("/tree/", "internal;", f"alias {TREE}/;"),
    ]


def _trusted(address: str) -> list[str]:
    """Return the server of what machines say in confidence."""
    return [
        f"listen {address}:{dnsmasq.TLS_PORT} ssl;",
        f"ssl_certificate {CERTIFICATE}.crt;",
        f"ssl_certificate_key {CERTIFICATE}.key;",
        "ssl_protocols TLSv1.2 TLSv1.3;",
        *_location("/", "return 404;"),
        *_location("/exchange/", *_ASKED),
        *_location("/progress/", *_ASKED),
    ]


def _location(path: str, *lines: str) -> list[str]:
    return [f"location {path} {{", *(f"    {line}" for line in lines), "}"]


def _indented(lines: list[str]) -> list[str]:
    return [f"        {line}" for line in lines]


def boot_application(ctx: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of the application's uWSGI: a socket that nginx may open, and no other way in."""
    settings = {
        "socket": APPLICATION,
        "chown-socket": "saltern-boot:www-data",
        "chmod-socket": "660",
        "plugins": "python3",
        "pythonpath": params["code"],
        "module": "saltern.bootapp",
        "env": [f"SALTERN_KEEPER={KEEPER}"],
        "master": True,
        "need-app": True,
        "die-on-term": True,
        "no-orphans": True,
        "close-on-exec": True,
        # It only waits for the keeper: threads, as many as machines that knock at once.
        "processes": 1,
        "threads": 32,
        "listen": 100,
        # nginx has a log of its own, without what requests carry.
        "disable-logging": True,
    }
    return {"uwsgi": settings}
