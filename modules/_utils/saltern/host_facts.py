"""What a host is, beside what its plan wants: read in one go, without a secret, for those who verify.

Nothing here decides. Each reader takes the host's plan and returns plain data; readers run side by side.
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import re
import socket
import ssl
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from saltern import managed_file, pki
from saltern.errors import SalternError
from saltern.render import redact

Plan = Mapping[str, Any]
Run = Callable[..., str]

EXPOSED_ROOTS = ("/etc", "/var", "/run", "/tmp", "/opt", "/srv", "/usr/local", "/home", "/root")  # noqa: S108
EXPOSED_SKIPPED = frozenset(
    {"/var/lib/dpkg", "/var/lib/apt", "/var/lib/python", "/var/cache/apt", "/opt/saltern/salt", "/run/udev"}
)
"""What packages, or their manager, have written: most of the files, and none of them knows a secret."""
EXPOSED_SKIPPED_NAMES = frozenset({".git", ".venv"})
"""In a clone of this repository: what it has packed, and the front door's environment."""
EXPOSED_SIZE = 4 << 20
UNIT_PROPERTIES = "Id,LoadState,ActiveState,SubState,UnitFileState,MainPID,NRestarts"
LINK_LOCAL = "169.254.169.254"


def run(*words: str, timeout: float = 60) -> str:
    """Return what a program printed, empty when it failed or is not installed."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def gather(plan: Plan) -> dict[str, Any]:
    """Return all facts of this host by reader; a reader that broke leaves its error's text."""
    with ThreadPoolExecutor(len(READERS)) as pool:
        futures = {name: pool.submit(reader, plan) for name, reader in READERS.items()}
    return {name: _result(future, plan) for name, future in futures.items()}


def _result(future: Future[Any], plan: Plan) -> Any:
    error = future.exception()
    return future.result() if error is None else redact(f"{type(error).__name__}: {error}", plan.get("secrets", {}))


def services(plan: Plan) -> Mapping[str, Any]:
    """Return the services of a plan."""
    return dict(plan.get("services", {}))


def entries(plan: Plan, kind: str) -> Iterator[tuple[str, str, Any]]:
    """Yield ``(service, name, entry)`` of all files, units or certificates of a plan."""
    for service, part in services(plan).items():
        found = part.get(kind) or {}
        yield from ((service, name, found[name] if isinstance(found, Mapping) else None) for name in found)


def sockets(plan: Plan) -> list[dict[str, Any]]:
    """Return who listens where."""
    return parse_sockets(run("ss", "-Hltunp"))


def parse_sockets(text: str) -> list[dict[str, Any]]:
    """Return the listeners that ``ss -Hltunp`` printed: protocol, address, port, program."""
    found = []
    for line in text.splitlines():
        fields = line.split(None, 6)
        if len(fields) < 6:
            continue
        address, _, port = fields[4].rpartition(":")
        program = re.search(r'"([^"]+)"', fields[6] if len(fields) > 6 else "")
        address = address.strip("[]").partition("%")[0].removeprefix("::ffff:")
        name = program[1] if program else "kernel"
        found.append({"proto": fields[0], "address": address, "port": int(port), "program": name})
    return found


def units(plan: Plan) -> dict[str, dict[str, str]]:
    """Return the state of each unit that the plan wants running or never running."""
    names = sorted({name for kind in ("units", "masked") for _, name, _ in entries(plan, kind)})
    if not names:
        return {}
    asked = run("systemctl", "show", "--all", "-p", UNIT_PROPERTIES, *names)
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in asked.strip().split("\n\n")]
    return dict(zip(names, blocks, strict=False))


def failed(plan: Plan) -> list[str]:
    """Return the units that have failed."""
    words = run("systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager")
    return [line.split()[0] for line in words.splitlines() if line.strip()]


def files(plan: Plan) -> dict[str, dict[str, Any] | None]:
    """Return owner, mode and content's hash of each file of the plan, and how it differs, without secrets."""
    return {path: _file(path, spec, plan.get("secrets", {})) for _, path, spec in entries(plan, "files")}


def _file(path: str, spec: Mapping[str, Any], secrets: Mapping[str, Any]) -> dict[str, Any] | None:
    found = status(path)
    if found is not None:
        found["sha256"] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        found["changes"] = managed_file.ManagedFile.from_plan(path, spec).changes(secrets)
    return found


