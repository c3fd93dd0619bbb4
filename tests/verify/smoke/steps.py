"""The walk itself. Each function is a step; what it returns is printed behind its time."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from smoke import cloud as clouds
from smoke import guest, novnc
from smoke.cloud import PREFIX, Cloud
from smoke.dashboard import log_in
from smoke.reach import answered, ask, refuses_others, told
from smoke.runner import Failed, Skipped, Walk, until

walk = Walk()
UNASKED_SECONDS = 180
MEMORY = int(os.environ.get("SALTERN_SMOKE_MEMORY", "128"))
CIDR = "10.77.0.0/24"
ICMP = {"direction": "ingress", "protocol": "icmp", "ethertype": "IPv4"}


@walk.step(quick=True)
def clean_start(cloud: Cloud) -> str:
    """Nothing of an earlier walk is left; the user exists and is a plain member of a project of its own."""
    clouds.move_out(cloud)
    clouds.move_in(cloud)
    return f"user {PREFIX} in a project of the same name"


@walk.step("clean start", quick=True)
def key_pair(cloud: Cloud) -> str:
    """The user's public key is known."""
    cloud.key, public = clouds.new_key()
    for connection in (cloud.user, cloud.placer):
        pair = connection.compute.create_keypair(name=PREFIX, public_key=public)
    return str(pair.fingerprint)


@walk.step("clean start", quick=True)
def image(cloud: Cloud) -> str:
    """The user's image is active and its checksum is the file's."""
    path = cloud.options.image
    made = cloud.user.image.create_image(
        PREFIX, filename=str(path), disk_format="qcow2", container_format="bare", visibility="private",
        validate_checksum=True, wait=True, timeout=300,
    )  # fmt: skip
    made = cloud.user.image.get_image(made.id)
    if made.status != "active" or made.size != path.stat().st_size:
        raise Failed(f"image is {made.status} with {made.size} bytes, expected active with {path.stat().st_size}")
    cloud.made["image"] = made
    return f"{made.size >> 20} MiB"


@walk.step("clean start", quick=True)
def flavor(cloud: Cloud) -> str:
    """Two sizes exist, public to the user."""
    for name, memory in (("flavor", MEMORY), ("larger flavor", MEMORY + 64)):
        cloud.made[name] = cloud.admin.compute.create_flavor(
            name=f"{PREFIX}-{memory}", ram=memory, vcpus=1, disk=1, is_public=True
        )
    return f"{MEMORY} and {MEMORY + 64} MiB"


@walk.step("clean start", quick=True)
def tenant_network(cloud: Cloud) -> str:
    """The user's network is a VLAN of the site's range on the site's trunk."""
    trunk = cloud.options.site.trunk
    network = cloud.user.network.create_network(name=PREFIX)
    subnet = cloud.user.network.create_subnet(name=PREFIX, network_id=network.id, ip_version=4, cidr=CIDR)
    cloud.made |= {"network": network, "subnet": subnet}
    seen = cloud.admin.network.get_network(network.id)
    kind, vlan = seen.provider_network_type, seen.provider_segmentation_id
    physical = seen.provider_physical_network
    if kind != "vlan" or physical != trunk.physical_network:
        raise Failed(f"network is {kind} on {physical}, expected vlan on {trunk.physical_network}")
    if not any(low <= vlan <= high for low, high in trunk.vlans):
        raise Failed(f"network has VLAN {vlan}, expected one of {trunk.vlans}")
    return f"VLAN {vlan} on {physical}"


@walk.step("clean start", quick=True)
def security_group(cloud: Cloud) -> str:
    """A group lets in ICMP, SSH and HTTP, rule by rule."""
    group = cloud.user.network.create_security_group(name=PREFIX, description="Made by the smoke test")
    cloud.made["group"] = group
    cloud.made["icmp"] = cloud.user.network.create_security_group_rule(security_group_id=group.id, **ICMP)
    for port in (22, 80):
        cloud.user.network.create_security_group_rule(
            security_group_id=group.id, direction="ingress", protocol="tcp", port_range_min=port, port_range_max=port
        )
    return "icmp, 22, 80"


@walk.step("clean start", quick=True)
def compute_hosts(cloud: Cloud) -> str:
    """Every compute host of the site is up and enabled."""

    def missing() -> list[str]:
        services = list(cloud.admin.compute.services(binary="nova-compute"))
        good = {each.host for each in services if each.state == "up" and each.status == "enabled"}
        return [host for host in cloud.hosts if host not in good]

    until(f"nova-compute up on {', '.join(missing()) or 'all'}", lambda: not missing(), 60)
    return ", ".join(cloud.hosts)


