"""The cloud as the walk sees it: an administrator, a user of a project of its own, and everything they made."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openstack
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from keystoneauth1.exceptions import ClientException
from openstack.exceptions import NotFoundException, SDKException
from saltern.model import Site

from smoke import guest
from smoke.outside import Outside
from smoke.runner import Failed, until

PREFIX = "saltern-smoke"
ACTIVE_SECONDS = 300
READY_SECONDS = 300
REFUSALS = (SDKException, ClientException)
"""What calls of the cloud raise: the services' refusals, and what keystoneauth says when nobody is there to refuse."""


@dataclass
class Options:
    """What the command line said."""

    cloud: str
    site: Site
    image: Path
    logs: Path
    outside: Outside


@dataclass
class Cloud:
    """Connections and what was made so far, by role in the walk."""

    options: Options
    admin: Any
    user: Any = None
    placer: Any = None
    project: Any = None
    made: dict[str, Any] = field(default_factory=dict)
    servers: dict[str, Any] = field(default_factory=dict)
    key: str = ""
    password: str = ""

    @property
    def ca_file(self) -> str:
        """The CA that the operator's clouds.yaml names."""
        return str(self.admin.config.config.get("cacert") or "")

    @property
    def hosts(self) -> list[str]:
        """The compute hosts of the site."""
        return [host.id for host in self.options.site.having("compute")]

    def server(self, name: str) -> Any:
        """Return a server as the administrator sees it now."""
        return self.admin.compute.get_server(self.servers[name].id)

    def host_of(self, name: str) -> str:
        """Return the compute host that a server runs on."""
        return str(self.server(name).hypervisor_hostname or self.server(name).compute_host)

    def console(self, name: str) -> str:
        """Return what a server's serial console holds, empty while there is none."""
        try:
            return str(self.user.compute.get_server_console_output(self.servers[name].id)["output"] or "")
        except REFUSALS:
            return ""


def connect(options: Options) -> Cloud:
    """Return the cloud seen by its operator, over TLS."""
    admin = openstack.connect(cloud=options.cloud)
    if not str(admin.config.get_auth_args().get("auth_url", "")).startswith("https://"):
        raise Failed("clouds.yaml: the identity service's address is not https")
    return Cloud(options, admin)


def new_key() -> tuple[str, str]:
    """Return a fresh private key and its public half, both in OpenSSH's form."""
    key = Ed25519PrivateKey.generate()
    form = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return key.private_bytes(*form).decode(), public.decode()


def move_in(cloud: Cloud) -> None:
    """Make a project and a user who is a plain member of it; the operator may place servers there too."""
    identity = cloud.admin.identity
    cloud.password = secrets.token_urlsafe(24)
    cloud.project = identity.create_project(name=PREFIX, description="Made by the smoke test; removed by it")
    user = identity.create_user(name=PREFIX, password=cloud.password, default_project_id=cloud.project.id)
    me = identity.get_user(cloud.admin.current_user_id)
    for who, role in ((user, "member"), (me, "admin")):
        identity.assign_project_role_to_user(cloud.project, who, identity.find_role(role, ignore_missing=False))
    auth = cloud.admin.config.get_auth_args()
    cloud.user = openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        auth_url=auth["auth_url"],
        username=PREFIX,
        password=cloud.password,
        project_name=PREFIX,
        user_domain_name="Default",
        project_domain_name="Default",
        region_name=cloud.admin.config.get_region_name(),
        cacert=cloud.ca_file,
    )
    if cloud.user.current_user_id != user.id or cloud.user.current_project_id != cloud.project.id:
        raise Failed(f"the login of {PREFIX} led to another user or project")
    cloud.placer = cloud.admin.connect_as_project(PREFIX)


def boot(cloud: Cloud, name: str, network: Any, peers: Iterable[str] = (), host: str = "", port: Any = None) -> str:
    """Start a server, on a host of choice only by the operator; return its user data."""
    data = guest.user_data(peers, len(cloud.servers))
    by = cloud.placer if host else cloud.user
    given: dict[str, Any] = {"availability_zone": f"nova:{host}"} if host else {}
    if not port:
        given["security_groups"] = [{"name": PREFIX}]
    cloud.servers[name] = by.compute.create_server(
        name=f"{PREFIX}-{name}",
        image_id=cloud.made["image"].id,
        flavor_id=cloud.made["flavor"].id,
        networks=[{"port": port.id}] if port else [{"uuid": network.id}],
        key_name=PREFIX,
        user_data=base64.b64encode(data.encode()).decode(),
        **given,
    )
    return data


