"""The user with which libvirt daemons log in to each other over TCP, the legacy way of live migration."""

import subprocess

from saltern import hostplan, outcome
from saltern.errors import SalternError


@outcome.reported
def known(name, user, secret, database, address, realm):
    """Have a user in libvirt's SASL database whose password is the secret: shown by logging in with it.

    The password goes to saslpasswd2(8) on standard input.

    name
        What this is for, for people.

    user, realm
        The user and the realm, which is the host's name as libvirtd sees it.

    secret
        The name of the secret in the host's plan.

    database
        Path of the SASL database.

    address
        The address on which this host's libvirtd listens.
    """
    why = _refused(address)
    if why is None:
        return outcome.success(name, f"{user} logs in at {address}")
    if __opts__["test"]:
        return outcome.planned(name, f"would set {user}'s password: {why}", {user: "password set"})
    password = hostplan.secret(__pillar__, secret)
    command = ["saslpasswd2", "-p", "-c", "-a", "libvirt", "-f", database, "-u", realm, user]
    done = subprocess.run(command, input=password, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SalternError(f"saslpasswd2 {user}: {done.stderr.strip()}")
    why = _refused(address)
    if why is not None:
        return outcome.failure(name, f"{user} cannot log in at {address}: {why}", {user: "password set"})
    return outcome.success(name, f"{user} logs in at {address}", {user: "password set"})


def _refused(address):
    """Return why a login over TCP with the host's own credentials fails, or None."""
    uri = f"qemu+tcp://{address}/system?authfile=/etc/libvirt/auth.conf"
    try:
        done = subprocess.run(["virsh", "-c", uri, "version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stderr.strip() or "refused" if done.returncode else None
