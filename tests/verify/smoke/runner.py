"""Steps that run in order, say how long each took, and are left out when what they need has failed."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any


class Failed(Exception):
    """A step's expectation was not met; the text says what was expected and what was there."""


class Skipped(Exception):
    """A step does not apply to this cloud; the text says why."""


@dataclass(frozen=True)
class Step:
    """One step of the walk: its name, what must have gone well before it, its function."""

    name: str
    needs: tuple[str, ...]
    quick: bool
    run: Callable[[Any], str | None]


@dataclass
class Outcome:
    """How a step ended: ``ok``, ``failed``, ``skipped`` (does not apply), ``left out`` (what it needs has failed)."""

    name: str
    result: str
    seconds: float
    words: str = ""


@dataclass
class Walk:
    """The steps of a walk in the order of their definition."""

    steps: list[Step] = field(default_factory=list)

    def step(self, *needs: str, quick: bool = False) -> Callable[[Callable[[Any], str | None]], Callable[..., Any]]:
        """Register a function as the next step; its name with spaces is the step's name."""

        def register(function: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
            self.steps.append(Step(function.__name__.replace("_", " "), needs, quick, function))
            return function

        return register

    def chosen(self, quick: bool, only: set[str]) -> list[Step]:
        """Return the steps to run: all, the quick ones, or the named ones with everything they need."""
        known = {each.name: each for each in self.steps}
        if unknown := only - known.keys():
            raise Failed(f"no such step: {', '.join(sorted(unknown))}; accepted: {', '.join(known)}")
        wanted = set(only)
        for each in reversed(self.steps):
            if each.name in wanted:
                wanted |= set(each.needs)
        return [each for each in self.steps if (each.name in wanted if only else each.quick or not quick)]


def until(
    what: str,
    predicate: Callable[[], Any],
    seconds: float,
    pause: float = 1.0,
    instead: Callable[[], str] | None = None,
) -> Any:
    """Return the predicate's first true value; raise Failed, with what is the case instead, when none comes in time."""
    end = time.monotonic() + seconds
    while True:
        if value := predicate():
            return value
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds:.0f} s{f' ({instead()})' if instead else ''}")
        time.sleep(pause)


def outcomes(steps: list[Step], world: Any, on_failure: Callable[[str, float], str]) -> Iterator[Outcome]:
    """Run the steps and yield how each ended.

    ``on_failure`` gets a step's name and the time at which it began, keeps the evidence and returns where it is.
    """
    ended: dict[str, str] = {}
    for step in steps:
        since = time.time()
        if missing := [name for name in step.needs if ended.get(name, "ok") != "ok"]:
            result = "skipped" if all(ended[name] == "skipped" for name in missing) else "left out"
            outcome = Outcome(step.name, result, 0.0, f"needs: {', '.join(missing)}")
        else:
            outcome = attempted(step.name, partial(step.run, world))
        if outcome.result == "failed":
            outcome.words += kept(on_failure, step.name, since)
        ended[step.name] = outcome.result
        yield outcome


def attempted(name: str, act: Callable[[], str | None]) -> Outcome:
    """Run something and return how it ended, whatever it raised."""
    began, result, words = time.monotonic(), "ok", ""
    try:
        words = act() or ""
    except Skipped as reason:
        result, words = "skipped", str(reason)
    except Exception as error:
        result, words = "failed", described(error)
    return Outcome(name, result, round(time.monotonic() - began, 1), words)


def kept(on_failure: Callable[[str, float], str], name: str, since: float) -> str:
    """Return where the evidence of a failed step is; why there is none is said, and does not end the walk."""
    try:
        return on_failure(name, since)
    except Exception as error:
        return f"; no evidence: {described(error)}"


def described(error: Exception) -> str:
    """Return an error on one line; one that no step foresaw also tells where it came from."""
    if isinstance(error, Failed):
        return str(error)
    frames = [each for each in traceback.extract_tb(error.__traceback__) if "/smoke/" in each.filename]
    where = f" (line {frames[-1].lineno} of {frames[-1].filename.rsplit('/', 1)[-1]})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def line(outcome: Outcome) -> str:
    """Return an outcome as one line of the report."""
    return f"{outcome.result:<8} {outcome.seconds:>6.1f} s  {outcome.name:<24} {outcome.words}".rstrip()


def summary(done: list[Outcome], cleaned: Outcome | None = None) -> dict[str, Any]:
    """Return all outcomes as data for JSON; ``good`` is about the steps alone, ``clean up`` stands beside them."""
    bad = [each.name for each in done if each.result in ("failed", "left out")]
    skipped = [each.name for each in done if each.result == "skipped"]
    steps = [asdict(each) for each in done]
    after = asdict(cleaned) if cleaned else None
    return {"good": bool(done) and not bad, "bad": bad, "skipped": skipped, "steps": steps, "clean up": after}


def verdict(said: dict[str, Any]) -> str:
    """Return a summary as one line, which names what is bad and what was passed over."""
    words = "good" if said["good"] else f"BAD: {', '.join(said['bad']) or 'no step was run'}"
    return f"smoke test: {words}{f'; skipped: {names}' if (names := ', '.join(said['skipped'])) else ''}"
