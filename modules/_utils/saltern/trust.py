"""Who is given what while a host installs itself: its answers once, for its token the trust of the master once.

Everything here happens on the deploy host, as root, behind a socket: what speaks to the network hands on what a machine
says, and decides nothing. A refusal is recorded, told and shown; the machine is not told why.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from saltern import masterkeys, neighbours, tokens
from saltern.derive import CA_FILE
from saltern.errors import Problem, Problems, SalternError
from saltern.hostlife import NOTHING, Armed, Record, alarmed, in_time, locked, moved
from saltern.hoststore import Store
from saltern.masterkeys import Keys

TREE = "/srv/saltern-boot"
"""Where boot files lie on the deploy host; the answers in it are not served as they are."""
STEP = re.compile(r"[a-z][a-z0-9-]{0,30}")
LAST_STEP = "installed"
PATIENCE = 3600
"""Seconds that an installation may take from one report to the next, at least: packages take long."""
WORDS = 500
"""Characters that are kept of what an installer said last."""

Outcome = tuple[Record, "Reply"]


@dataclass(frozen=True)
class Reply:
    """What a machine is answered: a status of HTTP (RFC 9110) and a text."""

    status: int
    text: str = ""


REFUSED = Reply(403, "refused; `./saltern hosts` on the deploy host says why\n")
UNKNOWN = Reply(404, "no such host\n")


def nobody(host: str, event: str, cause: str) -> None:
    """Tell nobody of an event."""


@dataclass(frozen=True)
class Desk:
    """What is needed for decisions: the records, the master's keys, the answers, a clock, and somebody to be told."""

    store: Store = field(default_factory=Store)
    keys: Keys = field(default_factory=Keys)
    tree: Path = Path(TREE)
    ca: Path = Path(CA_FILE)
    now: Callable[[], float] = time.time
    neighbour: Callable[[str], str] = neighbours.mac_of
    tell: Callable[[str, str, str], None] = nobody

    # --- what an operator does

    def arm(self, host: str, armed: Armed, cause: str) -> None:
        """Allow a host one installation; raise Problems where its state is against it."""
        self._move(host, "arm", cause, **{**NOTHING, "armed": armed}, window=armed.window, key="")

    def abort(self, host: str, cause: str) -> None:
        """End what was allowed, and take back the key that it has brought; raise Problems where nothing was allowed."""
        self._move(host, "abort", cause, **NOTHING)

    def unlock(self, host: str, cause: str) -> None:
        """Let a locked host be installed again, its alarms forgotten; raise Problems where it is not locked."""
        self._move(host, "unlock", cause, reason="", alarms=())

    def event(self, host: str, event: str, cause: str) -> None:
        """Record what was learnt of a host otherwise; raise Problems where it does not fit its state."""
        self._change(host, lambda record: (self._learnt(record, event, cause), None))

    def _learnt(self, record: Record, event: str, cause: str) -> Record:
        """Return the record after an event that is not the machine's own to tell.

        A minion with a key that this installation has brought is the new system: the word ``installed`` was lost.
        """
        if record.state == "installing" and (not record.key or record.pending):
            raise Problems(
                [Problem(f"hosts:{record.host}", record.state, "a minion with the key of this installation")]
            )
        return moved(record, event, self._time, cause, **NOTHING)

    # --- what a machine asks for

    def boots(self, mac: str, address: str) -> str:
        """Return the host that a machine may now be installed as, or "": it starts from its disk."""
        for host in self.store.hosts():
            # A file that cannot be read is that host's trouble, not every machine's.
            with suppress(Problems):
                armed = self.store.read(host).armed
                if armed and armed.mac == mac:
                    return str(self._change(host, lambda record: self._boots(record, address)))
        return ""

    def _boots(self, record: Record, address: str) -> tuple[Record, str]:
        if record.armed is None:
            return record, ""
        if not self._here(record.armed, address):
            return self._alarm(record, f"another machine ({self._shown(address)}) asked for its boot script"), ""
        if record.state != "armed":
            said = "it started from the network again while installing: a power cut, or somebody else has its answers"
            return self._alarm(record, said), ""
        return record, record.host

    def answers(self, host: str, address: str) -> Reply:
        """Give the machine of an armed host its answers, with a token; a second time, lock the host."""
        return self._asked(host, lambda record: self._answers(record, address))

    def _answers(self, record: Record, address: str) -> Outcome:
        here = record.armed and self._here(record.armed, address)
        if record.state == "installing" and here:
            return locked(record, self._time, "its answers were asked for a second time"), REFUSED
        if record.armed is None or not here or record.state != "armed":
            said = f"its answers were asked for by {self._shown(address)} while it was {record.state}"
            return self._alarm(record, said), REFUSED
        token, secret = tokens.new(), tokens.new()
        text = self._filled(record.host, record.armed.answers, {"token": token, "secret": secret})
        kept = {"token": tokens.digest(token), "secret": tokens.digest(secret), "heard": self._time}
        until = self._time + max(record.armed.window, PATIENCE)
        cause = f"{self._shown(address)} fetched its answers"
        return moved(record, "fetch", self._time, cause, **kept, expires=until), Reply(200, text)

    def exchange(self, host: str, address: str, token: str, serial: str, key: str) -> Reply:
        """Take a token and a minion's public key; the master accepts that key, and its own public key is returned."""
        return self._asked(host, lambda record: self._exchanged(record, address, token, serial, key))

    def _exchanged(self, record: Record, address: str, token: str, serial: str, key: str) -> Outcome:
        if record.armed is None or not tokens.fits(token, record.token):
            used = "a used token" if record.key and not record.token else "a token that is not good"
            said = f"{used} was shown by {self._shown(address)} while it was {record.state}"
            return self._alarm(record, said), REFUSED
        wrong = self._another(record.armed, address, serial)
        if wrong:
            return locked(record, self._time, f"its token was shown by {wrong}"), REFUSED
        forbidden = self.keys.refusal(record.host)
        if forbidden:
            return self._alarm(record, forbidden), REFUSED
        public, pem = self.keys.public(), masterkeys.canonical(key)
        print_ = masterkeys.fingerprint(pem)
        cause = f"token exchanged for the key {print_}"
        after = moved(record, "exchange", self._time, cause, token="", key=print_, pending=pem)
        return after, Reply(200, public)

    def _another(self, armed: Armed, address: str, serial: str) -> str:
        """Return which other machine this is, or an empty text."""
        if not self._here(armed, address):
            return f"another machine ({self._shown(address)})"
        return f"a machine with the serial {serial!r}" if armed.serial not in ("", serial) else ""

    def progress(self, host: str, address: str, secret: str, step: str, percent: str, words: str) -> Reply:
        """Record how far an installation is; the step ``installed`` ends it, once its token has been exchanged."""
        try:
            done = _percent(step, percent)
        except Problems as problems:
            return Reply(400, f"{problems}\n")
        said = "".join(each if each.isprintable() else " " for each in words).strip()[-WORDS:]
        return self._asked(host, lambda record: self._progress(record, address, secret, (step, done, said)))

    def _progress(self, record: Record, address: str, secret: str, said: tuple[str, int, str]) -> Outcome:
        if record.armed is None or not tokens.fits(secret, record.secret) or not self._here(record.armed, address):
            what = f"{self._shown(address)} reported progress without its secret while it was {record.state}"
            return self._alarm(record, what), REFUSED
        step, percent, words = said
        if step != LAST_STEP:
            told = {"step": step, "percent": percent, "words": words, "heard": self._time}
            until = self._time + max(record.armed.window, PATIENCE)
            return moved(record, "progress", self._time, step, **told, expires=until), Reply(200)
        if not record.key or record.pending:
            return record, Reply(409, "exchange the token first\n")
        return moved(record, "installed", self._time, "the installer said so", **NOTHING), Reply(200)

    # --- how it is done

    @property
    def _time(self) -> int:
        return int(self.now())

    def _here(self, armed: Armed, address: str) -> bool:
        """Tell whether an address is that of the host's own machine: the kernel knows its MAC from the wire.

        Behind a relay it does not: there, only the address counts, which DHCP gives to that MAC alone.
        """
        return address == armed.address if armed.relayed else self.neighbour(address) == armed.mac

    def _shown(self, address: str) -> str:
        return f"{address}, MAC {self.neighbour(address) or 'unknown'}"

    def _alarm(self, record: Record, what: str) -> Record:
        return alarmed(record, self._time, what)

    def _filled(self, host: str, name: str, values: Mapping[str, str]) -> str:
        """Return a host's answers with what is only known now in them."""
        path = self.tree / "answers" / host / name
        try:
            text, authority = path.read_text(), self.ca.read_text()
        except OSError as error:
            raise SalternError(f"{error.filename}: {error.strerror}; has the highstate run here?") from error
        # The lines of base64 as words; the first and the last line stand in the answers.
        for key, value in {**values, "authority": " ".join(authority.split("\n")[1:-2])}.items():
            text = text.replace(f"@{{{key}}}", value)
        return text

    def _move(self, host: str, event: str, cause: str, window: int = 0, **changes: Any) -> None:
        if window:
            changes["expires"] = self._time + window
        self._change(host, lambda record: (moved(record, event, self._time, cause, **changes), None))

    def _asked(self, host: str, act: Callable[[Record], Outcome]) -> Reply:
        """Return what a machine is answered; a host that was never armed has no record, and gets none."""
        if host not in self.store.hosts():
            return UNKNOWN
        try:
            reply: Reply = self._change(host, act)
            return reply
        except Problems as problems:
            return Reply(400, f"{problems}\n")

    def _change(self, host: str, act: Callable[[Record], tuple[Record, Any]]) -> Any:
        """Change a record and do what follows from it; then, and not before, say what there is to say."""
        seen: list[Record] = []

        def noted(record: Record) -> tuple[Record, Any]:
            after, result = act(in_time(record, self._time))
            seen.extend((record, after))
            return after, result

        result = self.store.change(host, noted)
        self.settle(host)
        before, after = seen
        for entry in after.history:
            if entry not in before.history:
                self.tell(host, entry.event, entry.cause)
        known = {each.what for each in before.alarms}
        for alarm in after.alarms:
            if alarm.what not in known:
                self.tell(host, "alarm", alarm.what)
        return result

    def settle(self, host: str) -> None:
        """Have the master know what a record says of the host's key: what a kill has left undone is done now."""
        self.store.change(host, self._settled)

    def _settled(self, record: Record) -> tuple[Record, None]:
        if record.pending:
            self.keys.accept(record.host, record.pending)
            return replace(record, pending=""), None
        if record.key and record.state in ("enrolled", "locked"):
            self.keys.revoke(record.host, record.key)
            return replace(record, key=""), None
        return record, None

    def sweep(self) -> None:
        """Settle all hosts, and let expire what was not used in time."""
        for host in self.store.hosts():
            self._change(host, lambda record: (record, None))


def _percent(step: str, percent: str) -> int:
    """Return the percents of a step; raise Problems where either is something else."""
    wrong = [Problem("step", step, f"accepted: {STEP.pattern}")] if not STEP.fullmatch(step) else []
    if not re.fullmatch(r"[0-9]{1,3}", percent) or int(percent) > 100:
        wrong.append(Problem("percent", percent, "accepted: 0 to 100"))
    if wrong:
        raise Problems(wrong)
    return int(percent)