def active(cloud: Cloud, name: str, seconds: float = ACTIVE_SECONDS) -> Any:
    """Wait until a server is ACTIVE and no task runs on it; its fault is the error's text."""

    def there() -> Any:
        server = cloud.server(name)
        if server.status == "ERROR":
            fault = (server.fault or {}).get("message", "no fault was recorded")
            raise Failed(f"{name}: ERROR: {fault}")
        return server if server.status == "ACTIVE" and not server.task_state else None

    return until(f"{name}: ACTIVE", there, seconds)


def ready(cloud: Cloud, name: str, data: str, address: str = "") -> guest.Ready:
    """Wait until the guest says that it is ready; what it says must agree with what it was given."""
    seen: guest.Ready = until(
        f"{name}: ready line on the console", lambda: guest.ready(cloud.console(name)), READY_SECONDS, 1.5
    )
    if not seen.instance.startswith("i-"):
        raise Failed(f"{name}: the guest got no answer from 169.254.169.254 in {seen.uptime:.0f} s")
    expected = {"hostname": f"{PREFIX}-{name}", "user_data": guest.digest(data), "address": address or seen.address}
    for what, value in expected.items():
        if getattr(seen, what) != value:
            raise Failed(f"{name}: {what} in the guest is {getattr(seen, what)}, expected {value}")
    return seen


def gone(cloud: Cloud) -> None:
    """Wait until no server of the walk is left; one whose deletion failed tells why."""

    def left() -> list[Any]:
        ids = {server.id for server in cloud.servers.values()}
        return [server for server in cloud.user.compute.servers() if server.id in ids]

    def none_left() -> bool:
        servers = left()
        if failed := [server for server in servers if server.status == "ERROR" and not server.task_state]:
            raise Failed(f"deletion: {states(failed)}")
        return not servers

    until("servers: deleted", none_left, 180, instead=lambda: states(left()))


def states(servers: Iterable[Any]) -> str:
    """Return how servers are, on one line."""
    words = []
    for server in servers:
        fault = (server.fault or {}).get("message")
        words.append(f"{server.name}: {server.status}, task {server.task_state}{f', {fault}' if fault else ''}")
    return "; ".join(words)


def remove(delete: Callable[[Any], Any], things: Iterable[Any]) -> None:
    """Delete things at once; what is gone already is fine."""

    def one(thing: Any) -> None:
        with suppress(NotFoundException):
            delete(thing)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, list(things)))


def move_out(cloud: Cloud) -> None:
    """Remove everything that a walk, this one or a killed one, has made."""
    admin = cloud.admin
    for project in admin.identity.projects(name=PREFIX):
        mine = {"project_id": project.id}
        remove_servers(admin, mine)
        empty_network(admin, mine)
        remove(admin.identity.delete_project, [project])
    for image in admin.image.images(name=PREFIX):
        remove(admin.image.delete_image, [image])
    for flavor in admin.compute.flavors(is_public=None):
        if flavor.name.startswith(PREFIX):
            remove(admin.compute.delete_flavor, [flavor])
    users = [*admin.identity.users(name=PREFIX), admin.identity.get_user(admin.current_user_id)]
    for user in users:
        remove(lambda key, user=user: admin.compute.delete_keypair(key, user_id=user.id), my_keys(admin, user))
    remove(admin.identity.delete_user, users[:-1])


def remove_servers(admin: Any, mine: dict[str, str]) -> None:
    """Remove a project's servers and wait until they are gone."""

    def servers() -> list[Any]:
        return list(admin.compute.servers(all_projects=True, **mine))

    remove(lambda server: admin.compute.delete_server(server, force=True), servers())
    until("servers: gone", lambda: not servers(), 180, instead=lambda: states(servers()))


def my_keys(admin: Any, user: Any) -> Iterator[str]:
    """Yield the names of the walk's key pairs of a user."""
    with suppress(NotFoundException):
        yield from (key.name for key in admin.compute.keypairs(user_id=user.id) if key.name.startswith(PREFIX))


def empty_network(admin: Any, mine: dict[str, str]) -> None:
    """Remove a project's addresses, routers, ports, networks and security groups, in the order that Neutron accepts."""
    network = admin.network
    remove(network.delete_ip, network.ips(**mine))
    for router in network.routers(**mine):
        network.update_router(router, external_gateway_info={})
        for port in network.ports(device_id=router.id, device_owner="network:router_interface"):
            network.remove_interface_from_router(router, port_id=port.id)
        remove(network.delete_router, [router])
    remove(network.delete_port, [p for p in network.ports(**mine) if not p.device_owner.startswith("network:")])
    remove(network.delete_network, network.networks(**mine))
    remove(network.delete_security_group, network.security_groups(**mine))