def status(path: str) -> dict[str, Any] | None:
    """Return owner, group and mode of a regular file, or None when there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    user, group = managed_file.named(pwd.getpwuid, found.st_uid), managed_file.named(grp.getgrgid, found.st_gid)
    return {"user": user, "group": group, "mode": f"{stat.S_IMODE(found.st_mode):04o}"}


def certificates(plan: Plan) -> dict[str, dict[str, Any]]:
    """Return each certificate of the plan with its authority as they are on disk, and who may read its key."""
    return {name: _certificate(spec) for _, name, spec in entries(plan, "certificates")}


def _certificate(spec: Mapping[str, Any]) -> dict[str, Any]:
    texts = {name: _text(spec.get(name)) for name in ("cert", "ca_file")}
    key, cert = pki.load_key(_text(spec.get("key"))), pki.load_certificate(texts["cert"])
    paired = key is not None and cert is not None and key.public_key() == cert.public_key()
    readers = {name: status(spec[name]) for name in ("key", "bundle") if spec.get(name)}
    return {**texts, "paired": paired, "readers": readers}


def _text(path: str | None) -> str:
    try:
        return Path(path).read_text(errors="replace") if path else ""
    except OSError:
        return ""


def packages(plan: Plan) -> dict[str, str]:
    """Return the version of each package of the plan, empty when it is not installed."""
    names = sorted({name for part in services(plan).values() for name in part.get("packages", ())})
    form = "${binary:Package} ${db:Status-Status} ${Version}\n"
    # dpkg-query fails as a whole when one name is unknown: all are asked.
    fields = [line.split() for line in run("dpkg-query", "-W", "-f", form).splitlines()]
    installed = {each[0].partition(":")[0]: each[2] for each in fields if len(each) == 3 and each[1] == "installed"}
    return {name: installed.get(name, "") for name in names}


def firewall(plan: Plan) -> dict[str, list[str]]:
    """Return the rules of our table as loaded, and as the file means them (loaded in a network of its own)."""
    listing = ("nft", "-s", "list", "table", "inet", "saltern")
    inner = f"nft -f /etc/nftables.conf && {' '.join(listing)}"
    return {
        "loaded": run(*listing).splitlines(),
        "file": run("unshare", "--net", "sh", "-c", inner).splitlines(),
    }


def clock(plan: Plan) -> dict[str, Any]:
    """Return whom chrony follows and how far the clock is off, in seconds."""
    fields = run("chronyc", "-c", "tracking").strip().split(",")
    sources = [line.split(",")[2] for line in run("chronyc", "-c", "-n", "sources").splitlines() if line]
    if len(fields) < 6:
        return {"reference": "", "stratum": 0, "offset": None, "sources": sources}
    return {"reference": fields[1], "stratum": int(fields[2]), "offset": float(fields[4]), "sources": sources}


def routes(plan: Plan) -> dict[str, str]:
    """Return where this host would send packets for the metadata address."""
    return {"metadata": run("ip", "route", "get", LINK_LOCAL).partition("\n")[0].strip()}


def switch(plan: Plan) -> dict[str, Any]:
    """Return the bridges of Open vSwitch with their ports, and the chassis' settings."""
    if "openvswitch" not in services(plan):
        return {}
    bridges = run("ovs-vsctl", "list-br").split()
    text = run("ovs-vsctl", "--format=json", "--columns=external_ids", "list", "Open_vSwitch")
    rows = json.loads(text)["data"] if text else []
    settings = dict(rows[0][0][1]) if rows else {}
    return {"bridges": {name: run("ovs-vsctl", "list-ports", name).split() for name in bridges}, "settings": settings}


def messaging(plan: Plan) -> dict[str, Any]:
    """Return RabbitMQ's queues and policies by vhost."""
    if "rabbitmq" not in services(plan):
        return {}
    ask = ("rabbitmqctl", "-q", "--formatter", "json")
    names = [each["name"] for each in json.loads(run(*ask, "list_vhosts", "name") or "[]")]

    def of(vhost: str) -> tuple[str, dict[str, Any]]:
        queues = run(*ask, "list_queues", "--vhost", vhost, "name", "type", "durable", "consumers")
        policies = run(*ask, "list_policies", "--vhost", vhost)
        return vhost, {"queues": json.loads(queues or "[]"), "policies": json.loads(policies or "[]")}

    with ThreadPoolExecutor(2) as pool:
        return dict(pool.map(of, names))


