"""Where Debian's packages come from: the host's own package manager knows, the lab only replaces the suite."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lab import proxy
from lab.command import LabError, output, run

FORMAT = "$(ORIGIN)|$(LABEL)|$(REPO_URI)|$(RELEASE)|$(CODENAME)"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
REDIRECTS = (301, 302, 303, 307, 308)
NO_DETOUR = (
    "a lab fetches packages from the mirror itself, through no other proxy and over no redirect:"
    " name one that can be reached so by `mirrors: {debian: URL}` in the site"
)
CARRIED = ("Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::Retries")
"""Options of the host's apt that say something about the mirror, and so hold for the nodes too."""


@dataclass(frozen=True)
class Entry:
    """One suite of one archive, e.g. ``trixie-security`` at the URL of the security archive."""

    url: str
    suite: str
    components: str = "main"

    @property
    def host(self) -> str:
        """Return ``name:port`` of the archive's server."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"

    @property
    def plain(self) -> str:
        """Return the URL as a node uses it: clear text to the proxy, which speaks TLS upstream when the mirror does."""
        parts = urlsplit(self.url)
        return f"http://{self.host}{parts.path}" if parts.scheme == "https" else self.url

    def line(self, signed_by: Path = KEYRING) -> str:
        """Return the entry as a line of a node's sources."""
        return f"deb [signed-by={signed_by}] {self.plain} {self.suite} {self.components}"


def resolved(url: str) -> str:
    """Return the first archive behind a ``mirror+file:`` URL, or the URL itself."""
    if not url.startswith("mirror+file:"):
        return url.rstrip("/")
    path = Path("/" + url.removeprefix("mirror+file:").strip("/"))
    try:
        words = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
    except OSError as error:
        raise LabError(f"apt's sources: {error}") from error
    found = next((each[0] for each in words if each), None)
    if not found:
        raise LabError(f"apt's sources: {path}: names no archive")
    return found.rstrip("/")


def entries(indextargets: str, suite: str) -> tuple[Entry, ...]:
    """Return Debian's archives among apt's index targets, with another suite: the main archive comes first."""
    found: dict[Entry, bool] = {}
    for line in indextargets.splitlines():
        # By their code names: sources may say `stable` for the release.
        origin, label, url, _, codename = line.split("|")
        if origin != "Debian" or label not in ("Debian", "Debian-Security"):
            continue
        base = codename.split("-")[0]
        if base and "backports" not in codename:
            found[Entry(resolved(url), codename.replace(base, suite, 1))] = label != "Debian"
    return tuple(sorted(found, key=lambda entry: (found[entry], entry.suite)))


def discover(suite: str = "trixie", override: str | None = None) -> tuple[Entry, ...]:
    """Return the archives to use: the site's mirror for the main archive, else what the host's apt has."""
    targets = output("apt-get", "indextargets", "--format", FORMAT, "Created-By: Packages")
    if "Debian|" not in targets:
        run("apt-get", "-qq", "update")
        targets = output("apt-get", "indextargets", "--format", FORMAT, "Created-By: Packages")
    found = entries(targets, suite)
    if override:
        return (Entry(override.rstrip("/"), suite), *(each for each in found if each.suite.endswith("-security")))
    if not any(each.suite == suite for each in found):
        raise LabError(
            "apt's sources: no entry whose Origin is Debian: add one, or set `mirrors: {debian: URL}` in the site"
        )
    return found


def probe(entry: Entry, tries: int = 3) -> None:
    """Raise unless the archive's server answers as the package proxy asks it: directly, and in its own name."""
    parts = urlsplit(entry.url)
    for left in reversed(range(tries)):
        try:
            connection = proxy.connect(proxy.Upstream(entry.host, parts.scheme == "https", ()))
            connection.request("HEAD", f"{parts.path}/dists/{entry.suite}/InRelease")
            answer = connection.getresponse()
            break
        except (OSError, http.client.HTTPException) as error:
            if not left:
                raise LabError(f"mirror: {entry.url}: {error}: {NO_DETOUR}") from error
            time.sleep(1)
    if answer.status in REDIRECTS:
        raise LabError(f"mirror: {entry.url}: redirects to {answer.getheader('Location')}: {NO_DETOUR}")


def options(dump: str, wanted: Iterable[str] = CARRIED) -> str:
    """Return those lines of ``apt-config dump`` that the nodes need too."""
    prefixes = tuple(f"{name} " for name in wanted)
    return "".join(f"{line}\n" for line in dump.splitlines() if line.startswith(prefixes))
