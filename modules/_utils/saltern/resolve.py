"""From a site file and the catalogue to the plan of one host: everything that the host is to have, nothing more.

The plan is what the host's pillar holds. It is the same data on the master, offline and in tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import candidate
from .catalogue import CHOICES, UWSGI_CHECK, Catalogue, Service, drop_in_path, under_uwsgi, uwsgi_path
from .derive import PLACEHOLDER, Context, Part, filled, split_facts
from .errors import Problem, Problems, SalternError, suggestion
from .groups import USES, firewall_openings, names
from .layers import WRITTEN, Layered, Secret, asked, given, overlaid, plain, provenance, secret_names
from .model import Host, Site
from .registration import resources

FILE_DEFAULTS: Mapping[str, Any] = {"kind": "lines", "user": "root", "group": "root", "mode": "0644"}


@dataclass(frozen=True)
class FilePlan:
    """A file as it is to be: how it is rendered, from what, who may read it, and what each layer said."""

    kind: str
    settings: Any
    secret: tuple[str, ...] = ()
    user: str = "root"
    group: str = "root"
    mode: str = "0644"
    check: tuple[str, ...] = ()
    validate: tuple[str, ...] = ()
    layered: Layered = ()

    @property
    def layers(self) -> dict[tuple[str, str], list[tuple[str, Any]]]:
        """What each layer said of each ``(section, option)``."""
        return provenance(self.kind, self.layered)

    def as_data(self) -> dict[str, Any]:
        """Return the file as plain data for the pillar."""
        return {
            "kind": self.kind,
            "settings": plain(self.settings),
            "secret": list(self.secret),
            "user": self.user,
            "group": self.group,
            "mode": self.mode,
            "check": list(self.check),
            "validate": list(self.validate),
        }


@dataclass(frozen=True)
class ServicePlan:
    """What one host has of one service."""

    name: str
    tier: str
    part: Mapping[str, Any]
    files: Mapping[str, FilePlan]

    @property
    def packages(self) -> list[str]:
        """The packages of the service on this host."""
        return list(self.part.get("packages", []))

    @property
    def certificates(self) -> Mapping[str, Any]:
        """The certificates of the service on this host, by name."""
        return dict(self.part.get("certificates", {}))

    def as_data(self) -> dict[str, Any]:
        """Return the service as plain data for the pillar; ``apis`` have become files, units and openings by now."""
        kept = {key: value for key, value in self.part.items() if key not in ("files", "openings")}
        return {"tier": self.tier, **plain(kept), "files": {path: each.as_data() for path, each in self.files.items()}}


@dataclass(frozen=True)
class HostPlan:
    """Everything that one host is to have."""

    site: Site
    host: Host
    services: Mapping[str, ServicePlan]
    openings: list[dict[str, Any]]
    resources: list[dict[str, Any]] = field(default_factory=list)
    secrets: Mapping[str, str] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """Return the plan as the host's pillar holds it, with the secrets that the host needs and no others."""
        return {
            "site": self.site.name,
            "host": self.host.id,
            "fqdn": self.site.fqdn(self.host),
            "address": self.host.address,
            "roles": list(self.host.roles),
            "services": {name: service.as_data() for name, service in self.services.items()},
            "openings": self.openings,
            "resources": plain(self.resources),
            "secrets": {name: str(value) for name, value in sorted(self.secrets.items())},
        }


def resolve(site: Site, catalogue: Catalogue, secrets: Mapping[str, str], host_id: str) -> HostPlan:
    """Return the plan of a host.

    Raises Problems when the site has no such host, and for every secret that the host needs and the mapping lacks.
    """
    if host_id not in site.hosts:
        raise Problems([Problem("hosts", host_id, suggestion(host_id, site.hosts))])
    host, used, missing = site.hosts[host_id], {}, []

    def secret(name: str) -> Secret:
        try:
            value = Secret(secrets[name])
        except KeyError:
            missing.append(name)
            return Secret(f"{PLACEHOLDER}{name}>")
        used[name] = value
        return value

    parts = _parts(site, catalogue, host)
    context = Context(site, host, catalogue, parts, secret)
    services = {name: _service(context, catalogue[name], part) for name, part in parts.items()}
    objects = resources(context) if host in site.having("controller")[:1] else []
    if missing:
        raise Problems(
            Problem(f"secrets:{name}", None, "missing; `./saltern init` or `salt-run saltern.secrets` makes it")
            for name in sorted(set(missing))
        )
    openings = [each for each in firewall_openings(context) if "replies" not in each]
    return HostPlan(site, host, services, openings, objects, used)


