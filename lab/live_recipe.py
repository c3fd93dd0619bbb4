"""What the live installer's root image and initramfs hold: data only."""

from __future__ import annotations

from lab import layout, recipe

SCRIPTS = layout.REPOSITORY / "kickstart" / "live"

# Counted up when the way the image is built changes.
BUILD = 1

# The same image serves both firmwares and all layouts. The whole kernel: the one for clouds has no drivers for most
# network cards and disk controllers of real machines.
PACKAGES = (
    "linux-image-amd64",
    "initramfs-tools",
    "grub2-common",
    "grub-pc-bin",
    "grub-efi-amd64-bin",
    "grub-efi-amd64-signed",
    "shim-signed",
    "lvm2",
    "mdadm",
    "openssh-server",
    "systemd-timesyncd",
    "python3-venv",
    # for the initramfs of the installer
    "busybox",
    "zstd",
    "fdisk",
    "e2fsprogs",
    "dosfstools",
)

# Without these the first boot would rebuild what the image has: the linker's cache, the journal's catalogue.
UPDATED = "# This file marks that the caches below are those of /usr (systemd-update-done.service(8)).\n"
FILES = {
    "etc/.updated": UPDATED,
    "var/.updated": UPDATED,
    # Whoever gives the host its Salt minion's configuration starts it thereby.
    "etc/systemd/system/salt-minion.service": recipe.UNIT.format(
        name="minion", kill="process", condition="ConditionPathExists=/etc/salt/minion\n"
    ),
}
LINKS = {
    **{f"usr/local/bin/{command}": f"/opt/saltern/salt/bin/{command}" for command in ("salt-call", "salt-minion")},
    "etc/systemd/system/multi-user.target.wants/salt-minion.service": "/etc/systemd/system/salt-minion.service",
}

# Secrets and identities first: each host makes its own at its installation or its first boot.
REMOVED = (
    "etc/ssh/ssh_host_*",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "etc/apt/sources.list",
    "etc/apt/apt.conf.d/81saltern-mirror",
    "etc/dpkg/dpkg.cfg.d/saltern-*",
    "etc/mdadm/mdadm.conf",
    "etc/lvm/archive/*",
    "etc/lvm/backup/*",
    "var/lib/apt/lists/*",
    "var/cache/apt/*.bin",
    "var/cache/debconf/*-old",
    "var/lib/dpkg/*-old",
    "var/log/*.log",
    "var/log/apt/*",
    "run/*",
    "tmp/*",
    "mnt/*",
    "root/.cache",
)

FOLDERS = ("dev", "etc", "proc", "run", "sys", "target", "tmp", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64")
PROGRAMS = (
    "usr/bin/busybox",
    # busybox has a wget, which checks no certificate
    "usr/bin/curl",
    "usr/bin/kmod",
    "usr/bin/tar",
    "usr/bin/udevadm",
    "usr/bin/zstd",
    "usr/sbin/blkid",
    "usr/sbin/lvm",
    "usr/sbin/mdadm",
    "usr/sbin/mke2fs",
    "usr/sbin/mkfs.fat",
    "usr/sbin/sfdisk",
)
DATA = (
    "etc/group",
    "etc/mke2fs.conf",
    "etc/passwd",
    # udev loads it by its name when it needs it.
    "usr/lib/x86_64-linux-gnu/libkmod.so.2",
    "usr/lib/udev/rules.d/50-udev-default.rules",
    "usr/lib/udev/rules.d/60-block.rules",
    "usr/lib/udev/rules.d/60-persistent-storage.rules",
    "usr/lib/udev/rules.d/80-drivers.rules",
)
"""udev's rules that name disks and load drivers. None that assemble arrays or volume groups: they are not ours."""
NAMES = {
    "bin": "usr/bin",
    "sbin": "usr/sbin",
    "lib": "usr/lib",
    "lib64": "usr/lib64",
    "usr/bin/sh": "busybox",
    "usr/sbin/modprobe": "../bin/kmod",
    "usr/sbin/mkfs.ext4": "mke2fs",
    "usr/sbin/mkfs.vfat": "mkfs.fat",
    "usr/sbin/systemd-udevd": "../bin/udevadm",
}
MODULES = (
    "kernel/drivers/ata/",
    "kernel/drivers/block/virtio_blk",
    "kernel/drivers/block/xen-blkfront",
    "kernel/drivers/char/hw_random/virtio-rng",
    "kernel/drivers/hid/",
    "kernel/drivers/hv/",
    "kernel/drivers/md/dm-mod",
    "kernel/drivers/md/md-mod",
    "kernel/drivers/md/raid1",
    "kernel/drivers/message/",
    "kernel/drivers/net/ethernet/",
    "kernel/drivers/net/hyperv/",
    "kernel/drivers/net/phy/",
    "kernel/drivers/net/virtio_net",
    "kernel/drivers/net/vmxnet3/",
    "kernel/drivers/nvme/host/",
    "kernel/drivers/scsi/",
    "kernel/drivers/usb/host/",
    "kernel/drivers/virtio/",
    "kernel/fs/ext4/",
    "kernel/fs/fat/",
    "kernel/fs/nls/nls_ascii",
    "kernel/fs/nls/nls_cp437",
    # ext4 asks for its checksum by this name.
    "kernel/crypto/crc32c",
    "kernel/lib/",
)
INITRAMFS = {"init": 0o755, "install.sh": 0o755, "udhcpc": 0o755}

LOADERS = {
    "undionly.kpxe": "run/loaders/usr/lib/ipxe/undionly.kpxe",
    "bootnetx64.efi": "usr/lib/shim/shimx64.efi.signed",
    "grubx64.efi": "usr/lib/grub/x86_64-efi-signed/grubnetx64-installer.efi.signed",
}
"""What firmware starts first, as it lies in the packages."""

IMAGE = (BUILD, PACKAGES, FILES, LINKS, REMOVED, FOLDERS, PROGRAMS, DATA, NAMES, MODULES, INITRAMFS, LOADERS)
"""What the image depends on, beside the scripts and the lab's base image."""
