"""The verb about installing machines: boot-files. It needs neither root, nor a network, nor a minion."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from saltern import planning, verbs

from frontdoor import site_verbs


def boot_files_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``boot-files``."""
    parser.add_argument("--site", metavar="FILE", help="a site file, or a name under pillar/sites")
    parser.add_argument("--host", metavar="HOST", action="append", default=[], help="only this host; may be repeated")
    parser.add_argument("--out", metavar="DIR", help="write the files below this directory instead of printing them")


def boot_files(args: Namespace) -> int:
    """Print the files that machines are installed with, or write them as they are to be served."""
    args.secrets = None

    def act() -> str:
        files = verbs.boot_files(site_verbs.inputs(args), args.host)
        if args.out is None:
            return planning.whole(files)
        return f"{args.out}: {verbs.write_tree(Path(args.out), files)} of {len(files)} files written\n"

    return site_verbs.answer(act)


VERBS = {
    "boot-files": ("render the files that machines are installed with", boot_files_arguments, boot_files),
}
