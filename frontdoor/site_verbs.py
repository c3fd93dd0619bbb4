"""The verbs about the site file: validate, init, explain, plan. None of them needs root, a network or a minion."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from saltern import atomic, planning, site, verbs, yamlfile
from saltern.errors import Problem, Problems, SalternError

from frontdoor import site_template

REPOSITORY = Path(__file__).resolve().parents[1]
OWN_SITE = REPOSITORY / "pillar/site.yaml"
SALT_RUN = "/opt/saltern/salt/bin/salt-run"


def find_site(name: str | None) -> Path:
    """Return the site file that a word means: a path, or a name under pillar/sites; pillar/site.yaml without one."""
    if not name:
        return OWN_SITE
    named = REPOSITORY / "pillar/sites" / f"{name}.yaml"
    return named if "/" not in name and there(named) else Path(name)


def there(path: Path) -> bool:
    """Return whether a file exists; where one may not even look, it does not (``Path.exists`` would raise)."""
    return os.path.exists(path)


def inputs(args: Namespace, otherwise: str | None = None) -> verbs.Inputs:
    """Return the files that a command line means; secrets.yaml beside the site file counts when it is there.

    ``otherwise`` names the site that is shown, and said to be shown, as long as there is no pillar/site.yaml.
    """
    path = find_site(args.site)
    if path == OWN_SITE and not there(path):
        if not otherwise:
            raise Problems([Problem(str(path), "not there", "`./saltern init` writes it; or name a site, such as lab")])
        sys.stderr.write(f"{path}: not there yet (`./saltern init` writes it); this is the site {otherwise}\n")
        path = find_site(otherwise)
    beside = path.with_name("secrets.yaml")
    secrets = Path(args.secrets) if args.secrets else beside if there(beside) else None
    return verbs.Inputs(path, REPOSITORY / "pillar/services", secrets)


def answer(act: Callable[[], str]) -> int:
    """Print what an action returns, or every problem it raises; return the exit code."""
    try:
        text = act()
    except SalternError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (a pager, head) has gone; keep the interpreter's own flush from failing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error
    return 0


def _file_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--site", metavar="FILE", help="a site file, or a name under pillar/sites")
    parser.add_argument(
        "--secrets", metavar="FILE", help="the secrets file (default: secrets.yaml beside the site file)"
    )


def validate_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``validate``."""
    parser.add_argument("site", nargs="?", metavar="FILE", help="a site file, or a name under pillar/sites")
    parser.add_argument(
        "--secrets", metavar="FILE", help="the secrets file (default: secrets.yaml beside the site file)"
    )


def validate(args: Namespace) -> int:
    """Say that a site file is right, or everything that is wrong with it."""
    return answer(lambda: f"{verbs.validate(inputs(args))}\n")


def explain_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``explain``."""
    parser.add_argument("host", metavar="HOST")
    parser.add_argument("service", metavar="SERVICE")
    parser.add_argument("option", metavar="SECTION.OPTION", help="or the key alone in a file without sections")
    _file_arguments(parser)


def explain(args: Namespace) -> int:
    """Say what each layer says of an option, and which one wins."""
    return answer(lambda: verbs.explain(inputs(args, "lab"), args.host, args.service, args.option))


def plan_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``plan``."""
    _file_arguments(parser)
    parser.add_argument("--host", metavar="HOST", action="append", default=[], help="only this host; may be repeated")
    parser.add_argument(
        "--diff", action="store_true", help="on the Salt master: only what differs from what is applied"
    )


def plan(args: Namespace) -> int:
    """Print all files of all hosts as they are to be, without secrets; or how they differ from what is applied."""
    if args.diff:
        return answer_diff(args)
    return answer(
        lambda: "\n".join(
            f"# host {host}\n{planning.whole(files)}"
            for host, files in verbs.plan(inputs(args, "lab"), args.host).items()
        )
    )


def answer_diff(args: Namespace) -> int:
    """Run the Salt runner that compares; it uses the master's site file."""
    program = SALT_RUN if Path(SALT_RUN).exists() else shutil.which("salt-run")
    if args.site or args.secrets or not program:
        said = "--site or --secrets" if program else "no salt-run here"
        accepted = "run on the Salt master, with its own site file; without --diff the plan is shown offline"
        sys.stderr.write(f"{Problem('--diff', said, accepted)}\n")
        return 1
    hosts = [f"hosts={','.join(args.host)}"] if args.host else []
    return subprocess.run([program, "saltern.plan", *hosts], check=False).returncode