@walk.step("key pair", "image", "flavor", "tenant network", "security group", "compute hosts", quick=True)
def boot_on_each_host(cloud: Cloud) -> str:
    """One instance runs on each compute host; each guest has its address, its metadata and its user data."""
    names = [f"on-{host}" for host in cloud.hosts]
    ports = {name: new_port(cloud, cloud.made["network"]) for name in names}
    addresses = {name: port.fixed_ips[0]["ip_address"] for name, port in ports.items()}
    data = {}
    for name, host in zip(names, cloud.hosts, strict=True):
        peers = [address for peer, address in addresses.items() if peer != name]
        peers += filter(None, [way_out(cloud)])
        data[name] = clouds.boot(cloud, name, cloud.made["network"], peers, host, ports[name])
    for name, host in zip(names, cloud.hosts, strict=True):
        clouds.active(cloud, name)
        if cloud.host_of(name).split(".")[0] != host:
            raise Failed(f"{name}: runs on {cloud.host_of(name)}, expected {host}")
    uptimes = [clouds.ready(cloud, name, data[name], addresses[name]).uptime for name in names]
    cloud.made["addresses"] = addresses
    return f"{', '.join(names)}; ready after {', '.join(f'{each:.0f} s' for each in uptimes)} of uptime"


def way_out(cloud: Cloud) -> str:
    """Return the address of the router behind the site's external network, empty when it has none."""
    external = [each for each in cloud.options.site.providers.values() if each.external]
    return str(external[0].gateway or "") if external else ""


def new_port(cloud: Cloud, network: Any) -> Any:
    """Return a port of the user's, so that an address is known before its guest exists."""
    return cloud.user.network.create_port(network_id=network.id, security_group_ids=[cloud.made["group"].id])


def pair(cloud: Cloud) -> tuple[str, str]:
    """Return the instances on the first two compute hosts."""
    if len(cloud.hosts) < 2:
        raise Skipped("the site has one compute host")
    return f"on-{cloud.hosts[0]}", f"on-{cloud.hosts[1]}"


def answers(cloud: Cloud, name: str, peer: str) -> dict[int, bool]:
    """Return what a guest's pings of another guest came to."""
    return guest.pings(cloud.console(name), cloud.made["addresses"][peer])


def heard(cloud: Cloud, name: str, peer: str, wanted: bool, seconds: float) -> None:
    """Wait until a guest's next three pings of another guest are all answered, or all lost."""
    start = max(answers(cloud, name, peer), default=0)

    def agree() -> bool:
        seen = {number: ok for number, ok in answers(cloud, name, peer).items() if number > start}
        return len(seen) >= 3 and guest.last(seen, 3) == [wanted] * 3

    until(f"{name}: pings of {peer} {'answered' if wanted else 'lost'}", agree, seconds)


@walk.step("boot on each host", quick=True)
def ping_across_hosts(cloud: Cloud) -> str:
    """Guests on two hosts reach each other, both ways."""
    one, two = pair(cloud)
    heard(cloud, one, two, True, 60)
    heard(cloud, two, one, True, 60)
    return f"{one} and {two}"


@walk.step("ping across hosts")
def security_group_blocks(cloud: Cloud) -> str:
    """Without its rule ICMP is lost; with the rule again it passes."""
    one, two = pair(cloud)
    cloud.user.network.delete_security_group_rule(cloud.made["icmp"])
    heard(cloud, one, two, False, 60)
    group = cloud.made["group"].id
    cloud.made["icmp"] = cloud.user.network.create_security_group_rule(security_group_id=group, **ICMP)
    heard(cloud, one, two, True, 60)
    return "lost without the rule, answered with it"


@walk.step("boot on each host")
def router(cloud: Cloud) -> str:
    """The user's network has a way out through the external provider network."""
    names = [each.name for each in cloud.options.site.providers.values() if each.external]
    if not names:
        raise Skipped("the site has no external provider network")
    external = cloud.user.network.find_network(names[0], ignore_missing=False)
    gateway = {"network_id": external.id}
    made = cloud.user.network.create_router(name=PREFIX, external_gateway_info=gateway)
    cloud.user.network.add_interface_to_router(made, subnet_id=cloud.made["subnet"].id)
    cloud.made |= {"router": made, "external": external}
    return f"to {external.name}"


