"""Every file that machines are installed with, rendered from the site file: a tree as HTTP and TFTP are to serve it.

Nothing in it is secret. The file that a machine finds by its MAC starts it from its disk; the boot service sends
the one that installs it, which lies beside the host's other files, to the machine of an armed host. The answers of a
host are not served as they lie there: the keeper fills in a token and gives them out once.
"""

from __future__ import annotations

import hashlib
import shlex

from saltern import dnsmasq, rootdisks
from saltern.answers import ABOUT, PLACE, Sources, arguments, values
from saltern.errors import Problem, Problems
from saltern.model import Host

SCRIPTS = {"bios": "ipxe", "uefi": "cfg"}
"""What a firmware's boot loader reads: iPXE's scripts, GRUB's."""


def tree(sources: Sources) -> dict[str, str]:
    """Return the text of every file by its path: dnsmasq's configuration, and below boot/ what is served.

    Raises Problems when no host is installed from the network.
    """
    site, kickstart = sources.site, sources.kickstart
    if not site.installed:
        raise Problems([Problem("hosts", "none with the key install", "a host that is to be installed")])
    served = dnsmasq.server(site)
    common = {"about": ABOUT, "base": f"http://{served}", "server": served}
    shared = {
        "dnsmasq.conf": dnsmasq.config(site, kickstart, ABOUT),
        "boot/start.ipxe": kickstart.render("start.ipxe", common),
    }
    for profile in dnsmasq.used(site, kickstart).values():
        shared[f"boot/{profile.grub}"] = kickstart.render("start.cfg", common)
    return shared | {path: text for host, _ in site.installed for path, text in host_files(sources, host).items()}


def host_files(sources: Sources, host: Host) -> dict[str, str]:
    """Return the files of one host; raises Problems when it is not installed from the network."""
    chosen, kickstart = host.install, sources.kickstart
    if chosen is None:
        raise Problems([Problem(f"hosts:{host.id}:install", None, "this key is required for boot files")])
    found = values(sources, host, chosen)
    own, script = f"boot/hosts/{host.id}", SCRIPTS[chosen.firmware]
    profile = kickstart.profiles[chosen.profile]
    # iPXE asks with hyphens, GRUB with colons.
    mac = chosen.mac.replace(":", "-") if script == "ipxe" else chosen.mac
    finish = kickstart.render("finish.sh", found)
    disks = rootdisks.script(sources.site, host, chosen, kickstart)
    found |= {"finish_sum": _sum(finish), "disks_sum": _sum(disks)}
    answers = kickstart.render(profile.answers, found)
    found["answers_sum"] = _sum(answers)
    found["arguments"] = arguments(profile, found)
    return {
        f"boot/nodes/{mac}.{script}": kickstart.render(f"local.{script}", found),
        f"{own}/install.{script}": kickstart.render(f"install.{script}", found),
        f"{own if profile.image else f'answers/{host.id}'}/{profile.answers}": answers,
        f"{own}/finish.sh": finish,
        f"{own}/root-disks.sh": disks,
        f"{own}/trust.sh": trust_script(sources, host),
    }


def trust_script(sources: Sources, host: Host) -> str:
    """Return the script by which a machine gets its trust, for one host."""
    told = {"HOST": host.id, "SERVICE": f"https://{dnsmasq.trusted(sources.site)}", "DIR": PLACE}
    assignments = "".join(f"{name}={shlex.quote(value)}\n" for name, value in told.items())
    return f"#!/bin/sh\n# For {host.id}, from the site file.\n{assignments}\n{sources.kickstart.trust}"


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
