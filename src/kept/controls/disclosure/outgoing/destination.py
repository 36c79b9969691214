"""Where a recipient may be reached, and whether an address, a path or a header stays with it."""

from __future__ import annotations

import base64
import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, unquote_plus, urlencode, urlsplit

from kept.controls.refused import Refused
from kept.policy.facts import Party
from kept.policy.policy import Policy

_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SEGMENT: Final = r"[A-Za-z0-9._~!$&'()*+,;=:@%-]+"
_PATH: Final = re.compile(rf"/(?:{_SEGMENT}(?:/{_SEGMENT})*/?)?")
_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HIDDEN: Final = re.compile(r"[\x00-\x1f\x7f\\/]|^\.{1,2}(;|$)")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_TEXT: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,4000}[\x21-\x7e])?")
_MAIL: Final = re.compile(r"[\w.+-]+@(?:[\w-]+\.)+[^\W\d_]{2,}")
_HELP: Final = "put it into the record; or declare it for the path when the client is made (in_path)"
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 §2.1
METHODS: Final = ("POST", "PUT", "PATCH")  # those that carry a body
OURS: Final = re.compile(  # headers that say where a request goes, how long it is, or for whom it is passed on
    r"host|content-(length|type|encoding)|transfer-encoding|te|trailer|connection|keep-alive|upgrade|expect|cookie"
    r"|referer|forwarded|via|x-(real|client|cluster)-.*|x-forwarded(-.*)?|x-host|x-(original|rewrite)-.*"
    r"|x-http-.*|x-method-override|proxy(-.*)?|alt-.*|http2-settings",
    re.I,
)
SHORTEST: Final = (
    4  # characters of a value that is looked for elsewhere: shorter ones stand everywhere by chance
)


@dataclass(frozen=True)
class Destination:
    """One host of a recipient's, and the path below which it is called. `at` is where on this machine it stands in
    for it, in tests (`127.0.0.1:4321`)."""

    scheme: str
    host: str
    base: str
    at: tuple[str, int] | None = None

    @property
    def port(self) -> int:
        return 443 if self.scheme == "https" else 80


def destination(party: Party, address: str, loopback: Mapping[str, str] | None = None) -> Destination:
    """An address of a recipient's: https, and one of its declared `hosts` or below one; Refused for any other.

    `loopback` maps a declared host to `127.0.0.1:PORT`: only then plain http is taken, and it never leaves the machine.
    """
    if not party.hosts:
        raise Refused("host", f"no host of `{party.name}` is declared", help=f"add hosts: to `{party.name}`")
    if not address.isascii() or re.search(r"[\x00-\x20\x7f\\]", address):
        raise _no(party, "the address has a character that none has")
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise _no(party, "the address can't be read") from None
    host = parts.netloc.partition(":")[0]
    if (
        "@" in parts.netloc
        or "%" in parts.netloc
        or parts.query
        or parts.fragment
        or "?" in address
        or "#" in address
    ):
        raise _no(party, "the address has more than a host and a path")
    if not _HOST.fullmatch(host) or len(host) > 253:
        raise _no(party, "the address names no host in small letters, by its name")
    if not is_declared(party.hosts, host):
        raise _no(party, "the host is none of the recipient's")
    found = dict(loopback or {}).get(host)
    at = _loopback(found) if found is not None else None
    if parts.scheme != "https" and not (parts.scheme == "http" and at is not None):
        raise _no(party, "the address isn't https")
    if port is not None or parts.netloc.endswith(":"):
        raise _no(party, "the address has a port of its own")
    if parts.path:
        path_of(parts.path)
    return Destination(parts.scheme, host, parts.path.rstrip("/"), at)


def is_declared(hosts: Iterable[str], host: str) -> bool:
    """Whether a host is one of those declared, or below one; `*.example.org` means those below alone."""
    for one in (str(name).lower() for name in hosts):
        bare = one.removeprefix("*.")
        if host.endswith(f".{bare}") or (host == one):
            return True
    return False


