"""The pillar of a host: its own plan, with the secrets that its roles need and no others.

Configure it on the master::

    ext_pillar:
      - saltern:
          site: /etc/saltern/site.yaml
          secrets: /etc/saltern/secrets.yaml
          catalogue: /srv/saltern/pillar/services
          pki: /etc/saltern/pki
"""

from pathlib import Path

import salt.loader
import salt.template

from saltern import catalogue, pki, resolve, site
from saltern.errors import SalternError

__virtualname__ = "saltern"

DEFAULTS = {
    "site": "/etc/saltern/site.yaml",
    "secrets": "/etc/saltern/secrets.yaml",
    "catalogue": "/srv/saltern/pillar/services",
    "pki": pki.DIRECTORY,
}


def __virtual__():
    return __virtualname__


def ext_pillar(minion_id, pillar, **settings):
    """Return the minion's plan under ``saltern``, or the problems under ``_errors``, which stop the run.

    A minion that the site file does not name gets nothing.
    """
    paths = {**DEFAULTS, **settings}
    try:
        model = site.load(Path(paths["site"]))
        if minion_id not in model.hosts:
            return {}
        plan = resolve.resolve(model, catalogue.load(Path(paths["catalogue"])), _secrets(paths["secrets"]), minion_id)
        authorities = {name: pki.ensure_authority(paths["pki"], name).pem for name in pki.AUTHORITIES}
    except SalternError as error:
        return {"_errors": str(error).splitlines()}
    return {"saltern": {**plan.as_data(), "authorities": authorities}}


def _secrets(path):
    """Return the secrets, decrypted by Salt's own GPG renderer where they are encrypted."""
    renderers = salt.loader.render(__opts__, {})
    refused, allowed = __opts__.get("renderer_blacklist"), __opts__.get("renderer_whitelist")
    return salt.template.compile_template(path, renderers, "yaml|gpg", refused, allowed) or {}
