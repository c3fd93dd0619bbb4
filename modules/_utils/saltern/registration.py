"""The API objects that the leading controller keeps: what follows from the catalogue and the site, then the site's own."""

from __future__ import annotations

from typing import Any

from .derive import Context, _apis, api_url


def resources(ctx: Context) -> list[dict[str, Any]]:
    """Return the objects in the order in which they are made, each as ``{kind, name, properties, tier}``."""
    return []
