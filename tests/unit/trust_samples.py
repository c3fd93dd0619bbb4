"""A deploy host in a directory: records, a master's keys, answers, an authority; for tests of who is given what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from saltern import bootfiles, pki
from saltern.hostlife import Armed
from saltern.hoststore import Store
from saltern.masterkeys import Keys
from saltern.trust import Desk

from tests.unit.boot_samples import simple, sources

MACHINE = ("52:54:00:00:00:03", "10.0.0.3")
OTHER = ("52:54:00:ff:ff:ff", "10.0.0.99")
ARMED = Armed(*MACHINE, "preseed.cfg")
FORGET = '#!/bin/sh\n[ "$1 $2" = "--yes --delete" ] && echo "$3" >>{0}/forgotten && rm {0}/minions/"$3"\n'


def public(bits: int = 2048) -> str:
    """The public half of a new key."""
    key = rsa.generate_private_key(65537, bits).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


class Deploy:
    """A deploy host with the hosts of the simple site, a clock that one sets, and a wire that says who is where."""

    def __init__(self, root: Path) -> None:
        """Write the tree, the authority and the master's own key; nothing is armed."""
        self.root, self.clock, self.told = root, 1000.0, list[tuple[str, str, str]]()
        self.wire = {address: mac for mac, address in (MACHINE, OTHER)}
        for path, text in bootfiles.tree(sources(simple())).items():
            (root / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
            (root / "tree" / path).write_text(text)
        (root / "master").mkdir()
        (root / "master/master.pub").write_text("-----BEGIN PUBLIC KEY-----\nmaster\n-----END PUBLIC KEY-----\n")
        (root / "salt-key").write_text(FORGET.format(root / "master"))
        (root / "salt-key").chmod(0o755)
        (root / "ca.crt").write_text(pki.ensure_authority(str(root / "authorities"), "services").pem)
        self.keys = Keys(root / "master", (str(root / "salt-key"), "--yes", "--delete"))
        self.desk = Desk(
            Store(str(root / "hosts")), self.keys, root / "tree", root / "ca.crt", now=lambda: self.clock,
            neighbour=lambda address: self.wire.get(address, ""), tell=lambda *words: self.told.append(words),
        )  # fmt: skip

    def record(self, host: str = "ctl1") -> Any:
        """What is kept of a host."""
        return self.desk.store.read(host)

    def alarms(self, host: str = "ctl1") -> list[str]:
        """The alarms of a host."""
        return [each.what for each in self.record(host).alarms]

    def accepted(self, host: str = "ctl1") -> str:
        """The key that the master accepts of a host, or an empty text."""
        path = self.root / "master/minions" / host
        return path.read_text() if path.exists() else ""

    def armed(self, **changes: Any) -> Deploy:
        """Arm the host; return this."""
        self.desk.arm("ctl1", replace(ARMED, **changes), "a test")
        return self

    def fetched(self) -> tuple[str, str]:
        """Fetch the answers as the machine does; return token and secret."""
        reply = self.desk.answers("ctl1", MACHINE[1])
        assert reply.status == 200, reply
        return words(reply.text)


def words(answers: str) -> tuple[str, str]:
    """Token and secret, as an installer finds them in its answers."""
    parts = answers.split("early_command string umask", 1)[1].split()
    return parts[parts.index(">/tmp/saltern/token") - 1], parts[parts.index(">/tmp/saltern/secret") - 1]
