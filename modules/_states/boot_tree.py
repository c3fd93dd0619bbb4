"""The tree on the deploy host from which machines install themselves."""

from pathlib import Path

from saltern import boottree, outcome
from saltern.verbs import Inputs

MASTER = "/etc/salt/master"


@outcome.reported
def present(name):
    """Have boot files, answers and dnsmasq's configuration as the site file says, and links to what packages bring.

    The site file is the one that the master on this host is configured with. It fails with the names of files that a
    profile boots and that an operator has not put there.

    name
        The directory.
    """
    wanted, place = boottree.wanted(Inputs.of(_opts()), name), Path(name)
    changes = boottree.differing(place, wanted)
    if __opts__["test"]:
        outcome.foreseen(__context__).update(str(place / path) for path in changes)
        said = f"{len(changes)} files would be made"
        return (
            outcome.planned(name, said, changes) if changes else outcome.success(name, "all is as the site file says")
        )
    boottree.put(place, wanted)
    lacking = boottree.lacking(place, wanted)
    if lacking:
        return outcome.failure(name, "\n".join(lacking), changes)
    return outcome.success(
        name, f"{len(changes)} files were made" if changes else "all is as the site file says", changes
    )


def _opts():
    """Return the options that name the site file: this minion's own without a master, else those of the master here."""
    if __opts__.get("ext_pillar"):
        return __opts__
    import salt.config

    return salt.config.master_config(MASTER)
