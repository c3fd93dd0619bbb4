"""Find and read the site file of a lab."""

from __future__ import annotations

from pathlib import Path

import yaml
from saltern import model

from lab.layout import REPOSITORY, Lab


def find(name: str) -> Path:
    """Return the site file that ``--site`` means: a path, or a name under pillar/sites."""
    return Path(name) if "/" in name or name.endswith((".yaml", ".yml")) else REPOSITORY / "pillar/sites" / f"{name}.yaml"


def load(name: str) -> Lab:
    """Return the lab of a site file."""
    source = find(name).resolve()
    data = yaml.safe_load(source.read_text())
    nets = data["networks"]
    hosts = {
        k: model.Host(k, tuple(h["roles"]), h["address"],
                      tuple(model.Interface(d, i["carries"], i.get("mac")) for d, i in h["interfaces"].items()))
        for k, h in data["hosts"].items()
    }
    ctl = next(h for h in hosts.values() if "controller" in h.roles)
    provs = {k: model.Provider(k, p["vlan"], p["cidr"], p.get("gateway"), external=p.get("external", False))
             for k, p in nets.get("provider", {}).items()}
    site = model.Site(data["name"], data["domain"], model.Management(**nets["management"]), hosts,
                      f"api.{data['domain']}", ctl.address, providers=provs, mirrors=data.get("mirrors", {}))
    return Lab(site, source)
