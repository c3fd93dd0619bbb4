"""What a host has now of the files that its plan lists, for ``salt-run saltern.plan``."""

from pathlib import Path

from saltern import masking


def applied(paths=None):
    """Return the text of each file of this host's plan by its path, None where there is none; without secrets.

    paths
        Only these files.

    CLI Example:

    .. code-block:: bash

        salt ctl1 saltern_plan.applied
        salt ctl1 saltern_plan.applied paths='[/etc/hosts]'
    """
    plan = __pillar__.get("saltern", {})
    files = {path: entry for service in plan.get("services", {}).values() for path, entry in service["files"].items()}
    return {path: _masked(path, entry, plan["secrets"]) for path, entry in files.items() if not paths or path in paths}


def _masked(path, entry, secrets):
    try:
        text = Path(path).read_text(errors="replace")
    except OSError:
        return None
    return masking.applied(text, entry, secrets)
