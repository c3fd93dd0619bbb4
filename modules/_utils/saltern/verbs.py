"""The operator's verbs as functions of files: the command line and the Salt runner only print what these return."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from saltern import catalogue, planning, secrets, site
from saltern.catalogue import Catalogue
from saltern.derive import SECRET_FORMS
from saltern.errors import Problem, Problems, suggestion
from saltern.explain import explain as explained
from saltern.model import Site
from saltern.resolve import required_secrets, resolve

Read = TypeVar("Read")


@dataclass(frozen=True)
class Inputs:
    """The files that a cloud is made from; without a secrets file, secrets read ``<secret NAME>``."""

    site: Path
    catalogue: Path
    secrets: Path | None = None
    gpg_home: str | None = None

    def services(self) -> Catalogue:
        """Return the catalogue, or raise Problems."""
        return catalogue.load(self.catalogue)

    def load(self) -> tuple[Site, Catalogue]:
        """Return the site and the catalogue, or raise Problems."""
        services = self.services()
        return site.load(self.site, {name: service.paths() for name, service in services.items()}), services

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
    chosen = list(hosts) or list(model.hosts)
    if unknown := [host for host in chosen if host not in model.hosts]:
        raise Problems(Problem("hosts", host, suggestion(host, model.hosts)) for host in unknown)
    known = planning.Placeholders(inputs.values())
    return {host: planning.texts(resolve(model, services, known, host)) for host in chosen}


def complete_secrets(inputs: Inputs) -> list[str]:
    """Add to the secrets file what the site needs and it lacks; return the names of the new secrets."""
    if inputs.secrets is None:
        raise Problems([Problem("secrets", None, "the path of the secrets file")])
    return secrets.complete(inputs.secrets, required_secrets(*inputs.load()), SECRET_FORMS)