def required_secrets(site: Site, catalogue: Catalogue) -> list[str]:
    """Return the names of all secrets that the hosts of a site need, each once, sorted."""
    found: set[str] = set()

    class Asked(dict[str, str]):
        def __missing__(self, name: str) -> str:
            found.add(name)
            return f"{PLACEHOLDER}{name}>"

    # what hosts have of their own may ask for more; a word that only looks like it costs a resolution
    asking = {host.id for host in site.hosts.values() if "'secret'" in str(host.services)}
    hosts = reversed(list(site.hosts.values()))
    examples = {(host.roles, host.id if host.id in asking else ""): host.id for host in hosts}
    leaders = {host.id for host in site.having("controller")[:1]}
    for host_id in {*examples.values(), *leaders}:
        resolve(site, catalogue, Asked(), host_id)
    return sorted(found)


def _parts(site: Site, catalogue: Catalogue, host: Host) -> dict[str, Part]:
    """Return what a host has of each service; a unit that one role keeps off and another one runs is run."""
    parts = {name: part for name, service in catalogue.items() if (part := _part(site, service, host)) is not None}
    running = {unit for part in parts.values() for unit in part.get("units", {})}
    for part in parts.values():
        if "masked" in part:
            part["masked"] = [unit for unit in part["masked"] if unit not in running]
    return dict(parts)


def _part(site: Site, service: Service, host: Host) -> dict[str, Any] | None:
    """Return the service's part for a host, its APIs turned into files, units and openings.

    A step that is not for hosts with another role (``unless_role``) is left out there.
    """
    choices = {option: getattr(host if hasattr(host, option) else site, option) for option in CHOICES}
    part = service.part(host.roles, choices)
    if part and "steps" in part:
        part["steps"] = [step for step in part["steps"] if step.get("unless_role") not in host.roles]
    if part is None or "apis" not in part:
        return part
    result = {**part, **{key: dict(part.get(key, {})) for key in ("files", "units", "openings")}}
    for name, api in part["apis"].items():
        path, reads = uwsgi_path(name), list(api.get("reads", []))
        if under_uwsgi(api):
            uses = [{"uwsgi": {"api": name, **api}}]
            result["files"][path] = {"kind": "ini", "uses": uses, "validate": UWSGI_CHECK}
            reads.append(path)
        if under_uwsgi(api) and not api.get("own_unit"):
            result["files"][drop_in_path(api)] = {"kind": "ini", "uses": [{"uwsgi_unit": {"api": name}}]}
        probe = {"kind": "http", "url": f"http://127.0.0.1:{api['port']}{api.get('probe', '/')}"}
        probe["status"] = api.get("status", [200, 300])
        result["units"][api["unit"]] = {"reads": reads, "probe": probe}
        front = api.get("public_port", api["port"])
        result["openings"][name] = {"ports": [front], "from": api.get("from", ["any"])}
    return result


def _service(context: Context, service: Service, part: Part) -> ServicePlan:
    ctx = Context(context.site, context.host, context.catalogue, context.parts, context.secret, service.name)
    files = {path: _file(ctx, path, entry) for path, entry in part.get("files", {}).items()}
    rest = filled(ctx, {key: value for key, value in part.items() if key not in ("files", "apis", "openings")})
    return ServicePlan(service.name, service.tier, rest, files)


def _file(ctx: Context, path: str, entry: Mapping[str, Any]) -> FilePlan:
    kind = entry.get("kind", "lines")
    said = entry.get("settings", {})
    from_facts, written = ({}, said) if kind == "lines" else split_facts(ctx, said)
    derived = _used(ctx, entry.get("uses", []), from_facts)
    layered: Layered = (
        ("derived", derived),
        ("catalogue", written),
        ("site", asked(kind, _override(ctx.site.services, ctx.service, path))),
        ("host", asked(kind, _override(ctx.host.services, ctx.service, path))),
    )
    layered = tuple((layer, settings) for layer, settings in layered if settings)
    settings: Any = {}
    for _, each in layered:
        settings = overlaid(settings, each)
    if set(dict(layered)) & set(WRITTEN):
        settings = given(settings, ctx.secret)
    attributes = {key: entry.get(key, default) for key, default in FILE_DEFAULTS.items()}
    return FilePlan(
        settings=settings,
        secret=secret_names(kind, layered),
        check=tuple(entry.get("check", ())),
        validate=candidate.checker(entry.get("validate", ())),
        layered=layered,
        **attributes,
    )


def _used(ctx: Context, uses: Iterable[Any], start: dict[str, Any]) -> Any:
    result: Any = start
    for each in uses:
        for name, params in each.items() if isinstance(each, Mapping) else [(each, {})]:
            if name not in USES:
                raise Problems([Problem(f"{ctx.service}:uses", name, suggestion(name, USES))])
            result = overlaid(result, USES[name](ctx, params or {}))
    return result


def _override(services: Mapping[str, Any], service: str, path: str) -> Any:
    return ((services.get(service) or {}).get("files") or {}).get(path) or {}


__all__ = ["FilePlan", "HostPlan", "SalternError", "ServicePlan", "names", "required_secrets", "resolve"]