def exposed(plan: Plan) -> list[str]:
    """Return the paths of files that everyone on this host may read and that hold one of the plan's secrets.

    Those larger than ``EXPOSED_SIZE`` are not read.
    """
    needles = [needle.encode() for value in plan.get("secrets", {}).values() if (needle := _needle(str(value)))]
    return sorted(path for path in _open_files() if _holds(path, needles))


def _needle(secret: str) -> str:
    line = max(secret.splitlines() or [""], key=len)
    return line if len(line) >= 8 else ""


def _open_files() -> Iterator[str]:
    for root in filter(_enterable, EXPOSED_ROOTS):
        for folder, names, leaves in os.walk(root):
            names[:] = [name for name in names if _enterable(os.path.join(folder, name))]
            yield from (os.path.join(folder, leaf) for leaf in leaves)


def _enterable(folder: str) -> bool:
    try:
        mode = os.lstat(folder).st_mode
    except OSError:
        return False
    skipped = folder in EXPOSED_SKIPPED or os.path.basename(folder) in EXPOSED_SKIPPED_NAMES
    return not skipped and stat.S_ISDIR(mode) and bool(mode & stat.S_IXOTH)


def _holds(path: str, needles: Sequence[bytes]) -> bool:
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or not found.st_mode & stat.S_IROTH or found.st_size > EXPOSED_SIZE:
            return False
        content = Path(path).read_bytes()
    except OSError:
        return False
    return any(needle in content for needle in needles)


def reach(targets: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return, for each target, what this host meets there; see :func:`meet`."""
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(meet, targets))


def meet(target: Mapping[str, Any]) -> str:
    """Return what answers at ``host`` and ``port``: ``closed``, or by ``mode`` its first words.

    Modes: ``tcp`` (says ``open``), ``http`` (a request in clear text; the status line or ``silent``), ``banner`` (waits
    for the other side's first bytes, in hexadecimal), ``tls`` (with ``ca_file``, ``cert`` and ``key`` when given;
    ``verified``, or why not).
    """
    try:
        with socket.create_connection((target["host"], int(target["port"])), timeout=3) as channel:
            return MEETINGS[str(target["mode"])](channel, target)
    except OSError as error:
        return f"closed: {error}"
    except KeyError as error:
        raise SalternError(f"mode: {target.get('mode')!r}: accepted: {', '.join(MEETINGS)}") from error


def _open(channel: socket.socket, target: Mapping[str, Any]) -> str:
    return "open"


def _http(channel: socket.socket, target: Mapping[str, Any]) -> str:
    try:
        channel.sendall(f"GET / HTTP/1.0\r\nHost: {target['host']}\r\n\r\n".encode())
        return channel.recv(200).decode(errors="replace").splitlines()[0]
    except (OSError, IndexError):
        return "silent"


def _banner(channel: socket.socket, target: Mapping[str, Any]) -> str:
    try:
        return channel.recv(128).hex()
    except OSError:
        return "silent"


def _tls(channel: socket.socket, target: Mapping[str, Any]) -> str:
    try:
        context = ssl.create_default_context(cafile=target.get("ca_file"))
        if target.get("cert"):
            context.load_cert_chain(target["cert"], target["key"])
        with context.wrap_socket(channel, server_hostname=target.get("name") or target["host"]) as secured:
            # TLS 1.3 tells only after the handshake that a client's certificate is refused.
            secured.settimeout(1.5)
            return "verified" if _still_there(secured) else "refused: closed after the handshake"
    except OSError as error:
        return f"refused: {error}"


def _still_there(secured: ssl.SSLSocket) -> bool:
    try:
        return bool(secured.recv(1))
    except TimeoutError:
        return True


MEETINGS: Mapping[str, Callable[[socket.socket, Mapping[str, Any]], str]] = {
    "tcp": _open,
    "http": _http,
    "banner": _banner,
    "tls": _tls,
}
READERS: Mapping[str, Callable[[Plan], Any]] = {
    each.__name__: each
    for each in (
        sockets,
        units,
        failed,
        files,
        certificates,
        packages,
        firewall,
        clock,
        routes,
        switch,
        messaging,
        exposed,
    )
}
