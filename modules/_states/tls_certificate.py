"""Certificates of this host, signed by the cloud's own authorities."""

from saltern import certificates, outcome, signing
from saltern.verbs import Inputs


@outcome.reported
def present(name, service):
    """Have a certificate of the plan on disk: the right names, the right authority, a third of its life left.

    The key is made here and never leaves the host. A certificate that is good costs a look at local files. Changes
    tell the reason of a renewal and the files; afterwards key, certificate and authority fit each other.

    name
        Name of the certificate, a key of ``saltern:services:<service>:certificates`` in the pillar.

    service
        Name of the service in the plan.
    """
    files, ca_pem = certificates.planned(__pillar__, service, name)
    where, finding = getattr(files, "cert", files.ca_file), certificates.inspect(files, ca_pem)
    if not finding.changes:
        return outcome.success(name, f"{where} is good")
    if __opts__["test"]:
        outcome.foreseen(__context__).update(finding.written)
        return outcome.planned(name, f"{where} would be made good", finding.changes)
    cert = _signed(files, name, service) if finding.renew else None
    certificates.install(files, ca_pem, cert)
    left = certificates.inspect(files, ca_pem).changes
    if left:
        return outcome.failure(name, f"{where} is still not good: {left}", finding.changes)
    return outcome.success(name, f"{where} was made good", finding.changes)


def _signed(files, name, service):
    """Return a certificate of this host's key, signed by the master, or here on a host without one."""
    csr = certificates.prepare(files)
    if __opts__.get("file_client") == "local":
        return signing.signed_here(Inputs.of(__opts__).pki, files, csr)
    return signing.asked(lambda: __salt__["publish.runner"]("pki.sign", [files.ca, csr, service, name], timeout=20))
