"""Where an API is and what opens it, read from one setting; the secret never shows."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from kept.errors import TerminalError

_TOKEN = re.compile(r"[!-~]+")  # what may stand in a header: visible ASCII, no space


@dataclass(frozen=True)
class Access:
    """The address of an API, without a slash at its end, and the token it takes (empty: none)."""

    base: str
    token: str = field(default="", repr=False)

    @property
    def origin(self) -> str:
        """The address without its path."""
        parts = urlsplit(self.base)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def loopback(self) -> bool:
        return _loopback(urlsplit(self.base).hostname or "")


def read_access(store: str, setting: str, base: str | None = None, help: str | None = None) -> Access:
    """What a setting says: a token alone, for the vendor's own address `base`, or `https://token@host/path`.

    TerminalError, which never repeats the setting, when it is neither, or when it would send a token unencrypted to
    another machine.
    """
    setting = setting.strip()
    if base is None:
        help = help or "write the setting as https://host/path, or https://token@host/path"
    else:
        help = (
            help
            or "the setting is the token alone, or https://token@host for another address than the vendor's"
        )
    if "://" not in setting:
        if base is None:
            raise TerminalError("its address can't be read", help=help, where=store)
        return Access(base, _token(store, setting, help))
    try:
        parts = urlsplit(setting)
        port = parts.port
    except ValueError:
        raise TerminalError("its address can't be read", help=help, where=store) from None
    host = parts.hostname or ""
    if parts.scheme not in ("https", "http") or not host or parts.password is not None or parts.query:
        raise TerminalError("its address can't be read", help=help, where=store)
    if parts.scheme == "http" and not _loopback(host):
        raise TerminalError("its address isn't encrypted", help="write https://", where=store)
    token = _token(store, unquote(parts.username), help) if parts.username else ""
    if base is not None and not token:
        raise TerminalError("its setting holds no token", help=help, where=store)
    place = f"[{host}]" if ":" in host else host
    return Access(f"{parts.scheme}://{place}{f':{port}' if port else ''}{parts.path.rstrip('/')}", token)


def _token(store: str, token: str, help: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise TerminalError("its token can't be read", help=help, where=store)
    return token


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