def init_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of ``init``."""
    known = site_template.Answers()
    _file_arguments(parser)
    for flag in ("name", "domain", "management", "gateway", "tunnel", "management-device", "trunk-device"):
        default = getattr(known, flag.replace("-", "_"))
        parser.add_argument(f"--{flag}", metavar="VALUE", help=f"default: {default or 'none'}")
    parser.add_argument("--no-tunnel", action="store_true", help="VLANs only, no tunnels between computes")
    parser.add_argument("--vlans", metavar="RANGES", help="tenants' VLANs, such as 100-199,250")
    parser.add_argument("--computes", type=int, metavar="N", help="a deploy host, a controller and N computes")
    for role in ("deploy", "controller", "compute"):
        parser.add_argument(f"--{role}", metavar="NAME=ADDRESS", action="append", default=[], help="may be repeated")


def init(args: Namespace) -> int:
    """Write a first site file where there is none, and add the secrets that the secrets file lacks.

    Directories that are not there are made.
    """
    path = find_site(args.site)
    secrets = Path(args.secrets) if args.secrets else path.with_name("secrets.yaml")

    def act() -> str:
        said = [f"{path}: kept as it is" if there(path) else write_site(path, args)]
        made(secrets.parent)
        added = verbs.complete_secrets(verbs.Inputs(path, REPOSITORY / "pillar/services", secrets))
        said.append(f"{secrets}: {len(added)} secrets added (mode 0600)")
        return "\n".join([*said, f"next: ./saltern validate {path}\n"])

    return answer(act)


def write_site(path: Path, args: Namespace) -> str:
    """Write a site file from the flags and, at a terminal, from questions; nothing is written unless it is valid."""
    answers = answers_of(args, ask if sys.stdin.isatty() else lambda question, default: default)
    text = site_template.text(answers)
    site.parse(yamlfile.parse(text, str(path)))
    made(path.parent)
    try:
        atomic.write(str(path), text, 0o644)
    except OSError as error:
        raise Problems([Problem(str(path), error.strerror, "a file that can be written")]) from error
    return f"{path}: written; look through it and fill in provider networks and time servers"


def made(directory: Path) -> None:
    """Make a directory that is not there, and those above it, open to read: services' certificates lie below it."""
    missing = [each for each in (directory, *directory.parents) if not there(each)]
    for each in reversed(missing):
        try:
            each.mkdir(exist_ok=True)
            each.chmod(0o755)
        except OSError as error:
            raise Problems([Problem(str(each), error.strerror, "a directory that can be made")]) from error


def ask(question: str, default: str) -> str:
    """Return what the operator types, or the default for an empty line."""
    try:
        return input(f"{question} [{default}]: ").strip() or default
    except EOFError:
        return default


def answers_of(args: Namespace, asked: Callable[[str, str], str]) -> site_template.Answers:
    """Return the answers: flags as they are, the rest asked for."""
    found = site_template.Answers()
    for key, question in QUESTIONS.items():
        given = getattr(args, key)
        setattr(found, key, given if given is not None else asked(question, getattr(found, key) or "") or None)
    found.tunnel = None if args.no_tunnel else args.tunnel or found.tunnel
    vlans = args.vlans if args.vlans is not None else asked("VLANs for tenants", ",".join(found.vlans))
    found.vlans = tuple(each.strip() for each in vlans.split(",") if each.strip())
    named = [(role, each) for role in ("deploy", "controller", "compute") for each in getattr(args, role)]
    for role, each in named:
        name, _, address = each.partition("=")
        site_template.add_host(found, role, name, address)
    if not named:
        computes = str(args.computes) if args.computes is not None else asked("number of compute hosts", "2")
        site_template.numbered(found, int(computes) if computes.isdigit() else 2)
    return found


QUESTIONS = {
    "name": "name of the site",
    "domain": "domain of its hosts",
    "management": "management network",
    "gateway": "its gateway (empty: none)",
    "management_device": "network device that carries it",
    "trunk_device": "network device that carries VLANs",
}

VERBS: dict[str, tuple[str, Callable[[ArgumentParser], None], Callable[[Namespace], int]]] = {
    "validate": ("check a site file: every mistake at once", validate_arguments, validate),
    "init": ("write a first site file and generate secrets", init_arguments, init),
    "explain": ("say where an option's value comes from", explain_arguments, explain),
    "plan": ("show every host's files, or what differs from what is applied", plan_arguments, plan),
}
"""Each verb: its help, what adds its arguments to a parser, and what runs it and returns the exit code."""
