"""The verb `verify`: testinfra on every host, then the smoke test; from a lab's machine or on a deploy host."""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from saltern.errors import SalternError

from lab import guest_image, layout, nodes, preflight, router, sites
from lab.highstate import PYTHON
from lab.layout import REPOSITORY, Lab

TESTS = "tests/verify"
SITE = Path("/etc/saltern/site.yaml")
GUEST = "var/cache/saltern/guest.qcow2"
CACHE = Path("/var/cache/saltern/guest")
NEEDED = {program: preflight.PROGRAMS[program] for program in ("qemu-img", "ping", "ssh")}
"""What the smoke test starts on this machine: to build its guest image, and to probe from the provider's side."""
sys.path.append(str(REPOSITORY / TESTS))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "--site", metavar="FILE|NAME", help="the lab of a site (default: this deploy host's cloud, or the lab)"
    )
    parser.add_argument("--quick", action="store_true", help="of the smoke test: boot, metadata, ping, delete")
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument("--no-smoke", action="store_true", help="only testinfra")
    parts.add_argument("--smoke-only", action="store_true", help="only the smoke test")
    parser.add_argument(
        "--probe-from", default="", metavar="PREFIX", help="command prefix on the provider's side, with {vlan}"
    )
    parser.add_argument("words", nargs=argparse.REMAINDER, help="-- arguments for pytest, or for the smoke test")


def environment(repository: str) -> dict[str, str]:
    """Return the variables with which both tests run from a repository that may be read-only."""
    path = ":".join(f"{repository}/{each}" for each in (TESTS, "modules/_utils", "."))
    return {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def pytest_command(repository: str, words: Iterable[str]) -> list[str]:
    """Return the command that runs testinfra."""
    folder = f"{repository}/{TESTS}"
    return [PYTHON, "-m", "pytest", "-c", f"{folder}/pytest.ini", "--rootdir", folder, folder, *words]


def smoke_command(image: str, probe_from: str, quick: bool, words: Iterable[str]) -> list[str]:
    """Return the command that runs the smoke test."""
    options = ["--image", image, "--probe-from", probe_from, *(["--quick"] if quick else [])]
    return [PYTHON, "-m", "smoke", *options, *words]


def run(lab: Lab, words: Iterable[str] = (), *, smoke: bool = True, infra: bool = True, quick: bool = False) -> int:
    """Verify a lab from its deploy node, probing from its routers; returns 0 when all is well."""
    given = environment(nodes.REPOSITORY)
    code = 0
    if infra:
        argv = pytest_command(nodes.REPOSITORY, words)
        code = subprocess.run(entered(lab, given, argv), check=False).returncode
    if smoke:
        deliver(lab, built(layout.CACHE / "guest"))
        argv = smoke_command(f"/{GUEST}", "-", quick, () if infra else words)
        code = with_probes(lab, entered(lab, given, argv)) or code
    return code


def entered(lab: Lab, variables: Mapping[str, str], argv: Sequence[str]) -> list[str]:
    """Return the command that runs another one on the deploy node."""
    return nodes.enter(lab, lab.deploy, "env", *(f"{name}={value}" for name, value in variables.items()), *argv)


def built(cache: Path) -> Path:
    """Return the guest image, built at the first call."""
    try:
        return guest_image.build(cache).disk
    except guest_image.GuestImageError as error:
        raise SalternError(f"guest image: {error}") from error


def deliver(lab: Lab, image: Path) -> None:
    """Copy the guest image to the deploy node, unless it is there."""
    target = Path(f"/proc/{nodes.leader(lab, lab.deploy)}/root/{GUEST}")
    if target.exists() and filecmp.cmp(target, image, shallow=False):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    shutil.copyfile(image, part)
    part.replace(target)


def with_probes(lab: Lab, argv: Sequence[str]) -> int:
    """Run the smoke test and answer its questions from the lab's routers; returns its exit code."""
    from smoke import outside

    side = outside.Prefix(["ip", "netns", "exec", router.namespace(lab, 0).removesuffix("0") + "{vlan}"])
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if line.startswith(outside.MARK) and process.stdin:
                process.stdin.write(f"{outside.answer(line, side)}\n")
                process.stdin.flush()
            else:
                sys.stdout.write(line)
                sys.stdout.flush()
    return process.returncode


def here(arguments: argparse.Namespace, words: Sequence[str]) -> int:
    """Verify the cloud of the deploy host that this runs on; what the smoke test needs there is installed."""
    if not arguments.no_smoke and (installed := preflight.install(NEEDED)):
        sys.stdout.write(f"installed {', '.join(installed)}\n")
        sys.stdout.flush()
    variables = {**os.environ, **environment(str(REPOSITORY))}
    code = 0
    if not arguments.smoke_only:
        code = subprocess.run(pytest_command(str(REPOSITORY), words), check=False, env=variables).returncode
    if not arguments.no_smoke:
        given = words if arguments.smoke_only else ()
        argv = smoke_command(str(built(CACHE)), arguments.probe_from, arguments.quick, given)
        code = subprocess.run(argv, check=False, env=variables).returncode or code
    return code


def from_command_line(arguments: argparse.Namespace) -> int:
    """Verify the lab that was named, or the site of this deploy host."""
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    if os.geteuid() != 0:
        raise SalternError("root: verification asks hosts through the salt-master, which only root may")
    if arguments.site is None and SITE.exists():
        return here(arguments, words)
    chosen = {"smoke": not arguments.no_smoke, "infra": not arguments.smoke_only, "quick": arguments.quick}
    return run(sites.load(arguments.site or "lab"), words, **chosen)


VERBS = {"verify": ("verify the cloud: testinfra and the smoke test", add_arguments, from_command_line)}
