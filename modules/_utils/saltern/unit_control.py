"""Bring units to the state that is wanted, and see that they are ready: read, plan, act, verify."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from saltern import systemd
from saltern.render import redact
from saltern.units import Plan, Unit, Wish, banishment, coming, own_files, plan, unready
from saltern.waiting import ask_all

#: A unit without a probe must have stayed up for this long (microseconds).
SETTLE = 1_000_000
#: So many restarts by systemd itself mean that waiting longer is useless.
HOPELESS = 3
#: So often is started what is down although nothing of it failed.
REVIVALS = 2
#: Seconds that are given to what systemd is starting by itself when a run begins, as at a boot.
BOOTING = 60.0


@dataclass
class Report:
    """What was changed (or would be), and what is wrong now, for each unit."""

    changes: dict[str, str] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)


def converge(
    wishes: Sequence[Wish], secrets: Mapping[str, str], timeout: float, test: bool, foreseen: Collection[str] = ()
) -> Report:
    """Make all the units run with what their files hold now, and ready; a dry run only reports.

    ``foreseen`` are the files that a dry run has found to be written before: for it they count as changed.
    """
    control = systemd.Systemctl()
    todo, units = survey(control, wishes, test, foreseen if test else ())
    if test:
        changes = todo.changes | dict.fromkeys(todo.missing, "started (not installed yet)")
        return Report(changes, _asked_once(wishes, changes, secrets))
    if todo.missing:
        return Report({}, dict.fromkeys(todo.missing, "there is no such unit; is its package installed?"))
    report = bring_up(control, wishes, todo, units, secrets, timeout)
    started = [wish for wish in wishes if wish.name in todo.restart and wish.writes]
    if not started or report.troubles:
        return report
    # once more, and not a third time
    todo, units = survey(control, started, test=False)
    again = bring_up(control, started, todo, units, secrets, timeout) if todo.restart else Report()
    return Report(
        report.changes | {n: f"{report.changes[n]}, {how}" for n, how in again.changes.items()}, again.troubles
    )


def bring_up(
    control: systemd.Systemctl,
    wishes: Sequence[Wish],
    todo: Plan,
    units: Mapping[str, Unit],
    secrets: Mapping[str, str],
    timeout: float,
) -> Report:
    """Do what was planned and wait until all the units are ready."""
    systemd.forget_the_future({path for name in todo.restart for path in own_files(units[name])}, ctime=True)
    refused = act(control, todo, wishes, timeout)
    # when nothing was touched, what systemd said a moment ago still holds
    troubles = verify(control, wishes, todo, {} if todo.changes else units, secrets, timeout)
    return Report(todo.changes, {name: refused for name in todo.reload if refused} | troubles)


def survey(
    control: systemd.Systemctl, wishes: Sequence[Wish], test: bool, foreseen: Collection[str] = ()
) -> tuple[Plan, dict[str, Unit]]:
    """Return what is to be done, and the units; unit files that changed are loaded first, except in a dry run.

    So are masked ones: what a masked socket triggers is not known. What is coming up by itself is waited for: it needs
    no second start.
    """
    names = [wish.name for wish in wishes]
    units = control.show(names)
    masked = [name for name, unit in units.items() if unit.load == "masked"]
    if not test and (masked or any(unit.needs_reload for unit in units.values())):
        control.do("unmask", masked)
        control.do("daemon-reload")
        units = control.show(names)
    times = systemd.times({path for wish in wishes for path in wish.watched})
    times |= systemd.times({path for unit in units.values() for path in own_files(unit)}, ctime=True)
    # a file that is replaced changes its directory, too
    times |= dict.fromkeys({*foreseen, *map(os.path.dirname, foreseen)}, time.time_ns() // 1000)
    end = time.monotonic() + BOOTING
    while coming(wishes, units, times) and time.monotonic() < end:
        time.sleep(0.2)
        units = control.show(names)
    return plan(wishes, units, times), units


def act(control: systemd.Systemctl, todo: Plan, wishes: Sequence[Wish], timeout: float) -> str:
    """Do what was planned, one call for each verb; return why a reload was refused, if so.

    A start that fails shows when the units are verified.
    """
    control.do("unmask", todo.unmask)
    control.do("enable", todo.enable)
    control.do("reset-failed", todo.reset)
    touched = {*todo.restart, *todo.reload}
    systemd.forget_the_future({path for wish in wishes if wish.name in touched for path in wish.watched})
    control.attempt("stop", todo.stop, timeout)
    control.attempt("restart", todo.restart, timeout)
    return control.attempt("reload", todo.reload, timeout)


def verify(
    control: systemd.Systemctl,
    wishes: Sequence[Wish],
    todo: Plan,
    known: Mapping[str, Unit],
    secrets: Mapping[str, str],
    timeout: float,
) -> dict[str, str]:
    """Wait until every unit is up and its probe content; return why not, with last log lines, for the others.

    What goes down meanwhile although nothing of it failed is started: it is bound to a unit that was restarted, or
    its start has met, and ended, a process of its own of which systemd knew nothing any more (so it may be after a
    reload that gave a running unit a further name).
    """
    end = time.monotonic() + timeout
    left, pause = {wish.name: wish for wish in wishes}, 0.1
    units = dict(known) or control.show(list(left))
    first = {name: 0 if name in todo.restart else unit.restarts for name, unit in units.items()}
    revived: Counter[str] = Counter()
    while True:
        down = [n for n in left if revived[n] < REVIVALS and units[n].active == "inactive" and not units[n].busy]
        if down:
            control.attempt("restart", down, timeout)
            revived.update(down)
            units = control.show(list(left))
        reasons = _reasons(left, units, first, todo, secrets)
        left = {name: wish for name, wish in left.items() if reasons[name]}
        if all(_hopeless(units[name], first[name]) for name in left) or time.monotonic() > end:
            return {name: _explained(wish, reasons[name] or "", secrets) for name, wish in left.items()}
        time.sleep(pause)
        pause = min(1.0, pause * 1.5)
        units = control.show(list(left))


def _reasons(
    left: Mapping[str, Wish],
    units: Mapping[str, Unit],
    first: Mapping[str, int],
    todo: Plan,
    secrets: Mapping[str, str],
) -> dict[str, str | None]:
    """Return for each unit why it is not ready, or None; probes are asked at the same time."""
    now = time.time_ns() // 1000
    reasons: dict[str, str | None] = {}
    for name, wish in left.items():
        # whoever started it: systemd may have, with a unit that it is bound to
        reasons[name] = unready(units[name], now, 0 if wish.probe else SETTLE, first[name])
    touched = {*todo.restart, *todo.reload}
    asked = {name: wish.probe_of(name in touched) for name, wish in left.items() if reasons[name] is None}
    probes = {name: probe for name, probe in asked.items() if probe}
    return reasons | ask_all(probes, secrets)


def _hopeless(unit: Unit, before: int) -> bool:
    """Whether there is no point in waiting on: it has failed for good, or dies again and again."""
    return not unit.busy and (unit.active == "failed" or unit.restarts >= before + HOPELESS)


def _asked_once(wishes: Sequence[Wish], changes: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """Return which of the units that a dry run would leave alone are not ready."""
    asked = {wish.name: wish.probe_of(touched=False) for wish in wishes if wish.name not in changes}
    probes = {name: probe for name, probe in asked.items() if probe}
    return {name: reason for name, reason in ask_all(probes, secrets).items() if reason}


def _explained(wish: Wish, reason: str, secrets: Mapping[str, str]) -> str:
    """Return the reason and the last lines that the unit logged, without any secret."""
    logged = systemd.journal(wish.name)
    return f"{reason}\n{redact(logged, secrets)}" if logged else reason


def stop(names: Sequence[str], test: bool) -> Report:
    """Make sure that units neither run nor can be started: stopped, disabled and masked.

    A unit whose own file lies in /etc cannot be masked; for it, stopped and disabled is enough.
    """
    control = systemd.Systemctl()
    todo = banishment(control.show(list(names)))
    report = Report(todo.changes)
    if todo.changes and not test:
        control.do("disable", todo.disable)
        control.do("mask", todo.mask)
        control.attempt("stop", todo.stop, 120)
        control.attempt("reset-failed", todo.reset, 60)
        left = banishment(control.show(list(names))).changes
        report.troubles = {name: f"still to be {words}" for name, words in left.items()}
    return report
