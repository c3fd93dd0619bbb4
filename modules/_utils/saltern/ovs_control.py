"""Bring a host's Open vSwitch and its ports' addresses to what the plan wants: read, change, restart, verify."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from saltern import ovs, ovs_addresses
from saltern.errors import SalternError
from saltern.systemd import Systemctl

DAEMON = "ovs-vswitchd.service"


@dataclass(frozen=True)
class Goal:
    """All that is wanted of a host's switch."""

    switch: ovs.Switch
    addresses: Mapping[str, str]

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Goal:
        """Return the goal that a plan's settings describe; raise Problems where they cannot be understood."""
        return cls(ovs.wanted(settings), ovs_addresses.wanted(settings))

    @property
    def unit(self) -> str:
        """The text of the unit that puts the addresses on."""
        return ovs_addresses.unit(self.switch, self.addresses)


def converge(settings: Mapping[str, Any], test: bool) -> dict[str, Any]:
    """Have the switch as the settings say and return what was changed for it, or would be in a dry run."""
    goal = Goal.of(settings)
    have, links = _found(test), ovs_addresses.read_links()
    steps = ovs.plan(have, goal.switch)
    restart = ovs.RESTART_DUE in have.external_ids or any(ovs.RESTART_DUE in step.what for step in steps)
    told = _told(goal, steps, restart, ovs_addresses.gaps(links, goal.switch, goal.addresses))
    if told:
        _raise(ovs_addresses.occupied(links, _new_devices(have, goal.switch)))
    if not told or test:
        return told
    if steps:
        ovs.vsctl(ovs.transaction(steps))
        have = ovs.read()
    _raise(ovs.faults(have, goal.switch))
    _apply(goal, restart)
    _verify(goal)
    return told


def _found(test: bool) -> ovs.Switch:
    """Return the switch as it is; in a dry run one that is not installed yet is an empty one."""
    try:
        return ovs.read()
    except SalternError:
        if test:
            return ovs.Switch()
        raise


def _told(goal: Goal, steps: list[ovs.Step], restart: bool, gaps: Mapping[str, str]) -> dict[str, Any]:
    """Return the changes for people."""
    told: dict[str, Any] = ovs.changes(step for step in steps if ovs.RESTART_DUE not in step.what)
    told |= {f"device {port}": gap for port, gap in gaps.items()}
    if ovs_addresses.unit_differs(goal.unit):
        told[ovs_addresses.UNIT] = "written"
    elif not ovs_addresses.unit_starts_with_the_switch():
        told[ovs_addresses.UNIT] = "enabled"
    return told | ({DAEMON: "restarted"} if restart else {})


def _new_devices(have: ovs.Switch, want: ovs.Switch) -> list[str]:
    """Return the devices of the machine that are to come onto a bridge."""
    there = {port for bridge in have.bridges.values() for port in bridge.ports}
    ports = (port for bridge in want.bridges.values() for port in bridge.ports.values())
    return [port.name for port in ports if not port.type and port.name not in there]


def _apply(goal: Goal, restart: bool) -> None:
    """Write the unit, restart what must be; the mark that a restart is due goes once it has happened."""
    systemctl = Systemctl()
    if ovs_addresses.unit_differs(goal.unit):
        ovs_addresses.write_unit(goal.unit)
    systemctl.do("daemon-reload")
    systemctl.do("enable", [ovs_addresses.UNIT])
    if restart:
        systemctl.do("restart", [DAEMON])
        ovs.vsctl(["remove", "Open_vSwitch", ".", "external_ids", ovs.RESTART_DUE])
    systemctl.do("restart", [ovs_addresses.UNIT])


def _verify(goal: Goal) -> None:
    """Raise SalternError where the switch or the devices are not as wanted after all."""
    have = ovs.read()
    left = [f"{step.what}: {step.old}, wanted {step.new}" for step in ovs.plan(have, goal.switch)]
    gaps = ovs_addresses.gaps(ovs_addresses.read_links(), goal.switch, goal.addresses)
    left += [f"device {port}: {gap}" for port, gap in gaps.items()]
    _raise(left)


def _raise(troubles: list[str]) -> None:
    """Raise SalternError where there are troubles."""
    if troubles:
        raise SalternError("\n".join(troubles))
