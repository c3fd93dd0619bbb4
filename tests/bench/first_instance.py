"""Boot one instance on a provider network and print its address when it is ACTIVE; runs on the deploy host.

Usage: first_instance.py IMAGE NETWORK
"""

from __future__ import annotations

import sys
import time

import openstack

NAME = "saltern-bench"
SECONDS = 300


def main(image_path: str, network_name: str) -> None:
    """Make what an instance needs, the instance, and wait for it."""
    cloud = openstack.connect(cloud="saltern")
    image = cloud.image.create_image(
        NAME, filename=image_path, disk_format="qcow2", container_format="bare", wait=True, timeout=SECONDS
    )
    flavor = cloud.compute.create_flavor(name=NAME, ram=128, vcpus=1, disk=1)
    network = cloud.network.find_network(network_name, ignore_missing=False)
    group = cloud.network.create_security_group(name=NAME)
    cloud.network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", protocol="icmp", ethertype="IPv4"
    )
    port = cloud.network.create_port(name=NAME, network_id=network.id, security_group_ids=[group.id])
    server = cloud.compute.create_server(
        name=NAME, image_id=image.id, flavor_id=flavor.id, networks=[{"port": port.id}]
    )
    end = time.monotonic() + SECONDS
    while server.status != "ACTIVE":
        if server.status == "ERROR" or time.monotonic() > end:
            port = cloud.network.get_port(port.id)
            sys.exit(
                f"the instance is {server.status}, task {server.task_state} on {server.compute_host or 'no host'}, "
                f"fault: {server.fault}; its port is {port.status}, bound to {port.binding_host_id or 'no host'}"
            )
        time.sleep(0.5)
        server = cloud.compute.get_server(server.id)
    print(port.fixed_ips[0]["ip_address"], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