@walk.step("router")
def source_nat(cloud: Cloud) -> str:
    """Instances without a floating IP reach the provider's router, on whatever host the gateway is."""
    gateway = way_out(cloud)
    if not gateway:
        raise Skipped(f"{cloud.made['external'].name} has no gateway")
    cloud.made["addresses"][gateway] = gateway
    names = [f"on-{host}" for host in cloud.hosts]
    for name in names:
        heard(cloud, name, gateway, True, 60)
    return f"{gateway} answers {', '.join(names)}"


@walk.step("router")
def floating_ip(cloud: Cloud) -> str:
    """From the provider's side an instance answers ping, HTTP and, to the user's key alone, SSH."""
    name = f"on-{cloud.hosts[-1]}"
    address = cloud.made["addresses"][name]
    port = next(iter(cloud.user.network.ports(fixed_ips=f"ip_address={address}")))
    floating = cloud.user.network.create_ip(floating_network_id=cloud.made["external"].id, port_id=port.id)
    cloud.made |= {"floating": floating, "reached": name}
    until("floating IP: ACTIVE", lambda: cloud.user.network.get_ip(floating.id).status == "ACTIVE", 60)
    until("floating IP: ping from the provider's side", lambda: answered(cloud, "ping"), 60)
    page = ask(cloud, "http")
    login = ask(cloud, "ssh", command="hostname").strip()
    if not page.startswith(f"{PREFIX}-{name} ") or login != f"{PREFIX}-{name}":
        raise Failed(f"{floating.floating_ip_address}: page {page!r}, host name {login!r}, expected {PREFIX}-{name}")
    refuses_others(cloud)
    return f"{floating.floating_ip_address}: ping, HTTP, SSH; another key is refused"


@walk.step("floating ip")
def power_off_from_within(cloud: Cloud) -> str:
    """A guest that turns itself off is SHUTOFF at once (Nova hears of it), and comes back when it is started."""
    name = cloud.made["reached"]
    ask(cloud, "ssh", command="(sleep 2; poweroff -f) > /dev/null 2>&1 &")
    # without libvirt's events nova-compute would find out in up to ten minutes (sync_power_state_interval)
    off = until(f"{name}: SHUTOFF", lambda: cloud.server(name).status == "SHUTOFF" and "SHUTOFF", 60)
    cloud.user.compute.start_server(cloud.servers[name].id)
    clouds.active(cloud, name)
    until(f"{name}: page from the provider's side", lambda: answered(cloud, "http"), 120)
    return f"{name} was {off}, then started"


@walk.step("key pair", "image", "flavor", "security group", "compute hosts")
def external_gateway(cloud: Cloud) -> str:
    """On a provider network whose router is not ours a guest has that router, its address, metadata and user data.

    Until it answers from outside nobody asks the cloud for it: it must come up by itself.
    """
    plain = [each for each in cloud.options.site.providers.values() if each.gateway and not each.external and each.dhcp]
    if not plain:
        raise Skipped("the site has no provider network with a gateway of its own for instances")
    provider = plain[0]
    network = cloud.user.network.find_network(provider.name, ignore_missing=False)
    port = new_port(cloud, network)
    address = port.fixed_ips[0]["ip_address"]
    data = clouds.boot(cloud, "on-provider", network, [str(provider.gateway)], port=port)
    probe = {"kind": "ping", "address": address, "vlan": provider.vlan}
    with suppress(Skipped):  # the rest can be seen without anybody on that side
        until("on-provider: ping from the provider's side", lambda: told(cloud, probe), UNASKED_SECONDS)
    clouds.active(cloud, "on-provider")
    clouds.ready(cloud, "on-provider", data, address)
    gateway = until("on-provider: route", lambda: guest.told(guest.GATEWAY, cloud.console("on-provider")), 30)
    if gateway != provider.gateway:
        raise Failed(f"on-provider: default route through {gateway}, expected {provider.gateway}")
    cloud.made["addresses"][str(provider.gateway)] = str(provider.gateway)
    heard(cloud, "on-provider", str(provider.gateway), True, 60)
    cloud.options.outside.ask(probe)
    return f"{provider.name} VLAN {provider.vlan}: {address} through {gateway}, metadata too"


@walk.step("boot on each host")
def screen(cloud: Cloud) -> str:
    """The console's address leads over TLS to the screen of the instance."""
    server = cloud.servers[f"on-{cloud.hosts[0]}"]
    console = cloud.user.compute.create_server_remote_console(server.id, protocol="vnc", type="novnc")
    return f"noVNC, {novnc.banner(console.url, cloud.ca_file)}"


@walk.step("clean start")
def dashboard(cloud: Cloud) -> str:
    """The user logs in to the dashboard and lands in the project."""
    return log_in(f"https://{cloud.options.site.api_name}/", PREFIX, cloud.password, cloud.ca_file)


