"""How a site is reached: encrypted, with a way from the unencrypted address, and a word to browsers to stay (HSTS)."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx

from kept.controls.security.tls import SECONDS, Met, meet

_AGE: Final = re.compile(r'max-age\s*=\s*"?(\d{1,12})"?\s*\Z', re.IGNORECASE)


@dataclass(frozen=True)
class Seen:
    """A site as it answered. `hsts`: seconds for which browsers stay encrypted (RFC 6797), None where it says nothing.

    `plain`: what the unencrypted address does: `silent`, `redirects` to the encrypted one, or `answers`.
    """

    tls: Met
    hsts: int | None
    plain: str


def look(address: str, *, plain: int = 80, context: ssl.SSLContext | None = None) -> Seen:
    """Ask a site at `https://host[:port]/…`, and its host without encryption at port `plain`.

    Nothing is followed: only the host that the address names is asked.
    """
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or 443
    tls = meet(host, port, context=context)
    if tls.version is None:
        return Seen(tls, None, "silent")
    hsts: int | None = None
    with httpx.Client(
        verify=context or ssl.create_default_context(),
        timeout=SECONDS,
        follow_redirects=False,
        trust_env=False,
    ) as client:
        try:
            hsts = _age(client.get(address).headers.get_list("Strict-Transport-Security"))
        except httpx.HTTPError:
            hsts = None
        return Seen(tls, hsts, _plain(client, host, plain))


def _age(headers: list[str]) -> int | None:
    """The max-age of the first header, which is the one that counts (RFC 6797, 8.1)."""
    for directive in headers[0].split(";") if headers else ():
        found = _AGE.match(directive.strip())
        if found:
            return int(found[1])
    return None


def _plain(client: httpx.Client, host: str, port: int) -> str:
    place = f"[{host}]" if ":" in host else host
    try:
        answer = client.get(f"http://{place}:{port}/")
    except httpx.HTTPError:
        return "silent"
    to = answer.headers.get("Location", "")
    return "redirects" if answer.is_redirect and to.lower().startswith("https://") else "answers"
