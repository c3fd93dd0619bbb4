"""What an operator asks on the Salt master: is the site file right, where does a value come from, what would change.

The files are those of the master's ``ext_pillar``: see the pillar module ``saltern``.
"""

from pathlib import Path

from saltern import events, hostverbs, planning, verbs
from saltern.errors import SalternError
from saltern.trust import Desk


def validate():
    """Say that the site file and its secrets are right, or everything that is wrong with them.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.validate
    """
    return _answer(lambda: verbs.validate(_inputs()))


def explain(host, service, option):
    """Say what each layer says of an option (``SECTION.OPTION``) on a host, and which one wins.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.explain cmp1 nova libvirt.virt_type
    """
    return _answer(lambda: verbs.explain(_inputs(), str(host), str(service), str(option)))


def plan(hosts=None, timeout=60):
    """Return, for each host, how the files that it is to have differ from those that it has; without secrets.

    hosts
        Only these hosts: a list, or names joined by commas.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.plan
        salt-run saltern.plan hosts=cmp1,cmp2
    """
    return _answer(lambda: _differences(verbs.plan(_inputs(), _words(hosts)), timeout))


def boot_files(hosts=None, out=None):
    """Return the files that machines are installed with; without ``out`` their texts, else where they were written.

    hosts
        Only these hosts: a list, or names joined by commas. Without it, dnsmasq's configuration and what all machines
        have in common come too.
    out
        A directory on the master; what differs there is replaced.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.boot_files hosts=cmp1
        salt-run saltern.boot_files out=/srv/saltern-boot
    """
    return _answer(lambda: _written(verbs.boot_files(_inputs(), _words(hosts), out), out))


def hosts(act=None, host=None, minutes=hostverbs.WINDOW):
    """Show the life of each host that is installed from the network; or do something about one, and say what was done.

    act
        ``reinstall`` arms exactly one installation, ``abort`` ends what was allowed, ``unlock`` lets a locked host be
        installed again.
    host
        The host.
    minutes
        How long its machine may take to ask for its answers.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.hosts
        salt-run saltern.hosts reinstall cmp1 minutes=30
    """
    return _answer(lambda: hostverbs.act(_inputs(), _desk(), act, host, minutes))


def learnt(host, event, cause="the master"):
    """Record that a host was seen as a minion (``contact``), is ``configured``, or is taken into service (``serve``).

    What does not fit the state of the host is passed over: a reactor may tell of every minion.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.learnt cmp1 serve
    """
    return _answer(lambda: hostverbs.learnt(_desk(), str(host), str(event), str(cause)))


def _desk():
    """Return what decides; its events go to this master's own bus."""
    return Desk(tell=events.Teller())


def secrets():
    """Add to the secrets file what the site needs and it lacks; say the names of the new secrets.

    CLI Example:

    .. code-block:: bash

        salt-run saltern.secrets
    """
    return _answer(lambda: "added: " + (", ".join(verbs.complete_secrets(_inputs())) or "none, all are there"))


def _answer(act):
    """Return what an action returns; problems come as text, with an exit code of 1."""
    try:
        return act()
    except SalternError as error:
        return _failed(problems=str(error).splitlines())


def _failed(**said):
    """Return data that makes ``salt-run`` exit with 1 (it looks for ``retcode`` in ``data``, and nowhere else)."""
    return {"data": {**said, "retcode": 1}, "outputter": "nested"}


def _inputs():
    return verbs.Inputs.of(__opts__)


def _written(files, out):
    return files if out is None else f"{out}: {verbs.write_tree(Path(str(out)), files)} of {len(files)} files written"


def _words(hosts):
    return (
        [each.strip() for each in hosts.split(",")] if isinstance(hosts, str) else [str(each) for each in hosts or []]
    )


def _differences(wanted, timeout):
    """Ask the hosts for what they have, and compare; a host that does not answer is named."""
    said = __salt__["salt.execute"](list(wanted), "saltern_plan.applied", timeout=timeout, tgt_type="list")
    applied = {host: files for host, files in said.items() if isinstance(files, dict)}
    found = planning.diff(wanted, applied)
    result = {host: found[host] or "as planned" for host in wanted if host in found}
    silent = {
        host: f"no answer: {said.get(host, 'the minion is not connected')}" for host in wanted if host not in found
    }
    return _failed(**result, **silent) if silent else result
