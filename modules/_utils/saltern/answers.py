"""What the templates of one host are filled with: all decisions are made here, as data."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from saltern import dnsmasq, networkd
from saltern.errors import Problem, Problems
from saltern.model import Host, Install, Site
from saltern.profiles import Kickstart, Layout, Profile, fill

ABOUT = "Managed by Saltern: made from the site file; what is changed here is overwritten."
END = "END_OF_FILE"
AUTHORIZED = "/root/.ssh/authorized_keys"
PLACE = "/tmp/saltern"  # noqa: S108 - of an installer, where nobody else is
"""Where an installer has what its answers bring: the token, the secret, the certificate of the authority."""
ARMED = (
    f"umask 077 && mkdir -p {PLACE} && echo @{{token}} >{PLACE}/token && echo @{{secret}} >{PLACE}/secret &&"
    " { echo -----BEGIN CERTIFICATE-----; for each in @{authority}; do echo $each; done;"
    f" echo -----END CERTIFICATE-----; }} >{PLACE}/ca.crt"
)
"""The command that puts them there; the keeper fills in its words. No backslash: installers differ in what it means."""

_SERIAL = re.compile(r"ttyS([0-9]+),?([0-9]*)")

Value = str | list[str]


@dataclass(frozen=True)
class Sources:
    """All that boot files are made from; ``mirrors`` has ``debian``, ``fedora`` and, when known, ``security``.

    ``images`` has the SHA-256 of each root image by its path.
    """

    site: Site
    kickstart: Kickstart
    mirrors: Mapping[str, str]
    images: Mapping[str, str] = field(default_factory=dict)


def values(sources: Sources, host: Host, chosen: Install) -> dict[str, Value]:
    """Return what templates can say of a host; raises Problems where a mirror is not known."""
    site, profile = sources.site, sources.kickstart.profiles[chosen.profile]
    family = FAMILIES[profile.family]
    mirror = _mirror(sources, profile.mirror)
    words = {**_names(site, host, chosen, profile), "tree": f"{mirror.rstrip('/')}/{profile.tree}"}
    return {
        **words,
        **_archive(mirror, sources.mirrors.get("security", "")),
        "recipe": " ".join(partitions(profile.disks[chosen.layout], chosen.firmware)),
        "table": [*partitions(profile.disks[chosen.layout], chosen.firmware)],
        "image": profile.image,
        "image_sum": sources.images.get(profile.image, ""),
        "packages": " ".join(profile.packages),
        "package_lines": [*profile.packages],
        "time": [*family.time(site)],
        "loader": family.loader,
        "terminal": [*_terminal(chosen.console)],
        "files": [*_put(_files(sources, host, chosen))],
        "finish": [*profile.finish],
        "armed": ARMED,
        "place": PLACE,
    }


def _files(sources: Sources, host: Host, chosen: Install) -> dict[str, str]:
    """Return the files of the new system; a minion that has no way to its master's trust yet is told of none."""
    profile = sources.kickstart.profiles[chosen.profile]
    made = {**networkd_files(sources.site, host), **FAMILIES[profile.family].files(sources, chosen), **_keys(chosen)}
    return made if profile.image else {**made, **_minion(sources.site, host)}


def _names(site: Site, host: Host, chosen: Install, profile: Profile) -> dict[str, str]:
    served = dnsmasq.server(site)
    return {
        "about": ABOUT,
        "host": host.id,
        "firmware": chosen.firmware,
        "domain": site.domain,
        "base": f"http://{served}",
        "server": served,
        "url": f"http://{served}/hosts/{host.id}",
        "told": f"http://{served}/answers/{host.id}",
        "mac": chosen.mac,
        "dashed": chosen.mac.replace(":", "-"),
        "console": chosen.console,
        "profile": profile.name,
        "suite": profile.suite,
        "kernel": profile.kernel,
        "initrd": profile.initrd,
    }


def arguments(profile: Profile, words: Mapping[str, Value]) -> str:
    """Return what the kernel that installs is told; ``words`` has the sum of the answers, too."""
    return " ".join(line for each in profile.arguments for line in fill(each, words))


def partitions(layout: Layout, firmware: str) -> tuple[str, ...]:
    """Return what the installer is told of partitions; the boot loader's comes first."""
    return (*(layout.uefi if firmware == "uefi" else layout.bios), *layout.common)


def _mirror(sources: Sources, name: str) -> str:
    """Return a mirror, or raise a Problem that says where it is to be named."""
    if name not in sources.mirrors:
        accepted = "the URL of a mirror: this machine's own package manager names none"
        raise Problems([Problem(f"mirrors:{name}", None, accepted)])
    return sources.mirrors[name]


