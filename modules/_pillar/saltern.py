"""The pillar of a host: its own plan, with the secrets that its roles need and no others.

Configure it on the master::

    ext_pillar:
      - saltern:
          site: /etc/saltern/site.yaml
          secrets: /etc/saltern/secrets.yaml
          catalogue: /srv/saltern/pillar/services
          pki: /etc/saltern/authorities
"""

from pathlib import Path

from saltern import catalogue, pki, resolve, secrets, site
from saltern.errors import SalternError

__virtualname__ = "saltern"

GPG_HOME = "/etc/salt/gpgkeys"
"""Where Salt's own GPG renderer has its keys, unless the master says otherwise (``gpg_keydir``)."""

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
        services = catalogue.load(Path(paths["catalogue"]))
        model = site.load(Path(paths["site"]), {name: service.paths() for name, service in services.items()})
        if minion_id not in model.hosts:
            return {}
        known = secrets.read(paths["secrets"], gpg_home=__opts__.get("gpg_keydir", GPG_HOME))
        plan = resolve.resolve(model, services, known, minion_id)
        authorities = {name: pki.ensure_authority(paths["pki"], name).pem for name in pki.AUTHORITIES}
    except SalternError as error:
        return {"_errors": str(error).splitlines()}
    return {"saltern": {**plan.as_data(), "authorities": authorities}}
