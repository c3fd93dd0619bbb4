"""The operator's verbs as functions of files: the command line and the Salt runner only print what these return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from saltern import atomic, bootfiles, catalogue, dnsmasq, liveimage, mirrors, pki, planning, profiles, secrets, site
from saltern.answers import Sources
from saltern.catalogue import Catalogue
from saltern.derive import SECRET_FORMS
from saltern.errors import Problem, Problems, suggestion
from saltern.explain import explain as explained
from saltern.model import Host, Site
from saltern.profiles import Kickstart
from saltern.resolve import required_secrets, resolve

Read = TypeVar("Read")


DEFAULTS: Mapping[str, str] = {
    "site": "/etc/saltern/site.yaml",
    "secrets": "/etc/saltern/secrets.yaml",
    "catalogue": "/srv/saltern/pillar/services",
    "pki": pki.DIRECTORY,
}
"""Where things are, unless ``ext_pillar`` says otherwise."""


BOOT = str(Path(dnsmasq.DIRECTORY).parent)
"""Where boot files are on the deploy host."""


def configured(opts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what ``ext_pillar`` says of us; raise Problems where it does not name us at all."""
    entries = [each for each in opts.get("ext_pillar") or [] if "saltern" in each]
    if not entries or not isinstance(entries[0]["saltern"] or {}, Mapping):
        accepted = "an entry saltern; of its keys site, secrets, catalogue and pki each has a default"
        raise Problems([Problem("ext_pillar", opts.get("ext_pillar"), accepted)])
    found: Mapping[str, Any] = entries[0]["saltern"] or {}
    return found


@dataclass(frozen=True)
class Inputs:
    """The files that a cloud is made from; without a secrets file, secrets read ``<secret NAME>``."""

    site: Path
    catalogue: Path
    secrets: Path | None = None
    gpg_home: str | None = None
    pki: str = pki.DIRECTORY

    @classmethod
    def of(cls, opts: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> Inputs:
        """Return the files that a master is configured with, or a minion without one; each has a default.

        ``settings`` are those of ``ext_pillar``, where the caller was given them; keys are where Salt's own GPG
        renderer has its.
        """
        given = {**DEFAULTS, **(configured(opts) if settings is None else settings)}
        return cls(
            site=Path(given["site"]),
            catalogue=Path(given["catalogue"]),
            secrets=Path(given["secrets"]),
            gpg_home=str(opts.get("gpg_keydir") or Path(opts.get("config_dir") or "/etc/salt", "gpgkeys")),
            pki=str(given["pki"]),
        )

    def services(self) -> Catalogue:
        """Return the catalogue, or raise Problems."""
        return catalogue.load(self.catalogue)

    def load(self) -> tuple[Site, Catalogue]:
        """Return the site and the catalogue, or raise Problems."""
        services = self.services()
        names = {name: service.paths() for name, service in services.items()}
        return site.load(self.site, names, lambda: self.kickstart().profiles), services

    def kickstart(self) -> Kickstart:
        """Return what machines are installed with, which lies in the repository beside the catalogue."""
        return profiles.load(self.catalogue.parents[1] / "kickstart")

    def values(self) -> dict[str, str]:
        """Return the secrets, or none when there is no secrets file."""
        return secrets.read(self.secrets, gpg_home=self.gpg_home) if self.secrets else {}


def validate(inputs: Inputs) -> str:
    """Return one line about the site when it and its secrets are right; else raise Problems with all mistakes."""
    problems: list[Problem] = []
    described = _collected(problems, inputs.load)
    values = _collected(problems, inputs.values)
    if described is not None:
        if inputs.secrets and values is not None:
            problems += secrets.missing(values, required_secrets(*described))
        problems += _unrenderable(*described)
    if described is None or problems:
        raise Problems(problems)
    model = described[0]
    counts = ", ".join(f"{len(model.having(role))} {role}" for role in ("deploy", "controller", "compute"))
    return f"{inputs.site}: site {model.name} is valid: {len(model.hosts)} hosts ({counts})"


def _collected(problems: list[Problem], read: Callable[[], Read]) -> Read | None:
    try:
        return read()
    except Problems as found:
        problems += found.problems
        return None


def _unrenderable(model: Site, services: Catalogue) -> list[Problem]:
    """Return what keeps files from being rendered, on one host of each set of roles and each with overrides."""
    examples = {(host.roles, host.id if host.services else ""): host.id for host in model.hosts.values()}
    problems: list[Problem] = []
    for host_id in examples.values():
        try:
            planning.texts(resolve(model, services, planning.Placeholders(), host_id))
        except Problems as found:
            problems += (each for each in found.problems if each not in problems)
    return problems


def explain(inputs: Inputs, host: str, service: str, option: str) -> str:
    """Return what each layer says of an option on a host; raises Problems for names that do not exist."""
    model, services = inputs.load()
    return explained(resolve(model, services, planning.Placeholders(inputs.values()), host), service, option)


def plan(inputs: Inputs, hosts: Iterable[str] = ()) -> dict[str, dict[str, str]]:
    """Return the texts of all files of all hosts, or of those named, without secrets."""
    model, services = inputs.load()
    known = planning.Placeholders(inputs.values())
    chosen = [host.id for host in _chosen(model, hosts)] or list(model.hosts)
    return {host: planning.texts(resolve(model, services, known, host)) for host in chosen}


def _chosen(model: Site, names: Iterable[str]) -> list[Host]:
    """Return the hosts of these names, or raise Problems for those that do not exist."""
    chosen = list(names)
    if unknown := [host for host in chosen if host not in model.hosts]:
        raise Problems(Problem("hosts", host, suggestion(host, model.hosts)) for host in unknown)
    return [model.hosts[name] for name in chosen]


def boot_files(inputs: Inputs, hosts: Iterable[str] = (), out: str | None = None) -> dict[str, str]:
    """Return the text of each file that machines are installed with, by its path; with ``hosts`` only of those.

    ``out`` is where they are to be written.
    """
    found = boot_sources(inputs, out or BOOT)
    chosen = _chosen(found.site, hosts)
    if not chosen:
        return bootfiles.tree(found)
    return {path: text for host in chosen for path, text in bootfiles.host_files(found, host).items()}


def boot_sources(inputs: Inputs, out: str) -> Sources:
    """Return what boot files are made from; below ``out`` lie the root images whose hashes the files hold."""
    model, _ = inputs.load()
    kickstart = inputs.kickstart()
    images = liveimage.sums(Path(out, "boot"), dnsmasq.used(model, kickstart).values())
    return Sources(model, kickstart, mirrors.found(model.mirrors), images)


def write_tree(directory: Path, files: Mapping[str, str]) -> int:
    """Write files below a directory, where they are not the same already; return how many were written."""
    changed = {directory / path: text for path, text in files.items() if not same(directory / path, text)}
    try:
        for path, text in changed.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write(str(path), text, 0o644)
    except OSError as error:
        raise Problems([Problem(str(error.filename), error.strerror, "a place that can be written")]) from error
    return len(changed)


def same(path: Path, text: str) -> bool:
    """Return whether a file has this text, and is a file of its own."""
    # A link is what an operator put there for one installation: it goes, whatever it leads to.
    return path.is_file() and not path.is_symlink() and path.read_bytes() == text.encode()


def complete_secrets(inputs: Inputs) -> list[str]:
    """Add to the secrets file what the site needs and it lacks; return the names of the new secrets."""
    if inputs.secrets is None:
        raise Problems([Problem("secrets", None, "the path of the secrets file")])
    return secrets.complete(inputs.secrets, required_secrets(*inputs.load()), SECRET_FORMS)
