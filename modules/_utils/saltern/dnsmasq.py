"""The configuration of dnsmasq on the deploy host: DHCP, or proxyDHCP beside another server, and TFTP (dnsmasq(8))."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from saltern.model import Host, Management, Provisioning, Site
from saltern.profiles import Kickstart, Profile

DIRECTORY = "/srv/saltern-boot/boot"
"""Where the tree that is served lies on the deploy host: one for TFTP and HTTP."""
PORT = 8081
TLS_PORT = 8443
IPXE = "undionly.kpxe"
LEASE = "1h"


def boot_network(site: Site) -> Management | Provisioning:
    """Return the network from which machines boot."""
    return site.provisioning or site.management


def boot_address(site: Site, host: Host) -> str:
    """Return a host's address on the network from which machines boot."""
    return str(host.provisioning_address) if site.provisioning else host.address


def deploy_host(site: Site) -> Host:
    """Return the host from which the others boot; the check of the site file has seen that there is one."""
    return site.having("deploy")[0]


def server(site: Site) -> str:
    """Return ADDRESS:PORT of the HTTP server from which machines boot."""
    return f"{boot_address(site, deploy_host(site))}:{PORT}"


def trusted(site: Site) -> str:
    """Return ADDRESS:PORT at which machines exchange their tokens, over TLS."""
    return f"{boot_address(site, deploy_host(site))}:{TLS_PORT}"


def used(site: Site, kickstart: Kickstart) -> dict[str, Profile]:
    """Return the profiles by which hosts are installed."""
    names = dict.fromkeys(chosen.profile for _, chosen in site.installed)
    return {name: kickstart.profiles[name] for name in names}


def config(site: Site, kickstart: Kickstart, about: str) -> str:
    """Return dnsmasq.conf for a site that installs machines."""
    network, deploy = boot_network(site), deploy_host(site)
    proxy = isinstance(network, Provisioning) and network.dhcp == "proxy"
    profiles, address = used(site, kickstart), boot_address(site, deploy)
    return kickstart.render(
        "dnsmasq.conf",
        {
            "about": about,
            "device": str(deploy.device("provisioning" if site.provisioning else "management")),
            "address": address,
            "directory": DIRECTORY,
            "network": [*(_proxy(network) if proxy else _served(network))],
            "known": [*_known(site, proxy)],
            "boot": [*(_proxied(profiles, address) if proxy else _booted(profiles, address, server(site)))],
        },
    )


def _served(network: Management | Provisioning) -> Iterator[str]:
    """Yield how addresses are given: to known machines their own, to others some of the range, where there is one."""
    cidr = IPv4Network(network.cidr)
    limits = network.range if isinstance(network, Provisioning) else None
    yield "dhcp-authoritative"
    # The mask is said, not left to be guessed from the interface: a relay asks from elsewhere.
    yield f"dhcp-range={cidr.network_address},static,{cidr.netmask},{LEASE}"
    if limits:
        yield f"dhcp-range={limits[0]},{limits[1]},{cidr.netmask},{LEASE}"
    else:
        yield "dhcp-ignore=tag:!known"
    # Without a value, an option is not sent: else dnsmasq names itself as router.
    yield f"dhcp-option=option:router{',' + network.gateway if network.gateway else ''}"
    yield f"dhcp-option=option:dns-server{''.join(f',{each}' for each in network.dns)}"


def _proxy(network: Management | Provisioning) -> Iterator[str]:
    cidr = IPv4Network(network.cidr)
    yield f"dhcp-range={cidr.network_address},proxy,{cidr.netmask}"
    yield "dhcp-ignore=tag:!known"


def _known(site: Site, proxy: bool) -> Iterator[str]:
    for host, chosen in site.installed:
        given = "" if proxy else f",{boot_address(site, host)},{host.id},{LEASE}"
        yield f"dhcp-host={chosen.mac},set:known,set:{chosen.profile}{given}"


def _booted(profiles: dict[str, Profile], address: str, served: str) -> Iterator[str]:
    yield f"dhcp-boot=tag:known,tag:bios,tag:!ipxe,{IPXE},,{address}"
    yield f"dhcp-boot=tag:known,tag:ipxe,http://{served}/start.ipxe"
    yield "dhcp-option-force=tag:known,tag:uefihttp,60,HTTPClient"
    for name, profile in profiles.items():
        yield f"dhcp-boot=tag:{name},tag:uefi,{profile.shim},,{address}"
        yield f"dhcp-boot=tag:{name},tag:uefihttp,http://{served}/{profile.shim.lstrip('/')}"


def _proxied(profiles: dict[str, Profile], address: str) -> Iterator[str]:
    yield f"dhcp-boot=tag:known,tag:ipxe,http://{address}:{PORT}/start.ipxe"
    yield f'pxe-service=tag:known,tag:!ipxe,x86PC,"Saltern",{IPXE},{address}'
    for name, profile in profiles.items():
        yield f'pxe-service=tag:{name},X86-64_EFI,"Saltern",{profile.shim},{address}'
