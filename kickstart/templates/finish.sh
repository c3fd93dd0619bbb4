#!/bin/sh
# @{about}
# Runs in the new system before its first boot: networks, keys, time, and what a Salt minion is told.
set -eu

put() {
    mkdir -p "${1%/*}"
    cat >"$1"
    chmod "$2" "$1"
}

install -d -m 0700 /root/.ssh
install -d -m 0755 /opt/saltern /etc/salt
@{files}
@{finish}
rm -f /root/finish.sh
