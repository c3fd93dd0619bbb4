"""Log in to the dashboard as a person would: form, token against forgery, redirect to the project's page."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

from smoke.runner import Failed


class Form(HTMLParser):
    """The fields of a page's forms with the values they have."""

    def __init__(self) -> None:
        """Start with no field."""
        super().__init__()
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an input's name and value."""
        values = dict(attrs)
        if tag == "input" and values.get("name"):
            self.fields[str(values["name"])] = values.get("value") or ""


def log_in(base: str, user: str, password: str, ca_file: str) -> str:
    """Return the address at which the user lands; raise Failed where the dashboard does not let the user in."""
    session = requests.Session()
    session.verify = ca_file
    page = session.get(urljoin(base, "/auth/login/"), timeout=60)
    form = Form()
    form.feed(page.text)
    if page.status_code != 200 or "csrfmiddlewaretoken" not in form.fields:
        raise Failed(f"{page.url}: status {page.status_code}, expected a login form")
    data = form.fields | {"username": user, "password": password}
    if "domain" in data:
        data["domain"] = "Default"
    landed = session.post(page.url, data=data, headers={"Referer": page.url}, timeout=120)
    if landed.status_code != 200 or "/auth/login" in landed.url:
        raise Failed(f"{landed.url}: status {landed.status_code}; the dashboard did not let {user} in")
    project = session.get(urljoin(base, "/project/"), timeout=120)
    if project.status_code != 200 or "/project/" not in project.url or user not in project.text:
        raise Failed(f"{project.url}: status {project.status_code}, expected the page of {user}'s project")
    return str(project.url)
