"""The states of this host, as its plan in the pillar wants them."""

import sys
from pathlib import Path

# Salt puts synced utilities on the path when the minion starts: a minion that has just synced them for the first time,
# at the beginning of its first highstate, would not find them.
UTILITIES = str(Path(__file__).resolve().parent.parent / "utils")
if UTILITIES not in sys.path:
    sys.path.append(UTILITIES)

from saltern import highdata, hostplan  # noqa: E402


def states(service=None):
    """Return the high data of the whole host, or of one service of it.

    CLI Example:

    .. code-block:: bash

        salt ctl1 saltern_host.states nova
    """
    return highdata.build(hostplan.plan(__pillar__), [service] if service else None)
