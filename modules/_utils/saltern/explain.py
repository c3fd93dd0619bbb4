"""Why an option has its value: what each layer said of it, and which one won."""

from __future__ import annotations

import json
from typing import Any

from saltern.errors import Problem, Problems, suggestion
from saltern.layers import LAYERS, has_secret
from saltern.render import SECRET
from saltern.resolve import FilePlan, HostPlan, ServicePlan

Name = tuple[str, str]


def explain(plan: HostPlan, service: str, option: str) -> str:
    """Return, for each file of a service that has the option, every layer's word; secrets are not shown.

    ``option`` is ``SECTION.OPTION``, or the key alone in a file without sections. Raises Problems for unknown names.
    """
    if service not in plan.services:
        raise Problems([Problem(f"{plan.host.id}:services", service, suggestion(service, plan.services))])
    found = [
        _told(plan, plan.services[service], path, name)
        for path, file in plan.services[service].files.items()
        for name in file.layers
        if dotted(name) == option
    ]
    if not found:
        raise Problems([_unknown(plan.services[service], option)])
    return "\n".join(found)


def dotted(name: Name) -> str:
    """Return ``section.option``, or the key of a file without sections."""
    return ".".join(part for part in name if part)


def _unknown(service: ServicePlan, option: str) -> Problem:
    known = {dotted(name) for file in service.files.values() for name in file.layers} - {""}
    hint = f"no layer sets it, so upstream's default applies; {suggestion(option, known)}"
    return Problem(f"{service.name}:files", option, hint)


def _told(plan: HostPlan, service: ServicePlan, path: str, name: Name) -> str:
    file = service.files[path]
    said = dict(file.layers[name])
    winner = [layer for layer in LAYERS if layer in said][-1]
    sources = _sources(plan, service.name, path)
    lines = [f"{plan.host.id}: {service.name}: {path}: {dotted(name)} = {_effective(file, name)}"]
    for layer in LAYERS:
        value = _shown(file, name, said[layer]) if layer in said else "-"
        mark = f"   <- wins ({sources[layer]})" if layer == winner else ""
        lines.append(f"    {layer:<10} {value}{mark}")
    return "\n".join(lines) + "\n"


def _sources(plan: HostPlan, service: str, path: str) -> dict[str, str]:
    """Return where each layer is written."""
    override = f"services:{service}:files:{path}"
    return {
        "derived": "follows from the site file",
        "catalogue": f"pillar/services/{service}.yaml",
        "site": f"site file, {override}",
        "host": f"site file, hosts:{plan.host.id}:{override}",
    }


def _effective(file: FilePlan, name: Name) -> str:
    section, option = name
    settings = file.settings.get(section, {}) if section else file.settings
    if option and option not in settings:
        return "(removed: upstream's default applies)"
    return _shown(file, name, settings[option] if option else settings)


def _shown(file: FilePlan, name: Name, value: Any) -> str:
    if value is None:
        return "null (removes it)"
    if dotted(name) in file.secret or has_secret(value):
        return SECRET
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
