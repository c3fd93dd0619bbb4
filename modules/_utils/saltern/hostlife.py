"""The life of a host that installs itself from the network: its states, and the events that lead from one to the next.

A record is all that the deploy host knows of one host. Every transition is recorded with its time and its cause; what
the table does not have is refused in words. Times are seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from saltern.errors import Problem, Problems

HISTORY = 100
"""How many transitions are kept of a host."""
ALARMS = 20
"""How many different alarms are kept of a host."""


@dataclass(frozen=True)
class Transition:
    """Whence an event leads where; ``does`` says in a refusal what cannot be done."""

    sources: tuple[str, ...]
    target: str
    does: str


_SETTLED = ("enrolled", "installed", "trusted", "configured", "in service")
_OPEN = ("armed", "installing")

TRANSITIONS: Mapping[str, Transition] = {
    "arm": Transition(_SETTLED, "armed", "be armed for an installation"),
    "fetch": Transition(("armed",), "installing", "be given its answers"),
    "expire": Transition(_OPEN, "enrolled", "let its time run out"),
    "progress": Transition(("installing",), "installing", "report progress"),
    "exchange": Transition(("installing",), "installing", "exchange its token"),
    "installed": Transition(("installing",), "installed", "be told as installed"),
    "contact": Transition(("installed", "installing"), "trusted", "be seen as a minion"),
    "configured": Transition(("trusted",), "configured", "be told as configured"),
    "serve": Transition(("configured",), "in service", "be taken into service"),
    "abort": Transition(_OPEN, "enrolled", "have its installation ended"),
    "lock": Transition((*_SETTLED, *_OPEN), "locked", "be locked"),
    "unlock": Transition(("locked",), "enrolled", "be unlocked"),
}
"""Every event. A host that the site file names and of which nothing else is known is enrolled."""
STATES = tuple(dict.fromkeys(("enrolled", *(each.target for each in TRANSITIONS.values()))))
QUIET = ("progress",)
"""Events that are no transition worth a line in the history: there is one for each step."""

ADVICE: Mapping[str, str] = {
    "armed": "it waits for its machine; `hosts abort` ends that",
    "installing": "`hosts abort` ends its installation first",
    "locked": "look at its alarms, then `hosts unlock`",
}
"""What an operator does about a state that is in the way."""


@dataclass(frozen=True)
class Armed:
    """One installation that is allowed: of which machine, with which answers, and how many seconds it has to ask."""

    mac: str
    address: str
    answers: str
    serial: str = ""
    relayed: bool = False
    window: int = 3600


@dataclass(frozen=True)
class Entry:
    """One transition."""

    time: int
    event: str
    state: str
    cause: str


@dataclass(frozen=True)
class Alarm:
    """Something that an operator must know: when it was seen last, and how often."""

    time: int
    what: str
    times: int = 1


@dataclass(frozen=True)
class Record:
    """All that is known of a host. Of token and secret there are hashes only, good until ``expires``; "": none.

    ``key`` is the fingerprint of the public key that this installation has had accepted; ``pending`` is that key as
    long as it is not sure that the master has it.
    """

    host: str
    state: str = "enrolled"
    since: int = 0
    armed: Armed | None = None
    expires: int = 0
    token: str = ""
    secret: str = ""
    key: str = ""
    pending: str = ""
    step: str = ""
    percent: int = 0
    words: str = ""
    heard: int = 0
    reason: str = ""
    alarms: tuple[Alarm, ...] = ()
    history: tuple[Entry, ...] = field(default=(), repr=False)


NOTHING: Mapping[str, Any] = {
    "armed": None, "expires": 0, "token": "", "secret": "", "pending": "", "step": "", "percent": 0, "words": "",
    "heard": 0,
}  # fmt: skip
"""What an installation leaves behind that has ended: no right to anything."""


def moved(record: Record, event: str, now: int, cause: str, **changes: Any) -> Record:
    """Return the record after an event, with what changes beside its state; raise Problems where it is not allowed."""
    found = TRANSITIONS[event]
    if record.state not in found.sources:
        state = record.state + (f" ({record.reason})" if record.reason else "")
        accepted = f"it cannot {found.does} now; accepted: {', '.join(found.sources)}"
        advice = f"; {ADVICE[record.state]}" if record.state in ADVICE else ""
        raise Problems([Problem(f"hosts:{record.host}", state, f"{accepted}{advice}")])
    since = record.since if found.target == record.state else now
    line = () if event in QUIET else (Entry(now, event, found.target, cause),)
    history = (*record.history, *line)[-HISTORY:]
    return replace(record, **{"state": found.target, "since": since, "history": history, **changes})


def alarmed(record: Record, now: int, what: str) -> Record:
    """Return the record with an alarm; one that is there already is counted."""
    before = sum(each.times for each in record.alarms if each.what == what)
    others = [each for each in record.alarms if each.what != what]
    return replace(record, alarms=(*others, Alarm(now, what, before + 1))[-ALARMS:])


def locked(record: Record, now: int, reason: str) -> Record:
    """Return the record of a host that gets nothing until an operator unlocks it."""
    return moved(alarmed(record, now, reason), "lock", now, reason, **NOTHING, reason=reason)


def in_time(record: Record, now: int) -> Record:
    """Return the record as it is at a time: what was allowed for a while and has not been used has expired."""
    if record.state not in TRANSITIONS["expire"].sources or now < record.expires:
        return record
    what = "nobody fetched its answers" if record.state == "armed" else f"installing, last heard: {record.step or '-'}"
    cause = f"time ran out: {what}"
    return moved(alarmed(record, now, cause), "expire", now, cause, **NOTHING)
