"""Configuration files of the services, rendered from the plan in the pillar."""

from saltern import hostplan, outcome
from saltern.highdata import part
from saltern.managed_file import ManagedFile, check

CHECKS = "saltern: checks"


@outcome.reported
def managed(name, service):
    """Keep a file as the plan of a service says; a candidate that the programs would refuse never replaces it.

    The file afterwards has exactly the planned content, owner and mode. Changes name each option with its old and new
    value; secrets read ``<secret>``. Files of kind ``oslo`` with ``check`` namespaces are compared with the options
    that the installed programs declare (names, types and choices) before they are written; those with ``validate`` are
    shown to the program's own checker.

    name
        Path of the file, a key of ``saltern:services:<service>:files`` in the pillar.

    service
        Name of the service in the plan.
    """
    file = ManagedFile.from_plan(name, hostplan.file(__pillar__, service, name))
    secrets = hostplan.secrets(__pillar__)
    changes = file.changes(secrets)
    if not changes:
        return outcome.success(name, f"{name} is as planned")
    refused, unchecked = ([], "") if file.current_text() == file.text else _checked(file, service)
    if refused or (unchecked and not __opts__["test"]):
        return outcome.failure(name, "\n".join(refused) or f"{name}: cannot be checked: {unchecked}")
    if __opts__["test"]:
        if file.restarts_readers():
            outcome.foreseen(__context__).add(name)
        note = f" (not checked yet: {unchecked})" if unchecked else ""
        return outcome.planned(name, f"{name} would be written{note}", changes)
    file.write()
    left = file.changes(secrets)
    if left:
        return outcome.failure(name, f"{name} changed again while it was written: {', '.join(left)}", changes)
    return outcome.success(name, f"{name} was written", changes)


def _checked(file, service):
    """Return what is found against the file: by the options that are declared, then by the program that reads it."""
    found = _declared(file, service) if file.namespaces else ([], "")
    return found if any(found) else file.tried(hostplan.secrets(__pillar__), outcome.foreseen(__context__))


def _declared(file, service):
    """Return what a check of the file finds; the first one checks all new files whose programs come with its own."""
    number = part(hostplan.service(__pillar__, service))
    done = __context__.setdefault(CHECKS, {})
    if number not in done:
        entries = hostplan.files(__pillar__, lambda other: part(other) == number)
        files = [ManagedFile.from_plan(path, entry) for path, entry in entries if entry.get("check")]
        done[number] = check(each for each in files if each.current_text() != each.text)
    return done[number].get(file.path) or check([file])[file.path]
