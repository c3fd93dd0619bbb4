"""Bounded waiting for probes, several at once, each told for what and for how long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from saltern.probes import Secrets, Spec, probe

Ask = Callable[[Spec, Secrets], str | None]


@dataclass(frozen=True)
class Waited:
    """How a wait ended: the reason why the thing is not ready (None when it is) and the seconds it took."""

    reason: str | None
    seconds: float


def ask_all(specs: Mapping[str, Spec], secrets: Secrets, ask: Ask = probe) -> dict[str, str | None]:
    """Return the answers of all the probes, asked at the same time."""
    if not specs:
        return {}
    with ThreadPoolExecutor(max_workers=min(32, len(specs))) as pool:
        answers = pool.map(lambda spec: ask(spec, secrets), specs.values())
        return dict(zip(specs, answers, strict=True))


def wait_until_ready(spec: Spec, secrets: Secrets, timeout: float, ask: Ask = probe) -> Waited:
    """Ask again and again, at most for ``timeout`` seconds, until the thing is ready."""
    begin = time.monotonic()
    pause = 0.1
    while True:
        reason = ask(spec, secrets)
        passed = time.monotonic() - begin
        if reason is None or passed >= timeout:
            return Waited(reason, passed)
        time.sleep(min(pause, max(0.0, timeout - passed)))
        pause = min(2.0, pause * 1.5)
