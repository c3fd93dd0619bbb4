"""What an operator does with hosts that install themselves: look, arm one installation, end it, unlock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from saltern import dnsmasq
from saltern.errors import Problem, Problems, suggestion
from saltern.hostlife import Armed, Record, in_time
from saltern.model import Host, Install, Site
from saltern.trust import Desk
from saltern.verbs import Inputs

WINDOW = 60
"""Minutes that a machine has to fetch its answers."""
LONGEST = 24 * 60
LEARNT = ("contact", "configured", "serve")
"""Events that are not the machine's own to tell."""


def installable(inputs: Inputs, host: str) -> tuple[Site, Host, Install]:
    """Return a host that is installed from the network; raise Problems where there is none of that name."""
    site, _ = inputs.load()
    if host not in site.hosts:
        raise Problems([Problem("hosts", host, suggestion(host, site.hosts))])
    found = site.hosts[host]
    if found.install is None:
        names = ", ".join(each.id for each, _ in site.installed) or "none"
        raise Problems([Problem(f"hosts:{host}:install", None, f"a host with this key; accepted: {names}")])
    return site, found, found.install


def reinstall(inputs: Inputs, desk: Desk, host: str, minutes: object = WINDOW, cause: str = "an operator") -> str:
    """Arm exactly one installation; raise Problems where the host, its state or the number of minutes is against it."""
    site, found, chosen = installable(inputs, host)
    limit = int(str(minutes)) if str(minutes).isascii() and str(minutes).isdigit() else 0
    if not 0 < limit <= LONGEST:
        raise Problems([Problem("minutes", minutes, f"1 to {LONGEST}")])
    profile = inputs.kickstart().profiles[chosen.profile]
    if profile.image:
        accepted = "a profile whose answers the boot service gives out; the live installer is not tied to it yet"
        raise Problems([Problem(f"hosts:{host}:install:profile", chosen.profile, accepted)])
    rendered = desk.tree / "answers" / host / profile.answers
    if not os.path.exists(rendered):
        accepted = "a file that is there: run the highstate of the deploy host first"
        raise Problems([Problem(str(rendered), "not there", accepted)])
    relayed = bool(site.provisioning and site.provisioning.relayed)
    address = dnsmasq.boot_address(site, found)
    armed = Armed(chosen.mac, address, profile.answers, chosen.serial or "", relayed, limit * 60)
    desk.arm(host, armed, cause)
    wiped = "".join(f"; it will lose the data of the disk {' '.join(each.said().values())}" for each in chosen.wipe)
    return f"{host}: armed for one installation within {limit} min{wiped}; now start {chosen.mac} from the network"


def abort(inputs: Inputs, desk: Desk, host: str, cause: str = "an operator") -> str:
    """End what a host was allowed; its disk is left as it is."""
    desk.abort(_known(inputs, desk, host), cause)
    return f"{host}: nothing is allowed any more; from the network it starts from its disk"


def unlock(inputs: Inputs, desk: Desk, host: str, cause: str = "an operator") -> str:
    """Let a locked host be installed again."""
    desk.unlock(_known(inputs, desk, host), cause)
    return f"{host}: unlocked, its alarms are forgotten; `./saltern hosts reinstall {host}` installs it"


def act(inputs: Inputs, desk: Desk, verb: object, host: object, minutes: object = WINDOW) -> str:
    """Do what a verb says to a host, or without one show them all; raise Problems for a verb that does not exist."""
    if verb is None:
        return table(inputs, desk)
    if verb not in ACTS:
        raise Problems([Problem("act", verb, suggestion(verb, ACTS))])
    if host is None:
        raise Problems([Problem("host", None, "the name of a host")])
    more = {"minutes": minutes} if verb == "reinstall" else {}
    return f"{ACTS[str(verb)](inputs, desk, str(host), **more)}\n"


def learnt(desk: Desk, host: str, event: str, cause: str) -> str:
    """Record what the master has learnt of a host; what does not fit its state is passed over."""
    if event not in LEARNT:
        raise Problems([Problem("event", event, suggestion(event, LEARNT))])
    if host not in desk.store.hosts():
        return f"{host}: not installed by us"
    try:
        desk.event(host, event, cause)
    except Problems:
        return f"{host}: {desk.store.read(host).state}, as before"
    return f"{host}: {desk.store.read(host).state}"


def meaning(tag: str, data: Mapping[str, Any]) -> str:
    """Return what an event of Salt's (``salt/minion/*/start``, ``salt/job/*/ret/*``) is in a host's life, or ""."""
    if tag.startswith("salt/minion/") and tag.endswith("/start"):
        return "contact"
    words = [str(each) for each in data.get("fun_args") or []]
    whole = data.get("fun") == "state.highstate" or (data.get("fun") == "state.apply" and not words)
    good = data.get("success") is True and data.get("retcode") == 0
    return "configured" if whole and good and "test" not in str(words) else ""


ACTS: Mapping[str, Callable[..., str]] = {"reinstall": reinstall, "abort": abort, "unlock": unlock}


def _known(inputs: Inputs, desk: Desk, host: str) -> str:
    """Return the host: one that has a record, though it may have left the site file, or one that is installed."""
    if host not in desk.store.hosts():
        installable(inputs, host)
    return host


def table(inputs: Inputs, desk: Desk) -> str:
    """Return what is known of every host that is installed from the network, alarms below it."""
    site, _ = inputs.load()
    names = {host.id: host for host, _ in site.installed}
    records = [desk.store.read(name) for name in dict.fromkeys((*names, *desk.store.hosts()))]
    now = int(desk.now())
    return shown([in_time(record, now) for record in records], now)


def shown(records: Iterable[Record], now: int) -> str:
    """Return records as a table."""
    rows = [("HOST", "STATE", "SINCE", "STEP", "HEARD"), *(_row(record, now) for record in records)]
    if len(rows) == 1:
        return "no host of the site file has the key install\n"
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = [line for record in records for line in _notes(record)]
    return "".join(f"{line}\n" for line in [*lines, *([""] if notes else []), *notes])


def _row(record: Record, now: int) -> tuple[str, str, str, str, str]:
    step = f"{record.step} {record.percent} %" if record.step else "-"
    until = f", until {_time(record.expires)}" if record.state == "armed" else ""
    heard = f"{max(0, now - record.heard)} s ago" if record.heard else "-"
    return record.host, record.state + until, _time(record.since) if record.since else "-", step, heard


def _notes(record: Record) -> Iterable[str]:
    if record.words:
        yield f"{record.host}: last words: {record.words}"
    if record.reason:
        yield f"{record.host}: locked: {record.reason}; `./saltern hosts unlock {record.host}` ends that"
    for alarm in record.alarms:
        often = f" ({alarm.times} times)" if alarm.times > 1 else ""
        yield f"{record.host}: ALARM {_time(alarm.time)}: {alarm.what}{often}"


def _time(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