@walk.step("ping across hosts")
def live_migration(cloud: Cloud) -> str:
    """An instance moves to the other host and back while it is pinged; it lives on and few pings are lost."""
    mover, watcher = pair(cloud)
    words = []
    for target in (cloud.hosts[1], cloud.hosts[0]):
        start = max(answers(cloud, watcher, mover))
        alive = max(answers(cloud, mover, watcher))
        cloud.admin.compute.live_migrate_server(cloud.servers[mover].id, host=target, block_migration="auto")
        arrived(cloud, mover, target)
        heard(cloud, watcher, mover, True, 60)
        during = [ok for number, ok in answers(cloud, watcher, mover).items() if number > start]
        lost = during.count(False)
        words.append(f"to {target}: {lost} of {len(during)} pings lost")
        if lost > 10:
            raise Failed(words[-1])
        until(f"{mover}: counts on", lambda: max(answers(cloud, mover, watcher), default=0) > alive, 60)  # noqa: B023
    return "; ".join(words)


def arrived(cloud: Cloud, name: str, target: str) -> None:
    """Wait until a migrating server is ACTIVE on its target; a migration that failed tells its state."""

    def there() -> bool:
        server = cloud.server(name)
        if server.status == "ERROR":
            raise Failed(f"{name}: ERROR: {(server.fault or {}).get('message')}")
        migrations = list(cloud.admin.compute.migrations(server_id=server.id))
        newest = max(migrations, key=lambda each: each.id, default=None)
        if newest is not None and newest.status in ("error", "failed", "cancelled"):
            raise Failed(f"{name}: migration to {target}: {newest.status}")
        return server.status == "ACTIVE" and not server.task_state and cloud.host_of(name).split(".")[0] == target

    until(f"{name}: ACTIVE on {target}", there, 300)


@walk.step("ping across hosts")
def cold_migration(cloud: Cloud) -> str:
    """A stopped move to another host, confirmed; the guest is up again there."""
    name, _ = pair(cloud)
    before = cloud.host_of(name)
    cloud.admin.compute.migrate_server(cloud.servers[name].id)
    confirmed(cloud, name)
    if cloud.host_of(name) == before:
        raise Failed(f"{name}: still on {before}")
    return f"{name} from {before} to {cloud.host_of(name)}"


@walk.step("ping across hosts")
def resize(cloud: Cloud) -> str:
    """The user makes an instance larger; the guest is up again with more memory."""
    name = pair(cloud)[1]
    cloud.user.compute.resize_server(cloud.servers[name].id, cloud.made["larger flavor"].id)
    confirmed(cloud, name)
    memory = cloud.server(name).flavor["ram"]
    if memory != MEMORY + 64:
        raise Failed(f"{name}: has {memory} MiB, expected {MEMORY + 64}")
    return f"{name} has {memory} MiB on {cloud.host_of(name)}"


def confirmed(cloud: Cloud, name: str) -> None:
    """Wait for the moved server, confirm the move, and wait until its guest has booted there."""

    def there() -> bool:
        server = cloud.server(name)
        if server.status in ("ERROR", "ACTIVE") and server.fault:
            raise Failed(f"{name}: {server.status}: {server.fault.get('message')}")
        return server.status == "VERIFY_RESIZE" and not server.task_state

    until(f"{name}: VERIFY_RESIZE", there, 300)
    cloud.user.compute.confirm_server_resize(cloud.servers[name].id)
    clouds.active(cloud, name)
    until(f"{name}: ready line on the console", lambda: guest.ready(cloud.console(name)), 300)


@walk.step("boot on each host", quick=True)
def delete(cloud: Cloud) -> str:
    """Every instance is gone, from the API and from the hosts."""
    ids = [server.id for server in cloud.servers.values()]
    for each in ids:
        cloud.user.compute.delete_server(each)
    clouds.gone(cloud)
    cloud.servers.clear()
    return f"{len(ids)} instances"


@walk.step("delete")
def five_at_once(cloud: Cloud) -> str:
    """Five instances, asked for at once by the user, are all up, each with its own address, and all go."""
    names = [f"five-{number}" for number in range(1, 6)]
    data = {name: clouds.boot(cloud, name, cloud.made["network"]) for name in names}
    for name in names:
        clouds.active(cloud, name, 600)
    addresses = {clouds.ready(cloud, name, data[name]).address for name in names}
    if len(addresses) != len(names):
        raise Failed(f"five instances have the addresses {sorted(addresses)}")
    spread = sorted({cloud.host_of(name) for name in names})
    return f"on {', '.join(spread)}; {delete(cloud)} gone"
