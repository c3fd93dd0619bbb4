"""The verbs about installing machines: boot-files, which needs neither root nor a network, and live-image."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from saltern import planning, verbs
from saltern.errors import SalternError

from frontdoor import site_verbs
from lab import live_image


def boot_files_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``boot-files``."""
    parser.add_argument("--site", metavar="FILE", help="a site file, or a name under pillar/sites")
    parser.add_argument("--host", metavar="HOST", action="append", default=[], help="only this host; may be repeated")
    parser.add_argument("--out", metavar="DIR", help="write the files below this directory instead of printing them")


def boot_files(args: Namespace) -> int:
    """Print the files that machines are installed with, or write them as they are to be served."""
    args.secrets = None

    def act() -> str:
        files = verbs.boot_files(site_verbs.inputs(args), args.host, args.out)
        if args.out is None:
            return planning.whole(files)
        return f"{args.out}: {verbs.write_tree(Path(args.out), files)} of {len(files)} files written\n"

    return site_verbs.answer(act)


def live_image_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``live-image``."""
    parser.add_argument("--out", metavar="DIR", default=verbs.BOOT, help="where boot-files writes, too")
    parser.add_argument("--refresh", action="store_true", help="build it anew, with today's packages")


def live_image_built(args: Namespace) -> int:
    """Build the files of the live installer where they are not those of today's recipe; this takes root."""
    if os.geteuid() != 0:
        raise SalternError("live-image: it makes a root file system: run it as root")
    made = live_image.ensure(Path(args.out).resolve() / "boot", args.refresh)
    print(f"{args.out}: {'built' if made else 'built before, and of this recipe: nothing to do'}")
    return 0


VERBS = {
    "boot-files": ("render the files that machines are installed with", boot_files_arguments, boot_files),
    "live-image": ("build the live installer of Debian", live_image_arguments, live_image_built),
}
