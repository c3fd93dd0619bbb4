"""What this host is, for verification: one call instead of hundreds of probes, and no secret in its answer."""

from salt.exceptions import CommandExecutionError
from saltern import host_facts, hostplan
from saltern.errors import SalternError


def gather():
    """Return listeners, units, files, certificates, packages, firewall, clock, switch and queues of this host.

    CLI Example:

    .. code-block:: bash

        salt '*' saltern_facts.gather
    """
    try:
        return host_facts.gather(hostplan.plan(__pillar__))
    except SalternError as error:
        raise CommandExecutionError(str(error)) from error


def reach(targets):
    """Return what this host meets at each of the targets, mappings with ``host``, ``port`` and ``mode``.

    CLI Example:

    .. code-block:: bash

        salt cmp1 saltern_facts.reach '[{"host": "ctl1", "port": 5000, "mode": "http"}]'
    """
    try:
        return host_facts.reach(targets)
    except SalternError as error:
        raise CommandExecutionError(str(error)) from error


def facts(names):
    """Return only the named facts of this host.

    CLI Example:

    .. code-block:: bash

        salt '*' saltern_facts.facts '[sockets, units]'
    """
    try:
        plan = hostplan.plan(__pillar__)
        return {name: host_facts.READERS[name](plan) for name in names}
    except SalternError as error:
        raise CommandExecutionError(str(error)) from error
    except KeyError as error:
        raise CommandExecutionError(f"facts: {error}: accepted: {', '.join(host_facts.READERS)}") from error