def _archive(mirror: str, security: str) -> dict[str, Value]:
    """Return a mirror in the pieces that the Debian Installer asks for, and the archive of security updates."""
    parts, secure = urlsplit(mirror), urlsplit(security)
    lines = [
        "d-i apt-setup/services-select multiselect security, updates",
        f"d-i apt-setup/security_host string {secure.netloc}",
        f"d-i apt-setup/security_path string {secure.path}",
    ]
    return {
        "mirror_scheme": parts.scheme,
        "mirror_host": parts.netloc,
        "mirror_directory": parts.path.rstrip("/") or "/",
        "security": lines if security else ["d-i apt-setup/services-select multiselect updates"],
    }


def networkd_files(site: Site, host: Host) -> dict[str, str]:
    """Return the files of a host's networks by their paths."""
    return {f"{networkd.DIRECTORY}/{name}": text for name, text in networkd.files(site, host).items()}


def _keys(chosen: Install) -> dict[str, str]:
    return {AUTHORIZED: "".join(f"{key}\n" for key in chosen.ssh_keys)}


def _minion(site: Site, host: Host) -> dict[str, str]:
    """Return the minion's configuration; its key, and the master's to which it is pinned, come with the exchange."""
    return {"/etc/salt/minion": f"id: {host.id}\nmaster: {dnsmasq.deploy_host(site).address}\n"}


def _put(texts: Mapping[str, str]) -> Iterator[str]:
    """Yield the commands that write files."""
    for path, text in texts.items():
        yield f"put {shlex.quote(path)} {'0600' if path == AUTHORIZED else '0644'} <<'{END}'\n{text}{END}"


def _terminal(console: str) -> Iterator[str]:
    """Yield what GRUB is told of a serial console; of a screen nothing (GRUB's manual, ``serial``)."""
    if found := _SERIAL.match(console):
        yield f"serial --unit={found[1]} --speed={found[2] or 9600}"
        yield "terminal_input serial console"
        yield "terminal_output serial console"


@dataclass(frozen=True)
class Family:
    """What installers are told of time, and the files by which the new system keeps it."""

    time: Callable[[Site], Iterator[str]]
    files: Callable[[Sources, Install], dict[str, str]]
    loader: str
    """What starts the new system on its EFI partition."""


def _preseed_time(site: Site) -> Iterator[str]:
    yield f"d-i clock-setup/ntp boolean {'true' if site.ntp_servers else 'false'}"
    yield from (f"d-i clock-setup/ntp-server string {each}" for each in site.ntp_servers[:1])


def _timesyncd(sources: Sources, _: Install) -> dict[str, str]:
    servers = sources.site.ntp_servers
    text = f"[Time]\nNTP={' '.join(servers)}\n"
    return {"/etc/systemd/timesyncd.conf.d/saltern.conf": text} if servers else {}


def _live_files(sources: Sources, chosen: Install) -> dict[str, str]:
    """Return the files that Debian's own installer would write by itself: package sources, GRUB's settings."""
    suite, mirror = sources.kickstart.profiles[chosen.profile].suite, sources.mirrors["debian"]
    archives = [(mirror, suite), (mirror, f"{suite}-updates")]
    archives += [(each, f"{suite}-security") for each in [sources.mirrors.get("security")] if each]
    return {
        **_timesyncd(sources, chosen),
        "/etc/apt/sources.list": "".join(f"deb {url} {name} main non-free-firmware\n" for url, name in archives),
        "/etc/default/grub.d/saltern.cfg": "".join(f"{line}\n" for line in _grub(chosen.console)),
    }


def _grub(console: str) -> Iterator[str]:
    """Yield GRUB's settings on the new system (GRUB's manual, "Simple configuration handling")."""
    yield f'GRUB_CMDLINE_LINUX="console={console}"'
    if found := _SERIAL.match(console):
        yield 'GRUB_TERMINAL="console serial"'
        yield f'GRUB_SERIAL_COMMAND="serial --unit={found[1]} --speed={found[2] or 9600}"'


def _kickstart_time(site: Site) -> Iterator[str]:
    yield from (f"timesource --ntp-server={each}" for each in site.ntp_servers)


def _no_time(_: Site) -> Iterator[str]:
    yield from ()


def _nothing(_: Sources, __: Install) -> dict[str, str]:
    return {}


FAMILIES = {
    "debian": Family(_preseed_time, _timesyncd, "/EFI/debian/shimx64.efi"),
    "live": Family(_no_time, _live_files, "/EFI/debian/shimx64.efi"),
    "fedora": Family(_kickstart_time, _nothing, "/EFI/fedora/shimx64.efi"),
}
