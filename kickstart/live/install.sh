#!/bin/sh
# Installs one host from the root image: sh install.sh ANSWERS-URL SHA256. The disk is marked as unfinished from the
# first write to the last one, so that what was broken off is repeated and what succeeded is kept.
set -eu
WORK=/run/saltern
TARGET=/target
VOLUMES=$WORK/volumes
REPORT=
LVM_ALONE='activation { udev_sync=0 udev_rules=0 }'

# Not on standard output, which is captured where a function prints what it has found.
say() { printf 'saltern: %s s: %s\n' "$(cut -d . -f 1 /proc/uptime)" "$*" >&2; }

# Whoever listens may know; an installation does not depend on it.
report() {
    say "$*"
    [ -z "$REPORT" ] || curl -fsS --max-time 10 --data-binary "$*" "$REPORT" >/dev/null 2>&1 || :
}

die() {
    trap - EXIT
    report "failed: $*"
    exit 1
}

sum() { sha256sum "$1" | cut -d ' ' -f 1; }

# fetch FILE URL SHA256: the file is there, and is what was named. A transfer that stands still is tried again.
fetch() {
    curl -fsS --retry 5 --retry-all-errors --speed-limit 1000 --speed-time 30 -o "$1" "$2" || die "$2 cannot be fetched"
    found=$(sum "$1")
    [ "$found" = "$3" ] || { rm -f "$1" && die "$2 has the SHA-256 $found and not $3: nothing of it is used"; }
}

# partition DISK NUMBER: its device; "!" in the kernel's name stands for "/".
partition() {
    case $1 in
        *[0-9]) echo "/dev/$1p$2" ;;
        *) echo "/dev/$1$2" ;;
    esac | tr '!' '/'
}

on_each_disk() { while read -r disk; do partition "$disk" "$1"; done <"$WORK/disks"; }

choose() {
    report "10 percent: disks"
    # What is said goes to the console as it comes, and into the report.
    sh "$WORK/root-disks.sh" choose >"$WORK/disks" 2>"$WORK/refusal" ||
        { cat "$WORK/refusal" && die "no disk is written to: $(head -n 1 "$WORK/refusal")"; }
}

# The types of partitions that the table of the layout names (sfdisk(8); UEFI Specification, GPT partition types).
type_of() {
    case $1 in
        grub) echo 21686148-6449-6E6F-744E-656564454649 ;;
        esp) echo C12A7328-F81F-11D2-BA4B-00A0C93EC93B ;;
        raid) echo A19D880F-05FC-4D3B-A006-743F0F84911E ;;
        lvm) echo E6D6D379-F507-44C2-A23C-238F2A3DF928 ;;
        plain) echo 0FC63DAF-8483-4772-8E79-3D69D8477DE4 ;;
        *) die "the layout has a partition of the kind $1" ;;
    esac
}

sizes() {
    echo "label: gpt"
    while read -r size kind _; do
        [ "$size" = rest ] || printf 'size=%sMiB, ' "$size"
        type=$(type_of "$kind")
        echo "type=$type"
    done <"$WORK/layout"
}

divide() {
    report "15 percent: partitions"
    printf '%s\n' "$LAYOUT" | grep . >"$WORK/layout"
    sizes >"$WORK/sizes"
    while read -r disk; do
        sfdisk --quiet --wipe always --wipe-partitions always "/dev/$(echo "$disk" | tr '!' '/')" <"$WORK/sizes"
    done <"$WORK/disks"
    udevadm settle --timeout=30
}

format() { # FILESYSTEM DEVICE
    case $1 in
        ext4) mkfs.ext4 -q -F "$2" ;;
        vfat) mkfs.vfat -F 32 "$2" >/dev/null ;;
        *) die "the layout has a file system of the kind $1" ;;
    esac
}

# Prints the device that a line of the layout stands for, made of partitions NUMBER of the root disks.
volume() { # NUMBER KIND
    parts=$(on_each_disk "$1")
    case $2 in
        esp | plain) echo "$parts" | head -n 1 ;;
        raid)
            # shellcheck disable=SC2086 # one word each
            mdadm --create "/dev/md$1" --run --homehost="$HOST" --level=1 --metadata=1.2 --raid-devices="$DISKS" \
                $parts >&2
            echo "/dev/md$1"
            ;;
        lvm) logical "$parts" ;;
    esac
}

# Only this one partition is looked at: a group of the same name on another disk stays what it is.
logical() { # PARTITION
    own() { lvm "$@" --quiet --yes --config "$LVM_ALONE" --devices "$parts" >&2; }
    own vgcreate system "$1"
    free=$(lvm vgs --devices "$1" --noheadings --nosuffix --units m -o vg_free system | tr -d ' ' | cut -d . -f 1)
    [ "$free" -lt 102400 ] || free=102400
    own lvcreate --wipesignatures y --size "${free}m" --name root system
    echo /dev/mapper/system-root
}

