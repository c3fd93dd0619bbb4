"""A small site with every role, the real catalogue, and secrets that can be recognised: what many tests start from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saltern import catalogue, resolve, site, yamlfile
from saltern.derive import SECRET_FORMS

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ROOT / "pillar" / "services"

TEXT = """
schema: 1
name: sample
domain: cloud.example
networks:
  management: {cidr: 10.20.0.0/24}
  tunnel: {cidr: 10.30.0.0/24, vlan: 4}
  trunk: {vlans: ["100-199"]}
  provider:
    public:
      {vlan: 200, cidr: 198.51.100.0/24, gateway: 198.51.100.1, pool: 198.51.100.100-198.51.100.199, external: true}
    plain: {vlan: 201, cidr: 203.0.113.0/24, dns: [203.0.113.53]}
hosts:
  deploy: {roles: [deploy], address: 10.20.0.5, interfaces: {eth0: {carries: management}}}
  ctl1: {roles: [controller], address: 10.20.0.11, interfaces: {eth0: {carries: management}}}
  cmp1: {roles: [compute], address: 10.20.0.21, interfaces: {eth0: {carries: management}, eth1: {carries: trunk}}}
  cmp2: {roles: [compute], address: 10.20.0.22, interfaces: {eth0: {carries: management}, eth1: {carries: trunk}}}
"""


class Recognisable(dict[str, str]):
    """Gives every secret that is asked for, as ``canary-NAME``."""

    def __missing__(self, name: str) -> str:
        """Return the value of a secret; of a key a placeholder."""
        return f"<secret canary-{name}>" if SECRET_FORMS.get(name) else f"canary-{name}"


def sample_data() -> dict[str, Any]:
    """Return the site file as plain data, free to be changed."""
    return yamlfile.parse(TEXT)


def sample_site(data: Mapping[str, Any] | None = None) -> Any:
    """Return the site."""
    return site.parse(data or sample_data())


def real_catalogue() -> Any:
    """Return the catalogue as it is shipped."""
    return catalogue.load(SERVICES)


def plan(host: str, data: Mapping[str, Any] | None = None) -> Any:
    """Return the plan of one host of the sample site."""
    return resolve.resolve(sample_site(data), real_catalogue(), Recognisable(), host)


def golden_sites() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return a host of each kind and its site: what is kept under ``render/golden``, and tested in all its parts."""
    data = sample_data()
    everything = {"roles": ["deploy", "controller", "compute"], "address": "10.20.0.11",
                  "interfaces": {"eth0": {"carries": "management"}, "eth1": {"carries": "trunk"}}}  # fmt: skip
    machine = {"profile": "debian-13", "firmware": "uefi", "mac": "52:54:00:20:00:21", "disks": [{"name": "sda"}],
               "ssh_keys": [f"ssh-ed25519 {'A' * 68} admin@example.org"]}  # fmt: skip
    hosts = {**data["hosts"], "cmp1": {**data["hosts"]["cmp1"], "install": machine}}
    return {
        "deploy": ("deploy", data),
        "deploy-installing": ("deploy", {**data, "hosts": hosts, "networking": {"managed": True}}),
        "controller": ("ctl1", data),
        "compute": ("cmp1", data),
        "compute-tcp": ("cmp1", {**data, "live_migration": "tcp"}),
        "allinone": ("aio", {**data, "hosts": {"aio": everything}}),
    }
