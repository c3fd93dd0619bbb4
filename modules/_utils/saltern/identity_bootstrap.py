"""What the identity service's first run leaves behind, and how to see in its database and key folders that it did."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

ROLES = ("admin", "manager", "member", "reader", "service")
HIDDEN = "(hidden)"

FACTS = """
SELECT CONCAT('role ', name), 'present' FROM role WHERE domain_id = '<<null>>'
UNION ALL SELECT CONCAT('role ', r.name, ' implies ', i.name), 'present' FROM implied_role m
  JOIN role r ON r.id = m.prior_role_id JOIN role i ON i.id = m.implied_role_id
UNION ALL SELECT CONCAT('project ', name), IF(enabled, 'enabled', 'disabled') FROM project WHERE domain_id = 'default'
UNION ALL SELECT CONCAT('user ', l.name), IF(u.enabled, 'enabled', 'disabled') FROM local_user l
  JOIN user u ON u.id = l.user_id WHERE l.domain_id = 'default'
UNION ALL SELECT CONCAT('role ', r.name, ' of ', l.name, ' on project ', p.name), 'given' FROM assignment a
  JOIN role r ON r.id = a.role_id JOIN local_user l ON l.user_id = a.actor_id JOIN project p ON p.id = a.target_id
  WHERE a.type = 'UserProject' AND l.domain_id = 'default' AND p.domain_id = 'default'
UNION ALL SELECT CONCAT('role ', r.name, ' of ', l.name, ' on the system'), 'given' FROM system_assignment a
  JOIN role r ON r.id = a.role_id JOIN local_user l ON l.user_id = a.actor_id WHERE l.domain_id = 'default'
UNION ALL SELECT CONCAT('region ', id), 'present' FROM region
UNION ALL SELECT CONCAT('endpoint ', e.region_id, ' ', e.interface), e.url FROM endpoint e
  JOIN service s ON s.id = e.service_id WHERE s.type = 'identity' AND e.enabled AND s.enabled
UNION ALL (SELECT 'password', p.password_hash FROM password p JOIN local_user l ON l.id = p.local_user_id
  WHERE l.domain_id = 'default' AND l.name = 'admin' ORDER BY p.created_at_int DESC, p.id DESC LIMIT 1)
"""
"""One query whose rows are (what, how it is); role and project names are unique among those that it lists."""


@dataclass(frozen=True)
class Bootstrap:
    """What the first run is asked for."""

    region: str
    urls: Mapping[str, str]
    """Interface (``public``, ``internal``, ``admin``) → URL of the identity service."""

    def facts(self) -> dict[str, str]:
        """Return the rows that the database holds once it is done, without the password."""
        chain = ("admin", "manager", "member", "reader")
        return {
            "project admin": "enabled",
            "user admin": "enabled",
            **{f"role {role}": "present" for role in ROLES},
            **{f"role {upper} implies {lower}": "present" for upper, lower in pairwise(chain)},
            "role admin of admin on project admin": "given",
            "role admin of admin on the system": "given",
            f"region {self.region}": "present",
            **{f"endpoint {self.region} {interface}": url for interface, url in self.urls.items()},
        }

    def environment(self, password: str) -> dict[str, str]:
        """Return the environment of ``keystone-manage bootstrap``: a password in its arguments could be seen by all."""
        urls = {f"OS_BOOTSTRAP_{interface.upper()}_URL": url for interface, url in self.urls.items()}
        return {"OS_BOOTSTRAP_PASSWORD": password, "OS_BOOTSTRAP_REGION_ID": self.region, **urls}


def differences(
    wanted: Bootstrap, found: Mapping[str, str], fits: Callable[[str], bool]
) -> dict[str, dict[str, str | None]]:
    """Return ``what → {old, new}`` for all that the first run would still change; ``fits`` judges the stored hash."""
    result: dict[str, dict[str, str | None]] = {
        what: {"old": found.get(what), "new": how} for what, how in wanted.facts().items() if found.get(what) != how
    }
    stored = found.get("password")
    if stored is None or not fits(stored):
        result["password of admin"] = {"old": None if stored is None else HIDDEN, "new": HIDDEN}
    return result


def password_fits(password: str, stored: str) -> bool:
    """Say whether a password is the one behind a stored bcrypt hash.

    It costs what the hash was made to cost (about a quarter of a second). libxcrypt is called because Python has no
    ``crypt`` module any more and no other program is told the password. A hash of another kind (scrypt) does not fit
    here; then the first run is repeated, and it leaves a right password alone.
    """
    library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    # Keystone cuts at 72 bytes, which is all that bcrypt takes in.
    computed = library.crypt(password.encode()[:72], stored.encode())
    return bool(computed == stored.encode())


def key_step(names: Iterable[str]) -> str:
    """Return what a key folder with these files needs: ``setup``, ``rotate`` or nothing.

    A set-up that is killed half-way leaves the staged key ``0`` alone, and a second set-up does nothing then: only a
    rotation makes the primary key.
    """
    keys = {int(name) for name in names if name.isdigit()}
    if 0 not in keys:
        return "setup"
    return "" if len(keys) > 1 else "rotate"
