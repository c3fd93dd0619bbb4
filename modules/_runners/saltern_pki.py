"""The certificate authorities on the Salt master: sign what a host's own plan says, show the public certificates.

Minions call ``pki.sign`` through ``publish.runner``; allow it with::

    peer_run:
      .*:
        - pki.sign$

Who asks is the id of the authenticated minion: the master puts it into the runner's options, no argument says it.
(The file is not called ``pki`` because Salt has a runner of that name, which it would hide; both are there this way.)
"""

from saltern import pki, signing
from saltern.errors import SalternError
from saltern.verbs import Inputs

__virtualname__ = "pki"


def __virtual__():
    return __virtualname__


def sign(ca, csr, service, certificate):
    """Sign a request of the calling host; return ``{certificate: PEM}``, or ``{refused: why}``.

    The names, the usage and the authority are those of the host's plan; a request that states others is refused.

    CLI Example:

    .. code-block:: bash

        salt-call publish.runner pki.sign "['services', '<PEM request>', 'haproxy', 'api']"
    """
    try:
        inputs = Inputs.of(__opts__)
        return {"certificate": signing.signed(inputs, inputs.pki, __opts__["id"], ca, csr, service, certificate)}
    except SalternError as error:
        return {"refused": str(error)}


def authority(ca="services"):
    """Return an authority's certificate, which is public; the authority is made if it does not exist yet.

    CLI Example:

    .. code-block:: bash

        salt-run pki.authority services
    """
    try:
        return pki.ensure_authority(Inputs.of(__opts__).pki, ca).pem
    except SalternError as error:
        return {"data": {"problems": str(error).splitlines(), "retcode": 1}, "outputter": "nested"}
