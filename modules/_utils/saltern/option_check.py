"""Check an oslo.config text against the options that the installed programs declare: names, types and choices.

The services live in the system's Python (or in a virtual environment of their own), not in Salt's: this file is
therefore also a script, runs alone under that interpreter (``python3 -I option_check.py``), reads requests as JSON on
standard input and answers on standard output. A candidate thus needs no file, and no secret is ever an argument. All
the candidates of a host go to one process, which imports what all programs share and then forks for each of them: that
import takes most of the time, and two programs in one process may declare the same option in two ways.

That process does what ``oslo-config-validator`` does (it asks the same generator for the same declarations) and what
that one leaves out: values, ``[keystone_authtoken]``, plugin options and groups that another option names.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import json
import logging
import multiprocessing
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any

#: Libraries whose options every service reads; those that are not installed are left out.
LIBRARIES = (
    "keystonemiddleware.audit",
    "keystonemiddleware.auth_token",
    "os_vif",
    "oslo.cache",
    "oslo.concurrency",
    "oslo.db",
    "oslo.limit",
    "oslo.log",
    "oslo.messaging",
    "oslo.middleware",
    "oslo.middleware.cors",
    "oslo.middleware.healthcheck",
    "oslo.middleware.http_proxy_to_wsgi",
    "oslo.middleware.sizelimit",
    "oslo.policy",
    "oslo.privsep",
    "oslo.reports",
    "oslo.service.periodic_task",
    "oslo.service.service",
    "oslo.service.sslutils",
    "oslo.service.wsgi",
    "oslo.versionedobjects",
    "osprofiler",
)

#: An option of DEFAULT that names groups -> the groups whose options those take.
GROUP_MAKERS = {"enabled_backends": ("glance_store", "backend_defaults")}
#: Groups with a fixed name that take the options of another one.
TWIN_GROUPS = {"os_glance_tasks_store": "glance_store", "os_glance_staging_store": "glance_store"}
#: Groups whose keystoneauth options are registered at run time only.
KEYSTONEAUTH_GROUPS = ("oslo_limit",)

Sections = Mapping[str, Mapping[str, list[str]]]
Declared = dict[str, dict[str, Any]]


def check(text: str, namespaces: Iterable[str]) -> list[tuple[str, str]]:
    """Return ``(section.option, what is wrong)`` for each option that is unknown or has a value that is not accepted.

    Values of options that are declared secret are never part of the answer.
    """
    declared = declarations(namespaces)
    sections = parse(text)
    _add_named_groups(sections, declared)
    _add_plugin_options(sections, declared)
    return list(_compare(sections, declared))


def parse(text: str) -> dict[str, dict[str, list[str]]]:
    """Return the sections of the text as oslo.config's own parser reads them; every option has a list of values."""
    iniparser = importlib.import_module("oslo_config.iniparser")
    sections: dict[str, dict[str, list[str]]] = {}

    class Parser(iniparser.BaseParser):  # type: ignore[misc, name-defined]
        current = "DEFAULT"

        def assignment(self, key: str, value: list[str]) -> None:
            sections.setdefault(self.current, {}).setdefault(key, []).append("\n".join(value))

        def new_section(self, section: str) -> None:
            self.current = section
            sections.setdefault(section, {})

    Parser().parse(text.splitlines(keepends=True))
    return sections


def installed_namespaces() -> set[str]:
    """Return the names under which the installed packages declare options."""
    metadata = importlib.import_module("importlib.metadata")
    return {point.name for point in metadata.entry_points(group="oslo.config.opts")}


def declarations(namespaces: Iterable[str]) -> Declared:
    """Return the declared options by group and by each name they go by."""
    generator = importlib.import_module("oslo_config.generator")
    known = installed_namespaces()
    declared: Declared = {"DEFAULT": {}}
    names = [name for name in dict.fromkeys([*namespaces, *LIBRARIES]) if name in known]
    for _, groups in generator._list_opts(names):
        for group, options in groups:
            _declare(declared, str(getattr(group, "name", group) or "DEFAULT"), options)
    return declared


def _declare(declared: Declared, group: str, options: Iterable[Any]) -> None:
    """Add the options to the group under their name, their dest and all their deprecated names."""
    for option in options:
        for name in (option.name, option.dest):
            declared.setdefault(group, {})[name] = option
        for old in option.deprecated_opts:
            old_group = declared.setdefault(old.group or group, {})
            for name in {old.name, (old.name or option.name).replace("-", "_")}:
                old_group.setdefault(name or option.dest, option)


