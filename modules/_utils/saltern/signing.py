"""Who may have which certificate: what the plan of the very host that asks says, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from saltern import certificates, pki
from saltern.errors import Problem, Problems, SalternError, suggestion
from saltern.planning import Placeholders
from saltern.resolve import resolve
from saltern.verbs import Inputs

WAIT = 60.0
"""Seconds that a host waits for the deploy host to sign."""
PAUSE = 2.0


def allowed(inputs: Inputs, host: str, service: str, certificate: str) -> Mapping[str, Any]:
    """Return a certificate of a host's plan, made from the site file; raise Problems where the plan has none."""
    services = resolve(*inputs.load(), Placeholders(), host).services
    # an entry without a name is an authority to trust: nothing of it is signed
    planned: dict[str, Mapping[str, Any]] = {
        f"{name} {each}": plan
        for name, found in services.items()
        for each, plan in found.certificates.items()
        if plan.get("common_name")
    }
    wanted = f"{service} {certificate}"
    if wanted not in planned:
        raise Problems([Problem(f"hosts:{host}:certificates", wanted, suggestion(wanted, planned))])
    return planned[wanted]


def signed(inputs: Inputs, directory: str, host: str, ca: str, csr: str, service: str, certificate: str) -> str:
    """Return the certificate that a host asked for; raise Problems unless its plan has it, with exactly these names."""
    plan = allowed(inputs, host, service, certificate)
    if plan["ca"] != ca:
        raise Problems([Problem(f"hosts:{host}:certificates:{certificate}:ca", ca, f"accepted: {plan['ca']}")])
    return pki.sign(pki.ensure_authority(directory, ca), csr, pki.Subject.of(plan))


def signed_here(directory: str, files: certificates.Files, csr: str) -> str:
    """Return a certificate signed on this host, where it keeps the authorities itself (a host without a master)."""
    try:
        authority = pki.read_authority(directory, files.ca)
    except FileNotFoundError as error:
        raise SalternError(f"{directory}: no authority {files.ca!r} here, and no master to ask") from error
    return pki.sign(authority, csr, files.subject)


def asked(call: Callable[[], Any], wait: float = WAIT, pause: float = PAUSE) -> str:
    """Return the certificate that the deploy host answers a request with; wait for it within bounds.

    An answer that says why the request is refused ends the wait at once.
    """
    end = time.monotonic() + wait
    while True:
        answer = call()
        if isinstance(answer, Mapping) and answer.get("certificate"):
            return str(answer["certificate"])
        if isinstance(answer, Mapping) and answer.get("refused"):
            raise SalternError(f"the deploy host refuses to sign: {answer['refused']}")
        if time.monotonic() >= end:
            said = answer if answer else "nothing; is pki.sign in its peer_run?"
            raise SalternError(f"the deploy host did not sign within {wait:.0f} s; it answers {said!r}")
        time.sleep(pause)
