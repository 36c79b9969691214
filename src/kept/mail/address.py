"""Where a mail server is, from a setting; encrypted, unless it is on this machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from kept.errors import KeptError


@dataclass(frozen=True)
class Server:
    """A mail server; its secrets are in no repr."""

    scheme: str
    host: str
    port: int
    user: str = field(repr=False)
    password: str = field(repr=False)
    path: str
    options: Mapping[str, str]


def served(url: str, setting: str, ports: Mapping[str, int], plain: str) -> Server:
    """Read `scheme://user:password@host:port/path?option=value`; what stands in user and password is percent-encoded.

    `ports` are the schemes there are, each with its usual port; `plain` is the one without encryption, which is taken
    for a server on this machine only. Raises KeptError, naming the setting and never what stands in it.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        parts, port, host = urlsplit(""), None, None
    if parts.scheme not in ports or not host:
        raise KeptError(
            f"the setting {setting} is not the address of a mail server",
            help=f"write it as {' or '.join(f'{scheme}://user:password@host' for scheme in ports)}",
            where=setting,
        )
    if parts.scheme == plain and not is_loopback(host):
        encrypted = next(scheme for scheme in ports if scheme != plain)
        raise KeptError(
            f"the setting {setting} would carry mail over a network unencrypted",
            help=f"write it as {encrypted}://…; {plain}:// is for a server on this machine",
            where=setting,
        )
    user, password, path = (
        unquote(part or "") for part in (parts.username, parts.password, parts.path.lstrip("/"))
    )
    options = dict(parse_qsl(parts.query))
    if any(
        character < " " or character == "\x7f"
        for character in "".join((user, password, path, *options.values()))
    ):
        raise KeptError(f"the setting {setting} has a control character in it", where=setting)
    return Server(parts.scheme, host, port or ports[parts.scheme], user, password, path, options)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its address or as `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