filesystems() {
    report "20 percent: file systems"
    modprobe -a dm-mod md-mod raid1 ext4 vfat nls_cp437 nls_ascii
    DISKS=$(grep -c . "$WORK/disks")
    number=0
    : >"$VOLUMES"
    while read -r _ kind filesystem mount; do
        number=$((number + 1))
        [ "$kind" != grub ] || continue
        device=$(volume "$number" "$kind")
        [ "$kind" != esp ] || for each in $(on_each_disk "$number"); do format vfat "$each"; done
        [ "$kind" = esp ] || format "$filesystem" "$device"
        echo "$mount $filesystem $device" >>"$VOLUMES"
    done <"$WORK/layout"
    sort -o "$VOLUMES" "$VOLUMES"
}

mount_target() {
    while read -r mount filesystem device; do
        mkdir -p "$TARGET$mount"
        mount -t "$filesystem" "$device" "$TARGET$mount"
    done <"$VOLUMES"
}

unpack() {
    report "25 percent: fetching the root image"
    fetch "$TARGET/.root.tar.zst" "$IMAGE" "$IMAGE_SUM"
    report "40 percent: unpacking the root image"
    tar --extract --use-compress-program=zstd --file="$TARGET/.root.tar.zst" --directory="$TARGET" \
        --numeric-owner --preserve-permissions --xattrs --xattrs-include='*'
    rm "$TARGET/.root.tar.zst"
}

source_of() { # DEVICE: as fstab is to name it; copies of a logical volume have the same UUID
    case $1 in
        /dev/mapper/*) echo "$1" ;;
        *) echo "UUID=$(blkid -o value -s UUID "$1")" ;;
    esac
}

fstab() {
    echo "# <file system> <mount point> <type> <options> <dump> <pass>"
    while read -r mount filesystem device; do
        case $mount in
            /) rest="errors=remount-ro 0 1" ;;
            /boot/efi) rest="umask=0077 0 1" ;;
            *) rest="defaults 0 2" ;;
        esac
        echo "$(source_of "$device") $mount $filesystem $rest"
    done <"$VOLUMES"
}

name() {
    report "80 percent: names, networks, keys"
    fstab >"$TARGET/etc/fstab"
    echo "$HOST" >"$TARGET/etc/hostname"
    printf '127.0.0.1\tlocalhost\n127.0.1.1\t%s.%s\t%s\n\n' "$HOST" "$DOMAIN" "$HOST" >"$TARGET/etc/hosts"
    printf '::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n' \
        >>"$TARGET/etc/hosts"
    cp /etc/resolv.conf "$TARGET/etc/resolv.conf"
    for each in proc sys dev run; do mount -o rbind "/$each" "$TARGET/$each"; done
    # Else nobody watches the arrays: their monitor wants to know whom to tell.
    within /usr/share/mdadm/mkconf force-generate /etc/mdadm/mdadm.conf
    within ssh-keygen -A
    say "host key: $(cut -d " " -f 1,2 "$TARGET/etc/ssh/ssh_host_ed25519_key.pub")"
    cp "$WORK/finish.sh" "$TARGET/root/finish.sh"
    within sh /root/finish.sh
}

within() { chroot "$TARGET" "$@"; }

# Nothing goes into the firmware's variables: which device is first, is the operator's, and every disk has the path
# that firmware tries by itself.
boot_loader() {
    report "90 percent: boot loader"
    case $FIRMWARE in
        bios)
            while read -r disk; do
                within grub-install --target=i386-pc "/dev/$(echo "$disk" | tr '!' '/')"
            done <"$WORK/disks"
            ;;
        uefi)
            within grub-install --target=x86_64-efi --uefi-secure-boot --bootloader-id=debian --force-extra-removable \
                --no-nvram
            ;;
    esac
    within update-grub
}

finished() {
    sh "$WORK/root-disks.sh" installed "$TARGET"
    for each in proc sys dev run; do umount -l "$TARGET/$each"; done
    sort -r "$VOLUMES" | while read -r mount _; do umount "$TARGET$mount"; done
    sync
    report "100 percent: installed"
}

mkdir -p "$WORK"
fetch "$WORK/answers" "$1" "$2"
# shellcheck disable=SC1091 # made for each host: HOST, DOMAIN, FIRMWARE, LAYOUT, URL, IMAGE, REPORT and the sums
. "$WORK/answers"
report "5 percent: started"
trap '[ $? = 0 ] || report "failed: a command has failed; its words stand above"' EXIT
fetch "$WORK/root-disks.sh" "$URL/root-disks.sh" "$DISKS_SUM"
fetch "$WORK/finish.sh" "$URL/finish.sh" "$FINISH_SUM"
choose
divide
filesystems
mount_target
unpack
name
boot_loader
finished
trap - EXIT
