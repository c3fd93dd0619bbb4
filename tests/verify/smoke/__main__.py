"""Command line of the smoke test: run on the deploy host with Salt's Python, which has openstacksdk."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from saltern import site
from saltern.errors import SalternError

from smoke import cloud as clouds
from smoke import evidence, outside, runner, steps


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="smoke", description=steps.__doc__)
    made.add_argument("--cloud", default="saltern", help="entry of clouds.yaml with the administrator")
    made.add_argument("--site", type=Path, default=Path("/etc/saltern/site.yaml"), help="the site file")
    made.add_argument("--image", type=Path, required=True, help="the guest image, qcow2")
    made.add_argument("--logs", type=Path, default=Path("/var/log/saltern/smoke"), help="what is kept of failed steps")
    made.add_argument("--json", type=Path, help="write the summary to this file")
    made.add_argument("--probe-from", default="", help="command prefix on the provider's side, with {vlan}; or -")
    made.add_argument("--quick", action="store_true", help="boot, metadata, ping, delete")
    made.add_argument("--only", default="", help="these steps, separated by commas, and what they need")
    made.add_argument("--keep", action="store_true", help="leave everything in place at the end")
    made.add_argument("--list", action="store_true", help="print the steps' names")
    return made


def walk(arguments: argparse.Namespace) -> int:
    """Run the chosen steps, a line for each, clean up and sum up; returns 0 when all went well."""
    only = {name.strip() for name in arguments.only.split(",") if name.strip()}
    chosen = steps.walk.chosen(arguments.quick, only)
    side = outside.side(arguments.probe_from)
    options = clouds.Options(arguments.cloud, site.load(arguments.site), arguments.image, arguments.logs, side)
    cloud = clouds.connect(options)
    done = []
    try:
        for outcome in runner.outcomes(chosen, cloud, lambda step, since: evidence.keep(cloud, step, since)):
            done.append(outcome)
            print(runner.line(outcome), flush=True)
    except KeyboardInterrupt:
        done.append(runner.Outcome("walk", "failed", 0.0, "interrupted"))
    finally:
        cleaned = None if arguments.keep else clean_up(cloud)
    return report(done, cleaned, arguments.json)


def clean_up(cloud: clouds.Cloud) -> runner.Outcome:
    """Remove what the walk has made; a cloud that does not let it must not cost the summary."""
    try:
        return runner.attempted("clean up", lambda: clouds.move_out(cloud))
    except KeyboardInterrupt:
        return runner.Outcome("clean up", "failed", 0.0, "interrupted")


def report(done: list[runner.Outcome], cleaned: runner.Outcome | None, path: Path | None) -> int:
    """Print the summary, and a clean-up that failed behind it; returns 0 when all went well."""
    summary = runner.summary(done, cleaned)
    left = cleaned is not None and cleaned.result != "ok"
    print(runner.verdict(summary), flush=True)
    if cleaned and left:
        print(runner.line(cleaned), flush=True)
    if path:
        path.write_text(json.dumps(summary, indent=1))
    return 0 if summary["good"] and not left else 1


def main() -> int:
    """Run the command line; what cannot start says why in one line."""
    arguments = parser().parse_args()
    if arguments.list:
        print("\n".join(f"{each.name}{' (quick)' if each.quick else ''}" for each in steps.walk.steps))
        return 0
    try:
        return walk(arguments)
    except (runner.Failed, *clouds.REFUSALS, SalternError, OSError) as error:
        print(f"smoke test: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
