"""All the packages of a host, in one transaction."""

from saltern import debian, outcome
from saltern.packages import changes as version_changes
from saltern.packages import todo


@outcome.reported
def installed(name, packages, nice=0):
    """Have all the packages installed and nothing half installed; the transaction itself starts no service.

    What is missing is installed in one transaction, without recommended packages; configuration files that were changed
    are kept. What a killed run left behind is mended first. Nothing is upgraded. If all is there, that costs a query.

    name
        What this is for, for people.

    packages
        Names of the packages.

    nice
        How far the transaction lets other processes go first, 0 to 19 (nice(1)).
    """
    apt = debian.Apt(nice=nice)
    before = apt.query()
    work = todo(packages, before)
    left = apt.leftovers()
    if not work and not left:
        return outcome.success(name, f"all {len(packages)} packages are installed")
    if __opts__["test"]:
        return outcome.planned(
            name, f"{len(work.missing)} packages would be installed", debian.plan_changes(work, left)
        )
    apt.install(work.missing)
    after = apt.query()
    changes = version_changes(before, after) or debian.plan_changes(work, left)
    still = todo(packages, after)
    if still or apt.leftovers():
        return outcome.failure(name, f"still not installed: {', '.join(still.missing + still.broken)}", changes)
    return outcome.success(name, f"{len(work.missing)} packages and what they need were installed", changes)
