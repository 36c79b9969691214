"""What every page of Kept's has in common: its templates, its headers, and answers that no cache keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader

from kept.company import Company
from kept.controls.rights.letters import contact

PAGES: Final = Environment(
    loader=PackageLoader("kept.server"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)

# Nothing on a page comes from elsewhere or runs: no script, no frame. What is shown stays out of every cache.
SECURITY: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
WITH_FORMS: Final = SECURITY | {
    "Content-Security-Policy": f"{SECURITY['Content-Security-Policy']}; form-action 'self'",
    "X-Robots-Tag": "noindex",
}


def base_of(company: Company) -> str:
    """The path under which people reach the pages, without a slash at its end: `` or `/privacy`."""
    return urlsplit(company.public_url).path.rstrip("/")


def page(
    company: Company, name: str, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
) -> HTMLResponse:
    """A page for people, from its template. `status` is the HTTP status; `us` and `contact` are known to each."""
    us = company.policy.us()
    text = PAGES.get_template(name).render(
        base=base_of(company),
        us=us[0].label if us else company.policy.name,
        contact=contact(company),
        **values,
    )
    return HTMLResponse(text, status, WITH_FORMS | dict(headers or {}))


def said(company: Company, status: int, title: str, *paragraphs: str, **values: Any) -> HTMLResponse:
    """A page that only says something: a title, some paragraphs, and perhaps a way on."""
    return page(company, "said.html", status, title=title, paragraphs=paragraphs, **values)
