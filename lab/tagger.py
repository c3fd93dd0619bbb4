"""A cable with a VLAN tag at one end: frames between the trunk and an untagged interface, in user space.

The kernel may have neither VLAN devices nor VLAN filtering in bridges. Two TAP devices do without: this process adds
the tag one way and takes it off the other way.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import selectors
import struct
import sys
from pathlib import Path

TUNSETIFF = 0x400454CA
TAP_WITHOUT_HEADER = 0x0002 | 0x1000
CLONE_NEWNET = 0x40000000
TPID = b"\x81\x00"
FRAME = 65536


def tagged(frame: bytes, vlan: int) -> bytes:
    """Return an untagged frame with a tag behind its addresses."""
    return frame[:12] + TPID + struct.pack("!H", vlan) + frame[12:]


def untagged(frame: bytes, vlan: int) -> bytes | None:
    """Return a frame of that VLAN without its tag, or None for every other frame."""
    if len(frame) < 18 or frame[12:14] != TPID or struct.unpack("!H", frame[14:16])[0] & 0x0FFF != vlan:
        return None
    return frame[:12] + frame[16:]


def tap(namespace: str, name: str) -> int:
    """Return a new TAP device inside a network namespace, as an open file."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/self/ns/net").open() as home, Path(namespace).open() as there:
        if libc.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
        try:
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), TAP_WITHOUT_HEADER))
        finally:
            if libc.setns(home.fileno(), CLONE_NEWNET):
                os._exit(1)
    return device


def move(source: int, target: int, vlan: int, adds: bool) -> None:
    """Move all frames that wait; what the other side cannot take is lost, as on any cable."""
    while True:
        try:
            frame = os.read(source, FRAME)
        except BlockingIOError:
            return
        changed = tagged(frame, vlan) if adds else untagged(frame, vlan)
        if changed is not None:
            try:
                os.write(target, changed)
            except OSError as error:
                # An interface that is still down refuses frames.
                sys.stderr.write(f"frame lost: {error}\n")


def main(trunk: str, trunk_name: str, router: str, router_name: str, vlan: int) -> None:
    """Carry frames for ever."""
    outer, inner = tap(trunk, trunk_name), tap(router, router_name)
    with selectors.DefaultSelector() as selector:
        selector.register(outer, selectors.EVENT_READ, (outer, inner, vlan, False))
        selector.register(inner, selectors.EVENT_READ, (inner, outer, vlan, True))
        while True:
            for key, _ in selector.select():
                move(*key.data)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
