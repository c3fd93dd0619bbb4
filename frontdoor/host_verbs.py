"""The verb about the life of hosts: hosts. It works on the deploy host, as root: the records are there."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from saltern import events, hostverbs
from saltern.trust import Desk
from saltern.verbs import DEFAULTS

from frontdoor import site_verbs

WORDS = {
    "reinstall": "arm exactly one installation",
    "abort": "end what was allowed; its disk is left as it is",
    "unlock": "let a locked host be installed again",
}


def hosts_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``hosts``."""
    parser.add_argument("--site", metavar="FILE", help=f"a site file (default: {DEFAULTS['site']})")
    parser.set_defaults(host=None, minutes=hostverbs.WINDOW)
    acts = parser.add_subparsers(dest="act", metavar="ACT")
    for name, text in WORDS.items():
        act = acts.add_parser(name, help=text, description=text)
        act.add_argument("host", metavar="HOST")
        if name == "reinstall":
            act.add_argument(
                "--minutes", metavar="N", default=hostverbs.WINDOW,
                help=f"how long the machine may take to ask for its answers (default: {hostverbs.WINDOW})",
            )  # fmt: skip


def hosts(args: Namespace) -> int:
    """Show every host that is installed from the network, or do something about one."""
    args.secrets, args.site = None, args.site or DEFAULTS["site"]

    def act() -> str:
        desk = Desk(tell=events.Teller())
        return hostverbs.act(site_verbs.inputs(args), desk, args.act, args.host, args.minutes)

    return site_verbs.answer(act)


VERBS = {"hosts": ("show hosts that install themselves; arm, abort or unlock one", hosts_arguments, hosts)}
