# Decides, on the machine that is being installed, which disks may hold the operating system. What the site file says
# stands above as data: NAME, DISKS, HINTS, WIPE, MINIMUM, METHOD, RECIPE, COMMANDS, ESP.
#
#   sh root-disks.sh choose           print the kernel names of the root disks and mark them, or say why not
#   sh root-disks.sh partman          the same, and tell the Debian Installer
#   sh root-disks.sh kickstart        the same, and print the commands for Anaconda
#   sh root-disks.sh installed DIR    the system in DIR is complete: renew the marks
#
# A disk holds data unless it has no partition and its first and last MiBs read as zeros: no list of signatures is ever
# complete. It is then taken only when WIPE names it, or when it carries the mark of this very host: half a MiB into the
# disk, before the first partition, where neither partitioners nor boot loaders write. A mark is worth something while an
# installation runs, and afterwards as long as the partition table is the one that the installation left.
#
# Runs under dash, bash and busybox. The paths can be set, for tests.
set -u
SYS=${ROOT_DISKS_SYS:-/sys/class/block}
DEV=${ROOT_DISKS_DEV:-/dev}
PROC=${ROOT_DISKS_PROC:-/proc}
CHOSEN=${ROOT_DISKS_CHOSEN:-/tmp/root-disks.chosen}
EDGE=4 # MiB at both ends that must be empty
MARK="saltern root disk of $NAME:"
MARK_SECTOR=1024
LC_ALL=C
export LC_ALL

say() { printf 'root disk: %s\n' "$*" >&2; }
trimmed() { tr '\000\t\n' '   ' | sed 's/^ *//; s/ *$//'; }
attribute() { for file in "$@"; do [ -r "$file" ] && trimmed <"$file" && return; done; }
number() {
    value=
    [ ! -r "$SYS/$1/$2" ] || read -r value <"$SYS/$1/$2"
    echo "${value:-0}"
}
mebibytes() { echo $(($(number "$1" size) / 2048)); }
model() { attribute "$SYS/$1/device/model"; }
device() { printf '%s/%s\n' "$DEV" "$1" | tr '!' '/'; }

serial() {
    found=$(attribute "$SYS/$1/serial" "$SYS/$1/device/serial")
    # SCSI and SATA have it in a page of "vital product data": four bytes of header, then text.
    [ -n "$found" ] || [ ! -r "$SYS/$1/device/vpd_pg80" ] ||
        found=$(dd if="$SYS/$1/device/vpd_pg80" bs=1 skip=4 2>/dev/null | trimmed)
    printf '%s\n' "$found"
}

wwn() { attribute "$SYS/$1/wwid" "$SYS/$1/device/wwid" | tr 'A-F' 'a-f' | sed 's/^0x//; s/^naa\.//; s/^eui\.//'; }

# Whole disks that stay where they are: no partitions, no loops or arrays, no sticks and drives for removable media.
disks() {
    for path in "$SYS"/*; do
        name=${path##*/}
        [ -e "$path/device" ] || continue
        [ ! -e "$path/partition" ] || continue
        [ "$(number "$name" removable)$(number "$name" ro)$(number "$name" hidden)" = 000 ] || continue
        [ "$(number "$name" size)" -gt 0 ] && echo "$name"
    done
}

partitions() {
    for path in "$SYS/$1"/*; do
        [ -e "$path/partition" ] && echo "${path##*/}"
    done
}

same() { [ "$(readlink -f "$1")" = "$(readlink -f "$2")" ]; }

# fits DISK KEY VALUE: whether a disk is as one hint says.
fits() {
    case $2 in
        serial) [ "$(serial "$1")" = "$3" ] ;;
        wwn) [ "$(wwn "$1")" = "$3" ] ;;
        model) [ "$(model "$1")" = "$3" ] ;;
        name) [ -e "$DEV/${3#/dev/}" ] && same "$DEV/${3#/dev/}" "$(device "$1")" ;;
        size) [ "$(mebibytes "$1")" -ge "${3% *}" ] && [ "$(mebibytes "$1")" -le "${3#* }" ] ;;
        *) return 1 ;;
    esac
}

# The disks that are as all hints of this number say.
matching() {
    for disk in $(disks); do
        printf '%s\n' "$HINTS" | (
            while read -r which key value; do
                [ "$which" != "$1" ] || fits "$disk" "$key" "$value" || exit 1
            done
        ) && echo "$disk"
    done
}

named() {
    printf '%s\n' "$WIPE" | (
        while read -r key value; do
            [ -n "$key" ] && fits "$1" "$key" "$value" && exit 0
        done
        exit 1
    )
}

# empty DISK FIRST-MIB BYTES: whether so many bytes are there, and all of them zeros.
empty() {
    count=$((($3 + 1048575) / 1048576))
    [ "$(dd if="$(device "$1")" bs=1048576 skip="$2" count="$count" 2>/dev/null | wc -c)" -eq "$3" ] &&
        [ "$(dd if="$(device "$1")" bs=1048576 skip="$2" count="$count" 2>/dev/null | tr -d '\000' | wc -c)" -eq 0 ]
}

blank() {
    last=$(($(mebibytes "$1") - EDGE))
    [ -z "$(partitions "$1")" ] && empty "$1" 0 "$((EDGE * 1048576))" &&
        empty "$1" "$last" "$(($(number "$1" size) * 512 - last * 1048576))"
}

# What a partition table is known by: its header has checksums of itself and of all entries.
table() {
    block=$(attribute "$SYS/$1/queue/logical_block_size")
    dd if="$(device "$1")" bs="${block:-512}" skip=1 count=1 2>/dev/null | sha256sum | cut -d ' ' -f 1
}

