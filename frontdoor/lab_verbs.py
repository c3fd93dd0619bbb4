"""The verb `lab`: up, status, shell, down."""

from __future__ import annotations

import argparse
import json
import os
import sys

from frontdoor import verify
from lab import down, nodes, sites, status, up
from lab.command import LabError
from lab.layout import Lab


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's own verbs."""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, (text, _) in ACTIONS.items():
        verb = verbs.add_parser(name, help=text, description=text)
        verb.add_argument(
            "--site", default="lab", metavar="FILE|NAME", help="a site file, or a name under pillar/sites"
        )
        verb.set_defaults(action=name)
        if name == "up":
            verb.add_argument(
                "--to", choices=("boot", "highstate", "verify"), default="verify", help="stop after a stage"
            )
        elif name == "status":
            verb.add_argument("--json", action="store_true", help="as JSON")
        elif name == "shell":
            verb.add_argument("node", help="a node of the lab")
            verb.add_argument("command", nargs=argparse.REMAINDER, help="-- COMMAND … instead of a shell")
        elif name == "down":
            verb.add_argument("--purge", action="store_true", help="remove the nodes' disks and keys too")


def run(arguments: argparse.Namespace) -> int:
    """Run the action on the lab of the site."""
    lab = sites.load(arguments.site)
    # `up` says so among all else that is missing.
    if arguments.action != "up" and os.geteuid() != 0:
        raise LabError("root: run it as root")
    return ACTIONS[arguments.action][1](lab, arguments)


def _up(lab: Lab, arguments: argparse.Namespace) -> int:
    say = up.Steps()
    up.boot(lab, say)
    if arguments.to == "boot":
        return 0
    up.converge(lab, say)
    if arguments.to == "verify":
        say("verification")
        code = verify.run(lab)
        if code:
            return code
    sys.stdout.write(up.farewell(lab))
    return 0


def _status(lab: Lab, arguments: argparse.Namespace) -> int:
    data = status.as_data(lab)
    sys.stdout.write(json.dumps(data, indent=1) if arguments.json else "\n".join(status.lines(data)))
    sys.stdout.write("\n")
    return 0


def _shell(lab: Lab, arguments: argparse.Namespace) -> int:
    node = lab.node(arguments.node)
    if node is None:
        known = ", ".join(each.id for each in lab.nodes)
        raise LabError(f"{arguments.node!r}: no such node; accepted: {known}")
    words = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    argv = nodes.enter(lab, node, *(words or ["bash", "-l"]))
    sys.stdout.flush()
    os.execvp(argv[0], argv)


def _down(lab: Lab, arguments: argparse.Namespace) -> int:
    down.down(lab, arguments.purge)
    return 0


ACTIONS = {
    "up": ("build the lab, run the highstate, verify it", _up),
    "status": ("show nodes, their memory and failed units", _status),
    "shell": ("enter a node, or run a command in it", _shell),
    "down": ("stop the lab and leave nothing behind", _down),
}
VERBS = {"lab": ("the cloud on one machine", add_arguments, run)}
