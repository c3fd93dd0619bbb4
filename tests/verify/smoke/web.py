"""A browser's few manners over TLS: cookies, redirects, a certificate that must be signed by the given authority."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, HTTPSHandler, ProxyHandler, Request, build_opener


@dataclass(frozen=True)
class Page:
    """What came back: where redirects ended, the status, the text."""

    url: str
    status: int
    text: str


class Browser:
    """A session with cookies."""

    def __init__(self, ca_file: str) -> None:
        """Trust one authority, and no proxy."""
        context = ssl.create_default_context(cafile=ca_file)
        self.opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context), HTTPCookieProcessor())

    def get(self, url: str) -> Page:
        """Return the page behind an address."""
        return self.open(Request(url))  # noqa: S310 - the scheme is the caller's

    def post(self, url: str, fields: Mapping[str, str]) -> Page:
        """Return the page that a form leads to."""
        return self.open(Request(url, urlencode(fields).encode(), {"Referer": url}))  # noqa: S310 - as above

    def open(self, request: Request) -> Page:
        """Return a page, of an error too."""
        try:
            with self.opener.open(request, timeout=120) as reply:
                return Page(reply.url, reply.status, reply.read().decode(errors="replace"))
        except HTTPError as error:
            with error:
                return Page(error.url or request.full_url, error.code, error.read().decode(errors="replace"))
