"""The user with which libvirt daemons log in to each other over TCP, the legacy way of live migration."""

import subprocess

from saltern import commands, hostplan, outcome
from saltern.errors import SalternError

AUTH = "/etc/libvirt/auth.conf"
"""The host's own credentials."""


@outcome.reported
def known(name, user, secret, database, address, realm):
    """Have a user in libvirt's SASL database whose password is the secret: shown by logging in with it.

    The password goes to saslpasswd2(8) on standard input.

    name
        What this is for, for people.

    user, realm
        The user and the realm: the host's full name, which SASL finds by itself (sasl_server_new(3), no serverFQDN).

    secret
        The name of the secret in the host's plan.

    database
        Path of the SASL database.

    address
        The address on which this host's libvirtd listens.
    """
    why = _refused(address)
    if why is None and __opts__["test"] and AUTH in outcome.foreseen(__context__):
        why = f"{AUTH} would be written"
    if why is None:
        return outcome.success(name, f"{user} logs in at {address}")
    if __opts__["test"]:
        return outcome.planned(name, f"would set {user}'s password: {why}", {user: "password set"})
    password = hostplan.secret(__pillar__, secret)
    command = ["saslpasswd2", "-p", "-c", "-a", "libvirt", "-f", database, "-u", realm, user]
    trouble = commands.run(command, stdin=password, timeout=60)
    if trouble:
        raise SalternError(f"saslpasswd2 {user}: {trouble}")
    why = _refused(address)
    if why is not None:
        return outcome.failure(name, f"{user} cannot log in at {address}: {why}", {user: "password set"})
    return outcome.success(name, f"{user} logs in at {address}", {user: "password set"})


def _refused(address):
    """Return why a login over TCP with the host's own credentials fails, or None."""
    uri = f"qemu+tcp://{address}/system?authfile={AUTH}"
    try:
        done = subprocess.run(["virsh", "-c", uri, "version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stderr.strip() or "refused" if done.returncode else None
