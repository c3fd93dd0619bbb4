"""Log in to the dashboard as a person would: form, token against forgery, redirect to the project's page."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urljoin

from smoke.runner import Failed
from smoke.web import Browser


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
    browser = Browser(ca_file)
    page = browser.get(urljoin(base, "/auth/login/"))
    form = Form()
    form.feed(page.text)
    if page.status != 200 or "csrfmiddlewaretoken" not in form.fields:
        raise Failed(f"{page.url}: status {page.status}, expected a login form")
    fields = form.fields | {"username": user, "password": password}
    if "domain" in fields:
        fields["domain"] = "Default"
    landed = browser.post(page.url, fields)
    if landed.status != 200 or "/auth/login" in landed.url:
        raise Failed(f"{landed.url}: status {landed.status}; the dashboard did not let {user} in")
    project = browser.get(urljoin(base, "/project/"))
    if project.status != 200 or "/project/" not in project.url or user not in project.text:
        raise Failed(f"{project.url}: status {project.status}, expected the page of {user}'s project")
    return project.url
