"""What every host is to have, rendered without a minion, and how that differs from what it has now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from difflib import unified_diff
from functools import lru_cache

from saltern import masking, render
from saltern.catalogue import Catalogue
from saltern.derive import PLACEHOLDER
from saltern.errors import Problem, Problems
from saltern.model import Site
from saltern.resolve import FilePlan, HostPlan, resolve

Texts = Mapping[str, str | None]
"""The text of each file by its path; None where there is no such file."""


_BETWEEN = "\n\0\n"


class Placeholders(dict[str, str]):
    """Secrets of which some are absent: each of those reads ``<secret NAME>``."""

    def __missing__(self, name: str) -> str:
        """Return the placeholder of an absent secret."""
        return f"{PLACEHOLDER}{name}>"


def plan(site: Site, catalogue: Catalogue, secrets: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the text of each file of each host, without secrets; absent ones need not be in the mapping."""
    return dict(plans(site, catalogue, secrets))


def plans(site: Site, catalogue: Catalogue, secrets: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each host and the texts of its files, without secrets, one host at a time."""
    known = Placeholders(secrets)
    for host_id in site.hosts:
        yield host_id, texts(resolve(site, catalogue, known, host_id))


def texts(plan: HostPlan) -> dict[str, str]:
    """Return the text of each file of one host, without secrets."""
    found = {
        path: _text(service.name, path, file)
        for service in plan.services.values()
        for path, file in service.files.items()
    }
    # In one go: looking for every form of every secret costs more than most files do.
    shown = masking.redacted(_BETWEEN.join(found.values()), plan.secrets).split(_BETWEEN)
    return dict(zip(found, shown, strict=True)) if found else {}


def _text(service: str, path: str, file: FilePlan) -> str:
    try:
        return _rendered(file)
    except Problems as found:
        where = f"services:{service}:files:{path}"
        raise Problems(Problem(f"{where}:{each.path}", each.value, each.accepted) for each in found.problems) from None


def _rendered(file: FilePlan) -> str:
    secret = frozenset(file.secret)
    if isinstance(file.settings, list) and all(isinstance(line, str) for line in file.settings):
        return _rendered_list(file.kind, tuple(file.settings), secret)
    return render.render(file.kind, file.settings, secret, redact=True)


@lru_cache(maxsize=64)
def _rendered_list(kind: str, lines: tuple[str, ...], secret: Set[str]) -> str:
    """Return the text of a file that many hosts have alike; it has a line for each host of the site."""
    return render.render(kind, list(lines), secret, redact=True)


def whole(files: Texts) -> str:
    """Return files one below the other, each under its path."""
    return "\n".join(f"==> {path} <==\n{text}" for path, text in files.items() if text is not None)


def diff(wanted: Mapping[str, Texts], applied: Mapping[str, Texts]) -> dict[str, str]:
    """Return the unified diff of each host's files, from what is applied to what is wanted; "" where all is as planned.

    A host that did not say what it has is left out.
    """
    return {host: host_diff(files, applied[host]) for host, files in wanted.items() if host in applied}


def host_diff(wanted: Texts, applied: Texts) -> str:
    """Return the unified diff of one host's files."""
    return "".join(_file_diff(path, applied.get(path), text) for path, text in wanted.items())


def _file_diff(path: str, old: str | None, new: str | None) -> str:
    before, after = (text.splitlines() if text is not None else [] for text in (old, new))
    source = path if old is not None else "/dev/null"
    return "".join(f"{line}\n" for line in unified_diff(before, after, source, path, lineterm="", n=2))