marked() {
    mark=$(dd if="$(device "$1")" bs=512 skip="$MARK_SECTOR" count=1 2>/dev/null | tr -d '\000')
    [ "$mark" = "$MARK installing" ] || [ "$mark" = "$MARK $(table "$1")" ]
}

# mark DISK STATE
mark() {
    printf '%s\n' "$MARK $2" |
        dd of="$(device "$1")" bs=512 seek="$MARK_SECTOR" count=1 conv=sync,notrunc 2>/dev/null && sync
}

# Whether a disk or a partition of it is mounted, or swapped to.
busy() {
    grep -h "^$DEV/" "$PROC/mounts" "$PROC/swaps" 2>/dev/null | (
        while read -r source _; do
            for part in "$1" $(partitions "$1"); do
                same "$source" "$(device "$part")" && exit 0
            done
        done
        exit 1
    )
}

# What stands against a disk, in words; nothing when it may be taken.
against() {
    if busy "$1"; then
        echo "is in use by the installer"
    elif [ "$(mebibytes "$1")" -lt "$MINIMUM" ]; then
        echo "has $(mebibytes "$1") MiB, the layout takes $MINIMUM"
    elif ! blank "$1" && ! named "$1" && ! marked "$1"; then
        echo "holds data: $(content "$1"); to lose it, name the disk at wipe: in the site file, by its serial or wwn"
    fi
}

content() {
    found=$(blkid -p -o export "$(device "$1")" 2>/dev/null | grep -E '^(TYPE|PTTYPE)=' | tr '\n' ' ')
    printf '%s%s' "${found:-something other than zeros, }" "partitions: $(partitions "$1" | tr '\n' ' ')"
}

described() {
    printf '%s: %s MiB, model "%s", serial "%s", wwn "%s"\n' \
        "$1" "$(mebibytes "$1")" "$(model "$1")" "$(serial "$1")" "$(wwn "$1")"
}

# Refuse with everything that was found, so that the next try is the right one.
refuse() {
    say "$*"
    for disk in $(disks); do say "$(described "$disk")"; done
    exit 1
}

choose() {
    taken=
    which=0
    while [ $((which += 1)) -le "$DISKS" ]; do
        found=$(matching "$which")
        hint=$(printf '%s\n' "$HINTS" | sed -n "s/^$which //p" | tr '\n' ';')
        [ -n "$hint" ] || refuse "nothing says which disk is number $which"
        case $(printf '%s\n' "$found" | grep -c .) in
            0) refuse "no disk is as the site file says: $hint" ;;
            1) taken="$taken$found " ;;
            *) refuse "several disks are as the site file says: $hint $(printf '%s\n' "$found" | tr '\n' ' ')" ;;
        esac
    done
    [ -z "$(printf '%s\n' "$taken" | tr ' ' '\n' | grep . | sort | uniq -d)" ] || refuse "twice the same disk: $taken"
    for disk in $taken; do
        why=$(against "$disk")
        [ -z "$why" ] || refuse "$disk $why"
    done
    for disk in $taken; do mark "$disk" installing || refuse "$disk cannot be written"; done
    printf '%s\n' "$taken" | tr ' ' '\n' | grep . >"$CHOSEN"
    cat "$CHOSEN"
}

# The devices of a name's partitions begin with this: sda → /dev/sda, nvme0n1 → /dev/nvme0n1p.
prefix() { device "$1" | sed 's/[0-9]$/&p/'; }

# Text from standard input, in which DISK1 and DISK2 (names) and PART1 and PART2 (devices without number) stand.
with_disks() {
    first=$(sed -n 1p "$CHOSEN") second=$(sed -n 2p "$CHOSEN")
    sed "s|DISK1|$first|g; s|DISK2|$second|g; s|PART1|$(prefix "$first")|g; s|PART2|$(prefix "$second")|g"
}

tell() { debconf-set "$1" "$2" || refuse "the installer does not take $1"; }

partman() {
    choose >/dev/null || exit 1
    devices=$(while read -r disk; do device "$disk"; done <"$CHOSEN" | tr '\n' ' ' | sed 's/ $//')
    tell partman-auto/method "$METHOD"
    tell partman-auto/disk "$devices"
    tell grub-installer/bootdev "$devices"
    tell partman-auto-raid/recipe "$(printf '%s' "$RECIPE" | with_disks)"
    # The partitioner sees no other disk: else it takes swap and EFI partitions of disks with data for its own.
    lister=$(command -v parted_devices) || refuse "the installer's list of disks is not where it was"
    [ -e "$lister.all" ] || mv "$lister" "$lister.all"
    { echo '#!/bin/sh' && echo "'$lister.all' | grep -E '^($(printf '%s' "$devices" | tr ' ' '|'))[[:space:]]'"; } >"$lister"
    chmod 755 "$lister"
}

kickstart() {
    choose >/dev/null || exit 1
    printf '%s\n' "$COMMANDS" | with_disks
}

installed() {
    while read -r disk; do
        [ -z "$ESP" ] || copy_esp "$1" "$(prefix "$disk")$ESP"
        mark "$disk" "$(table "$disk")" || say "$disk cannot be marked: the next installation will ask for wipe:"
    done <"$CHOSEN"
}

# The EFI partition of the second disk gets what the first one has, under the path that firmware tries by itself.
copy_esp() {
    grep -q "^$2[[:space:]]" "$PROC/mounts" && return # the first one
    mkdir -p /tmp/esp && mount -t vfat "$2" /tmp/esp && cp -r "$1/boot/efi/." /tmp/esp/
    umount /tmp/esp
}

case ${1:-} in
    choose | partman | kickstart | installed) "$@" ;;
    *) say "accepted: choose, partman, kickstart, installed DIR" && exit 2 ;;
esac
