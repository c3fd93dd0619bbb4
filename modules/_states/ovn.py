"""OVN's central databases on a controller."""

from saltern import outcome, ovn


@outcome.reported
def listening(name, settings):
    """Have the northbound and the southbound database listen over TLS, where and for whom the plan says.

    Both are read, and changed in one transaction each where they differ. Afterwards every listener has its port; other
    listeners, clear-text ones among them, are gone.

    name
        What this is for, for people.

    settings
        ``key``, ``cert``, ``ca_file`` (paths), ``northbound`` and ``southbound`` (lists of
        ``{target: "pssl:6642:10.20.0.11", role: ovn-controller}``; without ``role``: all rights),
        ``inactivity_probe`` (milliseconds).
    """
    changes = ovn.converge(settings, __opts__["test"])
    if not changes:
        return outcome.success(name, "the databases listen as planned")
    if __opts__["test"]:
        return outcome.planned(name, "listeners would be changed", changes)
    return outcome.success(name, "listeners were changed", changes)
