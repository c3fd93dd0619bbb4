"""The catalogue: one data file a service, read once and checked for its shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import candidate, yamlfile
from .errors import Problem, Problems, suggestion
from .model import ROLES

TIERS = ("infrastructure", "identity", "service", "dashboard")
"""The order in which services are started on a host; API objects are registered after ``identity``."""

PART_KEYS: Mapping[str, type] = {
    "packages": list,
    "masked": list,
    "units": dict,
    "apis": dict,
    "files": dict,
    "certificates": dict,
    "databases": dict,
    "openings": dict,
    "steps": list,
}
"""What a part of a service may hold, and the type of each."""
FILE_KEYS = ("kind", "user", "group", "mode", "check", "validate", "uses", "settings")
"""What is said of a file."""
UWSGI_CHECK = ["/usr/bin/uwsgi_python3", "--strict", "--ini", candidate.WORD, "--version"]
"""What refuses an option that uWSGI does not know: at a start it passes over it without a word."""
STEP_KEYS = ("id", "phase", "state", "arguments", "unless_role")
"""What a step may hold; the first three it must."""
PHASES = ("network", "schema", "wait", "final")
"""When a step may come in a host's run."""
_A_MAPPING = "accepted: a mapping (key: value lines)"
_A_CHECKER = (
    f"accepted: a list of words, a program's path first, {candidate.WORD} where the candidate's path goes;"
    f" or one of {', '.join(candidate.CHECKERS)}"
)


@dataclass(frozen=True)
class Service:
    """One service: what each role of a host brings of it."""

    name: str
    description: str
    tier: str = "service"
    after: tuple[str, ...] = ()
    common: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    variants: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]] = field(default_factory=dict)
    """Site option → its value → role → what that choice adds."""

    def part(self, roles: Iterable[str], choices: Mapping[str, str] | None = None) -> dict[str, Any] | None:
        """Return all that a host with these roles gets of the service, or None when it gets nothing.

        ``choices`` are the site's options by which variants are chosen, ``{"live_migration": "tls"}``.
        """
        held = [role for role in ROLES if role in roles and role in self.roles]
        if not held:
            return None
        chosen = [variants.get((choices or {}).get(option, ""), {}) for option, variants in self.variants.items()]
        result = merged({}, self.common)
        for by_role in (self.roles, *chosen):
            for role in held:
                result = merged(result, by_role.get(role, {}))
        return result or None

    def parts(self) -> list[Mapping[str, Any]]:
        """Return all parts of the service, whatever the role and the choices."""
        variants = [part for values in self.variants.values() for roles in values.values() for part in roles.values()]
        return [self.common, *self.roles.values(), *variants]

    def paths(self) -> set[str]:
        """Return the path of every file that the service has on any role, APIs' files included."""
        parts = self.parts()
        paths = {path for part in parts for path in part.get("files", {})}
        apis = {name: api for part in parts for name, api in part.get("apis", {}).items()}
        paths |= {drop_in_path(api) for api in apis.values() if under_uwsgi(api) and not api.get("own_unit")}
        return paths | {uwsgi_path(name) for name, api in apis.items() if under_uwsgi(api)}


Catalogue = Mapping[str, Service]


def uwsgi_path(api: str) -> str:
    """Return the path of the uWSGI configuration of an API."""
    return f"/etc/saltern/uwsgi/{api}.ini"


def drop_in_path(api: Mapping[str, Any]) -> str:
    """Return the path of the drop-in that makes a packaged unit start an API our way."""
    return f"/etc/systemd/system/{api['unit']}.d/saltern.conf"


def under_uwsgi(api: Mapping[str, Any]) -> bool:
    """Return whether an API runs under uWSGI, or is a daemon with a server of its own."""
    return "wsgi" in api


def merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Return two parts as one: mappings merge, lists are joined without repeats, all else of the second wins."""
    result = dict(low)
    for key, value in high.items():
        before = result.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            result[key] = merged(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            result[key] = [*before, *(each for each in value if each not in before)]
        else:
            result[key] = value
    return result


def load(directory: Path) -> Catalogue:
    """Return the services of a directory by name, each after those it names in ``after``.

    Raises Problems that name every file, key and value that is not accepted.
    """
    problems: list[Problem] = []
    services = {path.stem: _service(path, problems) for path in sorted(directory.glob("*.yaml"))}
    for service in services.values():
        problems += [
            Problem(f"{service.name}:after", other, suggestion(other, services))
            for other in service.after
            if other not in services
        ]
    if problems:
        raise Problems(problems)
    return _ordered(services)


KEYS = ("description", "tier", "after", "common", "roles", "variants")
CHOICES = ("live_migration", "installing", "networking")
"""Options of the site or of a host, or facts about it, by which a service may vary."""


def _service(path: Path, problems: list[Problem]) -> Service:
    data = yamlfile.load(path)
    problems += [Problem(f"{path.stem}:{key}", None, suggestion(key, KEYS)) for key in data if key not in KEYS]
    tier, after = data.get("tier", "service"), data.get("after") or []
    if tier not in TIERS:
        problems.append(Problem(f"{path.stem}:tier", tier, f"accepted: {', '.join(TIERS)}"))
    if not isinstance(after, list):
        problems.append(Problem(f"{path.stem}:after", after, "accepted: a list of services"))
        after = []
    return Service(
        name=path.stem,
        description=str(data.get("description", "")),
        tier=str(tier),
        after=tuple(map(str, after)),
        common=_part(f"{path.stem}:common", data.get("common"), problems),
        roles=_roles(f"{path.stem}:roles", data.get("roles"), problems),
        variants=_variants(f"{path.stem}:variants", data.get("variants"), problems),
    )


def _variants(path: str, value: Any, problems: list[Problem]) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    found = _mapping(path, value, problems)
    problems += [Problem(path, option, suggestion(option, CHOICES)) for option in found if option not in CHOICES]
    return {
        option: {
            str(choice): _roles(f"{path}:{option}:{choice}", roles, problems)
            for choice, roles in _mapping(f"{path}:{option}", choices, problems).items()
        }
        for option, choices in found.items()
    }


def _roles(path: str, value: Any, problems: list[Problem]) -> dict[str, dict[str, Any]]:
    found = _mapping(path, value, problems)
    problems += [Problem(path, role, suggestion(role, ROLES)) for role in found if role not in ROLES]
    return {role: _part(f"{path}:{role}", part, problems) for role, part in found.items()}


def _part(path: str, value: Any, problems: list[Problem]) -> dict[str, Any]:
    part = _mapping(path, value, problems)
    for key, found in part.items():
        where = f"{path}:{key}"
        if key not in PART_KEYS:
            problems.append(Problem(where, None, suggestion(key, PART_KEYS)))
        elif not isinstance(found, PART_KEYS[key]):
            problems.append(Problem(where, found, f"accepted: a {PART_KEYS[key].__name__}"))
        elif isinstance(found, Mapping):
            # a unit of which there is nothing to say may be left empty
            entries = {name: each for name, each in found.items() if key != "units" or each is not None}
            judge = _file_problems if key == "files" else _entry_problems
            problems += [problem for name, each in entries.items() for problem in judge(f"{where}:{name}", each)]
        else:
            check = _step_problems if key == "steps" else _word_problems
            problems += [
                problem for number, each in enumerate(part[key]) for problem in check(f"{where}:{number}", each)
            ]
    return part


def _entry_problems(path: str, entry: Any) -> list[Problem]:
    return [] if _is_mapping(entry) else [Problem(path, entry, _A_MAPPING)]


def _file_problems(path: str, file: Any) -> list[Problem]:
    if not _is_mapping(file):
        return _entry_problems(path, file)
    found = [Problem(f"{path}:{key}", None, suggestion(key, FILE_KEYS)) for key in file if key not in FILE_KEYS]
    if "validate" in file and not _is_checker(file["validate"]):
        found.append(Problem(f"{path}:validate", file["validate"], _A_CHECKER))
    return found


def _is_checker(words: Any) -> bool:
    if isinstance(words, str):
        return words in candidate.CHECKERS
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return False
    return words[:1] != [] and words[0].startswith("/") and any(candidate.WORD in word for word in words[1:])


def _step_problems(path: str, step: Any) -> list[Problem]:
    if not isinstance(step, Mapping):
        return [Problem(path, step, _A_MAPPING)]
    found = [Problem(f"{path}:{key}", None, suggestion(key, STEP_KEYS)) for key in step if key not in STEP_KEYS]
    found += [Problem(f"{path}:{key}", None, "this key is required") for key in STEP_KEYS[:3] if key not in step]
    phase = step.get("phase", PHASES[0])
    found += [] if phase in PHASES else [Problem(f"{path}:phase", phase, suggestion(phase, PHASES))]
    role = step.get("unless_role", ROLES[0])
    return found + ([] if role in ROLES else [Problem(f"{path}:unless_role", role, suggestion(role, ROLES))])


def _word_problems(path: str, word: Any) -> list[Problem]:
    return [] if isinstance(word, str) else [Problem(path, word, "accepted: a name")]


def _mapping(path: str, value: Any, problems: list[Problem]) -> dict[str, Any]:
    """Return a mapping, empty where there is none; note a problem for what is anything else."""
    if value is not None and not _is_mapping(value):
        problems.append(Problem(path, value, _A_MAPPING))
    return dict(value) if _is_mapping(value) else {}


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _ordered(services: Mapping[str, Service]) -> dict[str, Service]:
    """Return the services with each one behind those that it comes after; raises Problems on a circle."""
    result: dict[str, Service] = {}
    while len(result) < len(services):
        ready = [name for name in services if name not in result and set(services[name].after) <= set(result)]
        if not ready:
            rest = sorted(set(services) - set(result))
            raise Problems([Problem(f"{rest[0]}:after", rest, "accepted: an order without a circle")])
        result.update({name: services[name] for name in ready})
    return result
