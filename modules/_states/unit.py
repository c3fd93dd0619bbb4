"""Systemd units: those that run with what is in their files now, and those that must not run."""

from saltern import hostplan, outcome, unit_control
from saltern.units import Wish


@outcome.reported
def running(name, units, timeout=120):
    """Have units enabled, up with the files they read, and ready.

    A unit is restarted exactly when it is not active, or when a path it reads (or its unit file, or a drop-in) is newer
    than its running process; all of them in one call, so that systemd starts them in parallel. Afterwards every unit is
    active, its probe is content and systemd has not had to restart it. A failure tells the last log lines.

    name
        What this is for, for people.

    units
        ``{unit: {reads: [paths], writes: [paths], enable: true, probe: {...}, reload: false}}``, all keys optional. One
        that is older than what it ``writes`` at its first start is started once more; one with ``reload`` takes changes
        in what it reads by ``systemctl reload``.

    timeout
        Seconds to wait for the units to be ready.
    """
    wishes = [Wish.from_data(unit, data) for unit, data in units.items()]
    foreseen = outcome.foreseen(__context__)
    report = unit_control.converge(wishes, hostplan.secrets(__pillar__), float(timeout), __opts__["test"], foreseen)
    return _told(name, report, "run and are ready")


@outcome.reported
def dead(name, units):
    """Have units stopped, disabled and masked, whether they are installed yet or not.

    name
        What this is for, for people.

    units
        Names of the units.
    """
    return _told(name, unit_control.stop(list(units), __opts__["test"]), "are masked and do not run")


def _told(name, report, aim):
    """Return the outcome that a report amounts to."""
    troubles = "\n".join(f"{unit}: {trouble}" for unit, trouble in report.troubles.items())
    if __opts__["test"] and (report.changes or troubles):
        return outcome.planned(name, troubles or f"units would be changed so that they {aim}", report.changes)
    if troubles:
        return outcome.failure(name, troubles, report.changes)
    return outcome.success(name, f"all units {aim}", report.changes)
