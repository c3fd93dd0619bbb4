"""Objects of the site file on the real APIs: made, found to be there, changed field by field, and gone again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from frontdoor import verify
from lab import layout, nodes, sites
from lab.highstate import PYTHON
from lab.layout import Lab
from tests.lab_tools import nothing_to_do, salt, site_text, write_site

LAB = sites.load(os.environ.get("SALTERN_SITE", "lab"))
CONTROLLER = LAB.site.having("controller")[0].id
IMAGE = f"/{verify.GUEST}"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0pJt7nN2Xo0Jw3a3pJ3jPz8l3m0m2pZ6V1Yb9wQxkq alice@example.org"
EXTERNAL = next(name for name, each in LAB.site.providers.items() if each.external)
COMPUTE = LAB.site.having("compute")[0].id
OBJECTS: dict[str, dict[str, Any]] = {
    "domains": {"guests": {"description": "People from elsewhere"}},
    "roles": {"auditor": {}},
    "projects": {"science": {"description": "The people downstairs"}},
    "users": {"alice": {"password": {"secret": "alice_password"}, "default_project": "science"}},
    "role_assignments": {"alice in science": {"user": "alice", "project": "science", "role": "member"}},
    "compute_quotas": {"science": {"project": "science", "cores": 7}},
    "flavors": {"m1.small": {"ram": 256, "vcpus": 1, "disk": 1, "extra_specs": {"hw:cpu_policy": "shared"}}},
    "images": {
        "kernel": {"file": IMAGE, "disk_format": "aki", "container_format": "aki"},
        "ramdisk": {"file": IMAGE, "disk_format": "ari", "container_format": "ari"},
        "debian": {"file": IMAGE, "disk_format": "ami", "container_format": "ami", "kernel_id": "kernel",
                   "ramdisk_id": "ramdisk", "properties": {"hw_disk_bus": "virtio"}},
    },
    "networks": {"science": {"project": "science"}},
    "subnets": {
        "science": {"project": "science", "network": {"name": "science", "project": "science"}, "cidr": "10.78.0.0/24"}
    },
    "routers": {"science": {"project": "science", "external_network": EXTERNAL, "interfaces": ["science"]}},
    "security_groups": {"web": {"project": "science", "description": "web"}},
    "security_group_rules": {
        "web": {"security_group": {"name": "web", "project": "science"}, "protocol": "tcp", "port_range_min": 80,
                "port_range_max": 80}
    },
    "aggregates": {"fast": {"hosts": [COMPUTE], "metadata": {"ssd": "true"}}},
    "keypairs": {"alice": {"public_key": KEY}, "of-alice": {"public_key": KEY, "user": "alice"}},
}  # fmt: skip
SCRIPT = """
import json, openstack
cloud = openstack.connect(cloud="saltern")
image, router = cloud.image.find_image("debian"), cloud.network.find_router("science")
print(json.dumps({
    "kernel": cloud.image.find_image("kernel").id == image.kernel_id, "bus": image.hw_disk_bus,
    "cores": cloud.compute.get_quota_set(cloud.identity.find_project("science").id).cores,
    "out": cloud.network.get_network(router.external_gateway_info["network_id"]).name,
    "aggregate": cloud.compute.find_aggregate("fast").hosts,
    "leftover": sorted(each.name for each in cloud.image.images()),
}))
"""


@pytest.fixture
def data() -> Iterator[dict[str, Any]]:
    """Give the lab's site file as data; in the end the old one holds and the objects are gone."""
    assert all(nodes.leader(LAB, node) for node in LAB.nodes), f"the lab {LAB.name} does not run"
    controller = LAB.node(CONTROLLER)
    assert controller
    image = verify.built(layout.CACHE / "guest").read_bytes()
    target = Path(f"/proc/{nodes.leader(LAB, controller)}/root") / verify.GUEST
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(image)
    text = site_text(LAB)
    yield yaml.safe_load(text)
    gone = {
        plural: {name: {**each, "absent": True} for name, each in named.items()} for plural, named in OBJECTS.items()
    }
    del gone["compute_quotas"]
    write_site(LAB, {**yaml.safe_load(text), "resources": gone})
    removed = salt(LAB, [CONTROLLER], "state.highstate")
    write_site(LAB, text)
    assert removed.code == 0, removed.not_true(CONTROLLER)
    nothing_to_do(salt(LAB, [CONTROLLER], "state.highstate"), [CONTROLLER])


def asked(lab: Lab) -> dict[str, Any]:
    return dict(json.loads(nodes.call(lab, lab.deploy, PYTHON, "-P", "-c", SCRIPT)))


def applied(*words: str) -> dict[str, Any]:
    """Run the controller's highstate; return what changed."""
    done = salt(LAB, [CONTROLLER], "state.highstate", *words)
    if not words:
        assert done.code == 0, done.not_true(CONTROLLER)
    return done.changes(CONTROLLER)


def test_objects_are_made_kept_changed_and_removed(data: dict[str, Any]) -> None:
    write_site(LAB, {**data, "resources": OBJECTS})
    nodes.call(LAB, LAB.deploy, "salt-run", "saltern.secrets")
    foretold = applied("test=True")
    made = applied()
    assert set(foretold) == set(made)
    assert len(made) == sum(map(len, OBJECTS.values()))
    seen = asked(LAB)
    assert seen["kernel"]
    assert (seen["bus"], seen["cores"], seen["out"], seen["aggregate"]) == ("virtio", 7, EXTERNAL, [COMPUTE])
    assert applied() == {}

    changed = json.loads(json.dumps(OBJECTS))
    changed["compute_quotas"]["science"]["cores"] = 9
    changed["flavors"]["m1.small"]["extra_specs"] = {"hw:cpu_policy": "dedicated"}
    write_site(LAB, {**data, "resources": changed})
    told = applied()
    assert set(told) == {"nova: compute quota science", "nova: flavor m1.small"}, told
    assert told["nova: compute quota science"] == {"cores": {"old": 7, "new": 9}}
    assert asked(LAB)["cores"] == 9
