"""Instances asked from the provider's side, above all the one with the floating IP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smoke import guest
from smoke.cloud import Cloud, new_key
from smoke.runner import Failed

REFUSED = "Permission denied"
"""What ssh(1) says when the server took none of its keys; of a server that is not there it says something else."""


def answered(cloud: Cloud, kind: str) -> bool:
    """Tell whether a probe of the floating IP is answered."""
    try:
        return bool(ask(cloud, kind))
    except Failed:
        return False


def told(cloud: Cloud, question: Mapping[str, Any]) -> bool:
    """Tell whether a question from the provider's side is answered."""
    try:
        return bool(cloud.options.outside.ask(question))
    except Failed:
        return False


def ask(cloud: Cloud, kind: str, **question: str) -> str:
    """Ask the instance with the floating IP from the provider's side, over SSH with the user's key or another."""
    address, vlan = cloud.made["floating"].floating_ip_address, vlan_of(cloud, cloud.made["external"])
    if kind == "ssh":
        host_key = guest.told(guest.HOST_KEY, cloud.console(cloud.made["reached"])) or cloud.made.get("host key")
        if not host_key:
            raise Failed(f"{cloud.made['reached']}: no host key on the console")
        cloud.made["host key"] = host_key
        question = {"host_key": host_key, "key": cloud.key, **question}
    return cloud.options.outside.ask({"kind": kind, "address": address, "vlan": vlan, **question})


def refuses_others(cloud: Cloud) -> None:
    """Raise Failed unless the instance refuses a key that nobody has given to it, made for this one try."""
    try:
        said = ask(cloud, "ssh", key=new_key()[0], command="hostname")
    except Failed as reason:
        if REFUSED in str(reason):
            return
        raise
    raise Failed(f"{cloud.made['floating'].floating_ip_address}: another key than the user's logs in: {said.strip()}")


def vlan_of(cloud: Cloud, network: Any) -> int:
    """Return the VLAN of a network, which the administrator sees."""
    return int(cloud.admin.network.get_network(network.id).provider_segmentation_id)
