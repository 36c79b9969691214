"""What a host's TLS is like: the version it speaks, its certificate, and whether it still takes an old version."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

SECONDS: Final = 5.0
RESERVED: Final = ("example", "test", "invalid", "localhost")  # RFC 2606, 6761: nobody's, so nobody is asked
_EXAMPLES: Final = ("example.com", "example.net", "example.org")


@dataclass(frozen=True)
class Met:
    """What a handshake showed. `why_not`: no encrypted connection came about, and why; `silent`: nobody answered.

    `old`: whether TLS 1.1 or 1.0 is taken too, which RFC 8996 forbids; None where this machine can't try it.
    """

    version: str | None = None
    until: datetime | None = None
    old: bool | None = None
    why_not: str | None = None
    silent: bool = False


def meet(host: str, port: int, *, context: ssl.SSLContext | None = None) -> Met:
    """Connect to a host as a browser would, its certificate checked against those this machine trusts."""
    if is_reserved(host):
        return Met(why_not="its name is one for examples, which is nobody's", silent=True)
    context = context or ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        with (
            socket.create_connection((host, port), SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            version, certificate = secured.version(), secured.getpeercert() or {}
    except ssl.SSLCertVerificationError as wrong:
        return Met(why_not=f"its certificate isn't trusted ({wrong.verify_message.rstrip('.')})")
    except ssl.SSLError as wrong:
        return Met(why_not=f"it doesn't speak TLS 1.2 or later ({wrong.reason or 'no handshake'})")
    except OSError as wrong:
        return Met(why_not=f"it can't be reached ({type(wrong).__name__})", silent=True)
    until = None
    if "notAfter" in certificate:
        until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    return Met(version, until, _takes_old(host, port))


def _takes_old(host: str, port: int) -> bool | None:
    """Whether TLS 1.1 or older is taken; a library that can't speak it any more can't tell."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only whether it answers is asked
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that it is deprecated is why it is tried
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection((host, port), SECONDS) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as wrong:
        here = {"NO_PROTOCOLS_AVAILABLE", "NO_CIPHERS_AVAILABLE", "UNSUPPORTED_PROTOCOL_FAMILY"}
        return None if (wrong.reason or "") in here else False
    except OSError:
        return False  # it hung up


def is_here(host: str) -> bool:
    """Whether a host is this machine, so that nothing sent to it leaves it."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_reserved(host: str) -> bool:
    """Whether a name is kept for examples and tests."""
    labels = host.rstrip(".").lower().split(".")
    return host != "localhost" and (labels[-1] in RESERVED or ".".join(labels[-2:]) in _EXAMPLES)
