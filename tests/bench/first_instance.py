"""Boot one instance on a provider network and print its address, then, at a line of input, how it is.

Usage: first_instance.py IMAGE NETWORK, on the deploy host. In between nobody asks the cloud anything: it is to bring
the instance up by itself.
"""

from __future__ import annotations

import sys

import openstack

NAME = "saltern-bench"
IMAGE_SECONDS = 300


def main(image_path: str, network_name: str) -> None:
    """Make what an instance needs, and the instance."""
    cloud = openstack.connect(cloud="saltern")
    image = cloud.image.create_image(
        NAME, filename=image_path, disk_format="qcow2", container_format="bare", wait=True, timeout=IMAGE_SECONDS
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
    print(port.fixed_ips[0]["ip_address"], flush=True)
    sys.stdin.readline()
    server, port = cloud.compute.get_server(server.id), cloud.network.get_port(port.id)
    print(
        f"{server.status}, task {server.task_state} on {server.compute_host or 'no host'}, fault: {server.fault}; "
        f"its port is {port.status}, bound to {port.binding_host_id or 'no host'}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