def _add_named_groups(sections: Sections, declared: Declared) -> None:
    """Declare the groups that an option of DEFAULT names (stores of glance, back ends of cinder)."""
    for maker, models in GROUP_MAKERS.items():
        values = sections.get("DEFAULT", {}).get(maker, [""])
        names = [item.split(":")[0].strip() for item in values[-1].split(",")]
        for name in filter(None, names):
            for model in models:
                declared.setdefault(name, {}).update(declared.get(model, {}))
    for name in TWIN_GROUPS.keys() & sections.keys():
        declared.setdefault(name, {}).update(declared.get(TWIN_GROUPS[name], {}))


def _add_plugin_options(sections: Sections, declared: Declared) -> None:
    """Declare the options of the authentication plugin that a section's ``auth_type`` chooses."""
    for group in [name for name in KEYSTONEAUTH_GROUPS if name in sections]:
        loading = importlib.import_module("keystoneauth1.loading")
        _declare(declared, group, loading.get_auth_common_conf_options())
        _declare(declared, group, loading.get_session_conf_options())
        _declare(declared, group, loading.get_adapter_conf_options())
    for group, options in sections.items():
        names = declared.get(group, {})
        chosen = options.get("auth_type") or options.get("auth_plugin")
        if chosen and ("auth_type" in names or "auth_plugin" in names):
            source = options.get("auth_section", [group])[-1]
            _declare(declared, source, _plugin_options(chosen[-1]))


def _plugin_options(plugin: str) -> list[Any]:
    """Return the options of a keystoneauth plugin; none when there is no such plugin."""
    loading = importlib.import_module("keystoneauth1.loading")
    exceptions = importlib.import_module("keystoneauth1.exceptions")
    try:
        return list(loading.get_auth_plugin_conf_options(plugin))
    except exceptions.NoMatchingPlugin:
        return []


def _compare(sections: Sections, declared: Declared) -> Iterator[tuple[str, str]]:
    """Yield the problems in the order of the text."""
    for group, options in sections.items():
        if group not in declared:
            yield group, f"no such section{_close(group, declared)}"
            continue
        for name, values in options.items():
            if name not in declared[group]:
                yield f"{group}.{name}", f"no such option{_close(name, declared[group])}"
            elif reason := _refusal(declared[group][name], values):
                yield f"{group}.{name}", reason


def _refusal(option: Any, values: list[str]) -> str:
    """Return why the option does not take its value, or an empty text; only multi-valued options look at all."""
    for raw in values if option.multi else values[-1:]:
        value = _literal(raw)
        if value is None:
            continue
        try:
            option.type(value)
        except (ValueError, TypeError) as error:
            return f"not a value of type {option.type}" if option.secret else f"{value!r}: {error}"
    return ""


def _literal(raw: str) -> str | None:
    """Return the value with ``$$`` resolved, or None when it refers to other options (known only at run time)."""
    parts = re.split(r"\$\$", raw.replace(r"\$", "$$"))
    return None if any("$" in part for part in parts) else "$".join(parts)


def _close(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean ...?`` when a name is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{problems}``, ``{missing}`` (namespaces that are not installed) or ``{error}`` for one request."""
    try:
        missing = sorted(set(request["namespaces"]) - installed_namespaces())
        return {"missing": missing} if missing else {"problems": check(request["text"], request["namespaces"])}
    except Exception as error:  # the text of an error could hold a value: only its kind is told
        return {"error": f"{type(error).__name__} while the declared options were loaded"}


def begin(request: Mapping[str, Any]) -> Connection:
    """Begin to answer a request in a process of its own; return where the answer comes from."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=lambda: theirs.send(answer(request)))
    process.start()
    theirs.close()
    return ours


def main() -> int:
    """Answer the list of requests on standard input, in their order, on standard output."""
    requests = json.load(sys.stdin)
    logging.disable(logging.CRITICAL)
    # packages print at import; standard output is ours alone
    with contextlib.redirect_stdout(sys.stderr):
        with contextlib.suppress(Exception):  # whatever is wrong with a library is wrong for each request, too
            declarations([])
        found = [begun.recv() for begun in [begin(request) for request in requests]]
    json.dump(found, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
