"""The networks of this host, by systemd-networkd."""

from saltern import network_control, outcome
from saltern.network_probes import Probes


@outcome.reported
def managed(name, files, probes, confirm_within=120):
    """Have these files of systemd-networkd and no other ones of ours, links that follow them, and still be reached.

    A change is on trial until the links have what the files say and everything answers that is asked: the Salt master,
    the gateway, a peer in packets of the full size. Else the old files come back, and the failure says what did not
    answer. A timer does that when this process cannot, and the next boot before networks start. Files of others that
    would win over ours are refused by name before anything is changed. Where all files are in place already, nobody is
    asked and no link is looked at.

    name
        What this is for, for people.

    files
        The files' texts by name, ``{20-eth0.network: ...}``; each begins with our mark.

    probes
        ``{master: 10.20.0.5, gateway: 10.20.0.1, peers: [10.20.0.11], mtu: 1500}``; what is left out is not asked.

    confirm_within
        Seconds after which the timer rolls back.
    """
    control = network_control.Control(int(confirm_within))
    report = control.converge(dict(files), Probes.from_data(probes), __opts__["test"])
    return {"name": name, "result": report.result, "comment": report.words, "changes": report.changes}
