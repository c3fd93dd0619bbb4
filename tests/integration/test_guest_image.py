"""The test guest is built and booted for real: under emulation, with and without metadata."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import guest_image

QEMU = shutil.which("qemu-system-x86_64")
USER_DATA = "#!/bin/sh\necho SALTERN-GUEST told $(hostname)\nexit 3\n"
NAME = "walker"
RESPONDER = """
import http.server, socket
class Metadata(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = {answers!r}.get(self.path.removeprefix("/latest/"))
        self.send_response(200 if text else 404)
        self.end_headers()
        self.wfile.write((text or "").encode())
    def log_message(self, *arguments):
        pass
Metadata(socket.socket(fileno=0), ("guest", 0), None)
"""


@pytest.fixture(scope="module", autouse=True)
def machine() -> None:
    assert QEMU, "qemu-system-x86 is not installed; `./saltern test` installs it"


@pytest.fixture(scope="module")
def image(request: pytest.FixtureRequest) -> guest_image.GuestImage:
    """The image, built once and kept in pytest's cache folder."""
    return guest_image.build(request.config.cache.mkdir("guest-image"))


class Guest:
    """A running guest: its console so far, and a socket to QEMU's monitor."""

    def __init__(self, image: guest_image.GuestImage, folder: Path, *extra: str) -> None:
        """Start the guest with a network that reaches nothing outside."""
        self.console = folder / "console"
        command = [QEMU or "", "-accel", "tcg,thread=multi", "-m", "128", "-display", "none", "-monitor", "stdio"]
        command += ["-serial", f"file:{self.console}", "-device", "virtio-net-pci,netdev=net"]
        command += ["-drive", f"file={image.disk},if=virtio,snapshot=on", *extra]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)

    def wait_for(self, pattern: str, seconds: float = 90) -> re.Match[str]:
        """Return the first match on the console; fail with the whole console when it does not come."""
        end = time.monotonic() + seconds
        text = ""
        while time.monotonic() < end:
            text = self.console.read_text(errors="replace") if self.console.exists() else ""
            if found := re.search(pattern, text):
                return found
            assert self.process.poll() is None, f"QEMU ended; console: {text}"
            time.sleep(0.2)
        pytest.fail(f"no {pattern!r} in {seconds} s; console: {text}")

    def power_button(self) -> None:
        """Press the guest's power button."""
        assert self.process.stdin
        self.process.stdin.write("system_powerdown\n")
        self.process.stdin.flush()


@pytest.fixture
def boot(image: guest_image.GuestImage, tmp_path: Path) -> Iterator[Callable[..., Guest]]:
    """A function that boots a guest; all are gone at the end."""
    guests: list[Guest] = []

    def start(*extra: str) -> Guest:
        guests.append(Guest(image, tmp_path, *extra))
        return guests[-1]

    yield start
    for guest in guests:
        guest.process.kill()
        guest.process.wait()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A fresh SSH key."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    return tmp_path / "key"


@pytest.fixture
def metadata(tmp_path: Path, key: Path) -> str:
    """A network for QEMU on which 169.254.169.254 answers as Nova does, one process a request."""
    answers = {
        "meta-data/instance-id": "i-00000042",
        "meta-data/hostname": f"{NAME}.lab.example",
        "meta-data/public-keys/0/openssh-key": key.with_suffix(".pub").read_text(),
        "user-data": USER_DATA,
    }
    script = tmp_path / "metadata.py"
    script.write_text(RESPONDER.format(answers=answers))
    forward = f"guestfwd=tcp:169.254.169.254:80-cmd:{sys.executable} {script}"
    return f"user,id=net,restrict=on,net=169.254.169.0/24,{forward}"


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_image_is_small_and_named_by_its_recipe(image: guest_image.GuestImage) -> None:
    """The disk is a qcow2 below 20 MB, and a second build returns the same file untouched."""
    assert image.disk.read_bytes()[:4] == b"QFI\xfb"
    assert image.disk.stat().st_size < 20 << 20
    before = image.disk.stat().st_mtime_ns
    again = guest_image.build(image.disk.parent)
    assert again == image
    assert again.disk.stat().st_mtime_ns == before


def test_guest_without_metadata_is_ready_and_obeys_the_power_button(boot: Callable[..., Guest]) -> None:
    """The guest says that there is no metadata, keeps going, and powers off when asked."""
    guest = boot("-netdev", "user,id=net,restrict=on")
    assert guest.wait_for(r"SALTERN-GUEST network ip=(\S+)")[1] == "10.0.2.15"
    guest.wait_for(r"SALTERN-GUEST hostkey ssh-ed25519 AAAA\S+")
    ready = guest.wait_for(r"SALTERN-GUEST ready ip=10.0.2.15 instance-id=(\S+) userdata=(\S+)")
    assert ready.groups() == ("absent", "absent")
    guest.power_button()
    assert guest.process.wait(timeout=30) == 0


def test_guest_reads_metadata_and_runs_user_data(boot: Callable[..., Guest], metadata: str) -> None:
    """Identity, name and user data come from 169.254.169.254; a script among them runs and its end is told."""
    guest = boot("-netdev", metadata, "-smbios", "type=1,product=OpenStack Nova")
    ready = guest.wait_for(r"SALTERN-GUEST ready \S+ instance-id=(\S+) userdata=(\S+) hostname=(\S+)")
    assert ready.groups() == ("i-00000042", hashlib.sha256(USER_DATA.encode()).hexdigest(), NAME)
    guest.wait_for(r"SALTERN-GUEST told walker")
    assert guest.wait_for(r"SALTERN-GUEST user-data exit=(\d+)")[1] == "3"


def test_only_the_metadata_key_logs_in(boot: Callable[..., Guest], metadata: str, key: Path, tmp_path: Path) -> None:
    """SSH takes the key of the metadata, shows the host key that the console told, and takes no other key."""
    port = free_port()
    guest = boot("-netdev", f"{metadata},hostfwd=tcp:127.0.0.1:{port}-:22", "-smbios", "type=1,product=OpenStack Nova")
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {guest.wait_for(r'hostkey (ssh-ed25519 AAAA[^ ]+)')[1].strip()}\n")
    guest.wait_for("SALTERN-GUEST ready")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    command = ["ssh", "-F", "none", "-p", str(port), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]
    command += ["-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={known}", "root@127.0.0.1", "hostname"]
    mine = subprocess.run([*command[:1], "-i", key, *command[1:]], capture_output=True, text=True, check=False)
    assert (mine.returncode, mine.stdout) == (0, f"{NAME}\n"), mine.stderr
    other = subprocess.run([*command[:1], "-i", tmp_path / "other", *command[1:]], capture_output=True, check=False)
    assert other.returncode == 255


def test_kernel_and_ramdisk_boot_on_their_own(boot: Callable[..., Guest], image: guest_image.GuestImage) -> None:
    """The separate kernel and ramdisk give the same guest."""
    guest = boot("-netdev", "user,id=net,restrict=on", "-kernel", str(image.kernel), "-initrd", str(image.ramdisk),
                 "-append", "quiet console=ttyS0")  # fmt: skip
    guest.wait_for(r"SALTERN-GUEST ready ip=10.0.2.15")
