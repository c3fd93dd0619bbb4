"""A cloud's objects as the APIs list them, for tests of what is wanted of them."""

CLOUD = {
    "domain": [{"id": "default", "name": "Default"}, {"id": "d-lab", "name": "lab"}],
    "project": [
        {"id": "p-admin", "name": "admin", "domain_id": "default"},
        {"id": "p-demo", "name": "demo", "domain_id": "default", "tags": ["b", "a"]},
        {"id": "p-demo-lab", "name": "demo", "domain_id": "d-lab"},
        {"id": "p-lab", "name": "only-lab", "domain_id": "d-lab"},
        {"id": "p-twice-lab", "name": "twice", "domain_id": "d-lab"},
        {"id": "p-twice-two", "name": "twice", "domain_id": "d-two"},
    ],
    "user": [{"id": "u-nova", "name": "nova", "domain_id": "default", "enabled": True, "email": None}],
    "group": [{"id": "g-ops", "name": "ops", "domain_id": "default"}],
    "role": [{"id": "r-admin", "name": "admin", "domain_id": None}, {"id": "r-reader", "name": "reader"}],
    "role_assignment": [
        {"role": {"id": "r-admin"}, "user": {"id": "u-nova"}, "scope": {"project": {"id": "p-admin"}}},
        {"role": {"id": "r-reader"}, "group": {"id": "g-ops"}, "scope": {"domain": {"id": "d-lab"}}},
    ],
    "system_user_role": [{"id": "r-reader", "name": "reader"}],
    "region": [{"id": "RegionOne"}],
    "service": [{"id": "s-nova", "name": "nova", "type": "compute"}],
    "endpoint": [
        {"id": "e1", "service_id": "s-nova", "interface": "public", "region_id": "RegionOne", "url": "https://a"},
        {"id": "e2", "service_id": "s-nova", "interface": "internal", "region_id": "RegionOne", "url": "https://a"},
    ],
    "image": [
        {"id": "i-kernel", "name": "kernel", "owner": "p-admin", "os_hash_value": "abc", "disk_format": "aki"},
        {"id": "i-half", "name": "half", "owner": "p-admin", "os_hash_value": None, "disk_format": "qcow2"},
        {"id": "i-disk", "name": "disk", "owner": "p-admin", "min_ram": 64, "kernel_id": "i-kernel",
         "os_distro": "debian"},
        {"id": "i-mine", "name": "disk", "owner": "p-demo", "min_ram": 1, "visibility": "shared"},
        {"id": "i-only", "name": "theirs", "owner": "p-demo", "visibility": "private"},
    ],
    "flavor": [
        {"id": "1", "name": "tiny", "ram": 64, "vcpus": 1, "disk": 1, "swap": "",
         "extra_specs": {"a": "1", "b": "true"}}
    ],
    "compute_quota": [{"id": "p-demo", "cores": 20}],
    "network": [
        {"id": "n-pub", "name": "public", "project_id": "p-admin", "mtu": 1500, "provider:segmentation_id": 200},
        {"id": "n-1", "name": "net1", "project_id": "p-demo", "description": "", "shared": False},
        {"id": "n-2", "name": "net1", "project_id": "p-admin", "description": "", "shared": False},
        {"id": "n-3", "name": "public", "project_id": "p-demo", "description": "", "shared": False},
        {"id": "n-4", "name": "twin", "project_id": "p-admin"},
        {"id": "n-5", "name": "twin", "project_id": "p-admin"},
    ],
    "subnet": [
        {
            "id": "sub-1", "name": "net1", "network_id": "n-1", "cidr": "10.1.0.0/24", "ip_version": 4,
            "gateway_ip": None, "dns_nameservers": ["9.9.9.9", "1.1.1.1"],
            "allocation_pools": [{"start": "10.1.0.2", "end": "10.1.0.254"}],
            "host_routes": [{"destination": "10.5.0.0/16", "nexthop": "10.1.0.9"}],
        },
        {"id": "sub-6", "name": "net6", "network_id": "n-1", "cidr": "2001:db8::/64", "ip_version": 6},
    ],
    "router": [
        {"id": "rt", "name": "r1", "project_id": "p-admin", "interfaces": ["sub-1"], "external_gateway_info": {
            "network_id": "n-pub", "enable_snat": True, "external_fixed_ips": [{"ip_address": "198.51.100.5"}],
        }},
        {"id": "rt2", "name": "bare", "project_id": "p-admin", "interfaces": [], "external_gateway_info": None},
    ],
    "security_group": [
        {"id": "sg", "name": "web", "project_id": "p-admin"},
        {"id": "sg-demo", "name": "web", "project_id": "p-demo"},
    ],
    "security_group_rule": [
        {"id": "ru1", "security_group_id": "sg", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
         "port_range_min": 80, "port_range_max": 80, "remote_ip_prefix": "0.0.0.0/0", "remote_group_id": None},
        {"id": "ru2", "security_group_id": "sg", "direction": "egress", "ethertype": "IPv4", "protocol": None,
         "port_range_min": None, "port_range_max": None, "remote_ip_prefix": None, "remote_group_id": None},
    ],
    "keypair": [{"name": "op", "public_key": "ssh-ed25519 AAAA op@host", "type": "ssh"}],
    "aggregate": [{"id": 3, "name": "rack", "hosts": ["cmp1"], "metadata": {"ssd": "true"}}],
    "compute_host": [{"id": 7, "host": "cmp1"}, {"id": 8, "host": "cmp2"}],
}  # fmt: skip


def objects(kind, owner):
    """Return what the cloud of these tests lists."""
    return CLOUD.get(kind, [])
