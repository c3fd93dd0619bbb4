"""Tools that are run with an end: as a service's user where one is named, and never longer than this process lives."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Mapping, Sequence

from saltern.errors import SalternError

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
LINES = 20
PRIVATE = 0o077
"""The umask of a tool whose files are for its user alone."""


def run(
    command: Sequence[str],
    *,
    timeout: float,
    user: str = "",
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
    umask: int = -1,
    errors_only: bool = False,
) -> str:
    """Run a command; return an empty text, or how it failed with the end of its output.

    Both of its outputs are one, or only standard error counts. A secret belongs into ``stdin`` or ``environment``,
    never into the command.
    """
    # the command dies with this process: one that lives on would meet the next run's
    wrapper = ["setpriv", *_identity(user), "--pdeathsig=KILL", "--"]
    home = {"HOME": pwd.getpwnam(user).pw_dir} if user else {}
    merged = {**ENVIRONMENT, **home, **(environment or {})}
    return bounded([*wrapper, *command], merged, timeout, stdin, umask, errors_only)


def _identity(user: str) -> list[str]:
    """Return the arguments that make a process that of a user; none for this process' own."""
    if not user:
        return []
    try:
        group = pwd.getpwnam(user).pw_gid
    except KeyError as error:
        raise SalternError(f"user {user!r} does not exist; is its package installed?") from error
    return [f"--reuid={user}", f"--regid={group}", "--init-groups"]


def bounded(
    command: Sequence[str],
    environment: Mapping[str, str],
    timeout: float,
    stdin: str = "",
    umask: int = -1,
    errors_only: bool = False,
) -> str:
    """Run a command with an end: after the time-out its whole process group is killed."""
    out, errors = (subprocess.DEVNULL, subprocess.PIPE) if errors_only else (subprocess.PIPE, subprocess.STDOUT)
    try:
        process = subprocess.Popen(
            command, env=environment, cwd="/", umask=umask, start_new_session=True, text=True, errors="replace",
            stdin=subprocess.PIPE, stdout=out, stderr=errors,
        )  # fmt: skip
    except OSError as error:
        raise SalternError(f"{command[0]}: {error.strerror}") from error
    try:
        output = "".join(filter(None, process.communicate(stdin, timeout=timeout)))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"was killed after {timeout:.0f} s"
    if not process.returncode:
        return ""
    return f"exit status {process.returncode}\n" + "\n".join(output.strip().splitlines()[-LINES:])
