"""The pillar of a host: its own plan, with the secrets that its roles need and no others.

Configure it on the master::

    ext_pillar:
      - saltern:
          site: /etc/saltern/site.yaml
          secrets: /etc/saltern/secrets.yaml
          catalogue: /srv/saltern/pillar/services
          pki: /etc/saltern/authorities

These are the defaults of the four.
"""

from saltern import pki, resolve
from saltern.errors import SalternError
from saltern.verbs import Inputs

__virtualname__ = "saltern"


def __virtual__():
    return __virtualname__


def ext_pillar(minion_id, pillar, **settings):
    """Return the minion's plan under ``saltern``, or the problems under ``_errors``, which stop the run.

    A minion that the site file does not name gets nothing.
    """
    inputs = Inputs.of(__opts__, settings)
    try:
        model, services = inputs.load()
        if minion_id not in model.hosts:
            return {}
        known = inputs.values()
        plan = resolve.resolve(model, services, known, minion_id)
        authorities = {name: pki.ensure_authority(inputs.pki, name).pem for name in pki.AUTHORITIES}
    except SalternError as error:
        return {"_errors": str(error).splitlines()}
    return {"saltern": {**plan.as_data(), "authorities": authorities}}