def path_of(path: str, query: Mapping[str, str] | None = None) -> str:
    """A path with its query, as it is sent; Refused for one that could lead elsewhere."""
    if len(path) > 2000 or not _PATH.fullmatch(path) or _ESCAPE.search(path):
        raise Refused(
            "path", "that is no path below the recipient's address", help="write it as /contacts/new"
        )
    if any(_HIDDEN.search(unquote(segment)) for segment in path.split("/")[1:] if segment):
        raise Refused("path", "the path leads out of where it begins, or hides a character")
    return f"{path}?{urlencode(dict(query))}" if query else path


def headers_of(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Headers that may be sent beside those of the client's own; Refused for one that says where a request goes, how
    long it is, or that hides another."""
    found: dict[str, tuple[str, str]] = {}
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not _TEXT.fullmatch(value):
            raise Refused("header", "a header is one line of plain characters")
        if OURS.fullmatch(name) or name.lower() in found:
            raise Refused("header", "one of the headers is the client's own", help="leave it out")
        found[name.lower()] = (name, value)
    return list(found.values())


def refuse_personal(values: Iterable[object], *places: str) -> None:
    """Refuse a personal value outside a disclosed field: in an address or a header, where logs keep it, or in text that
    goes along; as it is, escaped, in Base64 or hex.

    A value of fewer than SHORTEST characters isn't looked for. What is enciphered otherwise can't be seen.
    """
    where = _read(places)
    for value in {str(one) for one in values if one is not None and not isinstance(one, bool)}:
        if len(value) < SHORTEST:
            continue
        raw = value.encode("utf-8", "surrogatepass")
        coded = (base64.b64encode(raw), base64.urlsafe_b64encode(raw))
        forms = {value, raw.hex(), *(one.decode().rstrip("=") for one in coded)}
        if any(_plain(form) in where for form in forms):
            raise Refused(
                "personal", "a personal value stands where none may, or where logs keep it", help=_HELP
            )


def refuse_addresses(policy: Policy, *places: str) -> None:
    """Refuse anybody's e-mail address where a personal value may not stand, but those the policy itself names."""
    ours = {
        _plain(contact.get("email", ""))
        for party in policy.parties.values()
        for contact in party.contacts.values()
    }
    if any(found.group() not in ours for found in _MAIL.finditer(_read(places))):
        raise Refused(
            "personal", "an e-mail address stands where none may, or where logs keep it", help=_HELP
        )


def _read(places: Iterable[str]) -> str:
    """Texts as whoever gets them may read them."""
    return "\n".join(
        _plain(form)
        for place in places
        for form in (place, unquote(place), unquote_plus(place), unquote(unquote(place)))
    )


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def refuse_private(addresses: Iterable[str]) -> None:
    """Refuse a name that leads into this machine or a private network: no recipient's host does."""
    for text in addresses:
        found = ipaddress.ip_address(text.partition("%")[0])
        for one in (found, *_inner(found)):
            unused = one.is_reserved and one not in _NAT64
            if not one.is_global or one.is_multicast or unused or getattr(one, "is_site_local", False):
                raise Refused(
                    "address", "the recipient's host leads into a private network, so nothing is sent to it"
                )


def _inner(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The addresses of the older sort that one of the newer leads to: mapped, tunnelled (6to4), translated (NAT64)."""
    if isinstance(found, ipaddress.IPv4Address):
        return []
    translated = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF) if found in _NAT64 else None
    return [one for one in (found.ipv4_mapped, found.sixtofour, translated) if one is not None]


def _loopback(found: str) -> tuple[str, int]:
    address, _, port = found.rpartition(":")
    try:
        if ipaddress.ip_address(address).is_loopback:
            return address, int(port)
    except ValueError:
        pass
    raise Refused("loopback", "a stand-in is on this machine: 127.0.0.1:PORT")


def _no(party: Party, why: str) -> Refused:
    return Refused("host", why, help=f"declared hosts of `{party.name}`: {', '.join(map(str, party.hosts))}")
