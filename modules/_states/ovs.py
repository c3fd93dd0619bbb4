"""The Open vSwitch of this host."""

from saltern import outcome, ovs_control


@outcome.reported
def configured(name, settings):
    """Have the switch's settings, its bridges with their ports, and the ports' addresses as the plan says.

    One read, one transaction with only what differs. Keys, bridges and ports that the settings do not name stay. A
    setting that ovs-vswitchd reads at its start only (``userspace-tso-enable``) restarts it, and the changes say so.
    Addresses are put on by a unit bound to the switch, so they outlast restarts and reboots.

    name
        What this is for, for people.

    settings
        ``external_ids`` and ``other_config`` (null removes a key), ``managers``, ``system_id``, ``bridges``
        ``{bridge: {datapath_type: netdev, ports: {eth1: {}, tunnel0: {type: internal, tag: 4, mtu: 1500}}}}``,
        ``addresses`` ``{tunnel0: {address: 10.30.0.21/24, mtu: 1500}}``; all optional.
    """
    changes = ovs_control.converge(settings, __opts__["test"])
    if not changes:
        return outcome.success(name, "the switch is as planned")
    if __opts__["test"]:
        return outcome.planned(name, "the switch would be changed", changes)
    return outcome.success(name, "the switch was changed", changes)
