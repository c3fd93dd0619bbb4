"""What the base image holds, and what is written over it on every node: data only."""

from __future__ import annotations

from pathlib import Path

SUITE = "trixie"

# Counted up when the way the image is built changes.
BUILD = 1

# No OpenStack package, no database, no QEMU: "from empty nodes" is meant.
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "udev",
    "iproute2",
    "nftables",
    "python3",
    "python3-venv",
    "ca-certificates",
    "openssl",
    "procps",
    "iputils-ping",
    "kmod",
    "curl",
    "netbase",
    "less",
    "gpgv",
    # The master decrypts secrets with these.
    "gpg",
    "gpg-agent",
)

# Salt and what its modules import, in one environment on every host.
LIBRARIES = (
    "salt==3008.3",
    "openstacksdk==4.22.0",
    "PyMySQL==1.2.4",
    "amqp==5.4.2",
    "netaddr==1.3.0",
    "pytest==9.2.0",
    "pytest-testinfra==10.2.2",
)
PINS = Path(__file__).resolve().parent.parent / "salt-constraints.txt"
# What those pull in, too, and each of them at exactly one version.
CONSTRAINTS = tuple(line for line in PINS.read_text().splitlines() if not line.startswith("#"))
# Present only while wheels are built.
COMPILER = ("gcc", "libc6-dev", "python3-dev")

IMAGE = (BUILD, SUITE, PACKAGES, LIBRARIES, CONSTRAINTS, COMPILER)
"""What the image depends on."""

COMMANDS = ("salt", "salt-call", "salt-key", "salt-master", "salt-minion", "salt-run")

UNIT = """\
[Unit]
Description=Salt {name}
After=network.target
{condition}[Service]
Type=notify
NotifyAccess=all
ExecStart=/opt/saltern/salt/bin/salt-{name}
Restart=on-failure
RestartSec=2
KillMode={kill}
LimitNOFILE=100000
TasksMax=infinity
[Install]
WantedBy=multi-user.target
"""

# At the very first boot the master starts only when the site file and its own modules have been brought to it.
SITE_THERE = "ConditionPathExists=/etc/saltern/site.yaml\n"

# systemd-networkd waits for udev where /sys is writable; the machine's other devices are none of a node's business.
TRIGGER = """\
[Service]
ExecStart=
ExecStart=-udevadm trigger --subsystem-match=net --action=add
"""

FILES = {
    "etc/systemd/system/systemd-udev-trigger.service.d/saltern-lab.conf": TRIGGER,
    # The lab's disks are thrown away: packages need not survive a power cut.
    "etc/dpkg/dpkg.cfg.d/saltern-lab": "force-unsafe-io\n",
    "etc/apt/apt.conf.d/80saltern-lab": 'APT::Install-Recommends "false";\nAcquire::Languages "none";\n',
    "etc/systemd/system/salt-master.service": UNIT.format(name="master", kill="mixed", condition=SITE_THERE),
    # A package transaction that a job started outlives the minion's restart.
    "etc/systemd/system/salt-minion.service": UNIT.format(name="minion", kill="process", condition=""),
    "etc/systemd/journald.conf.d/saltern-lab.conf": "[Journal]\nStorage=persistent\nSystemMaxUse=200M\n",
}

# Nothing in a container may steer the machine below: its clock, its devices, its consoles, its kernel's settings.
MASKED = (
    "systemd-timesyncd.service",
    "systemd-networkd-wait-online.service",
    "systemd-modules-load.service",
    "systemd-sysctl.service",
    "systemd-binfmt.service",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "console-getty.service",
    "getty.target",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
)

NETWORKD = "systemd-networkd.service"
LINKS = {
    **{f"etc/systemd/system/{unit}": "/dev/null" for unit in MASKED},
    **{f"usr/local/bin/{command}": f"/opt/saltern/salt/bin/{command}" for command in COMMANDS},
    f"etc/systemd/system/multi-user.target.wants/{NETWORKD}": f"/usr/lib/systemd/system/{NETWORKD}",
}
