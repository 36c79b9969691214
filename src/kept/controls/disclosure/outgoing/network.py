"""Connections to one host, at an address that was looked at: no proxy, no other name, nothing of the environment's."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterable
from typing import Final

import httpcore
import httpx

from kept.controls.disclosure.outgoing.destination import Destination, refuse_private
from kept.controls.refused import Refused
from kept.errors import TerminalError, TransientError

# At DEBUG httpcore logs every header, and an address in a path declared for it.
logging.getLogger("httpcore").setLevel(logging.WARNING)

LARGEST: Final = 16 * 1024 * 1024  # bytes of an answer
TIMEOUT: Final = {"connect": 10.0, "read": 30.0, "write": 30.0, "pool": 10.0}
BROKEN: Final = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)
_Options = Iterable[httpcore.SOCKET_OPTION]


class Sync(httpcore.SyncBackend):
    """Connects to one destination and to nothing else."""

    def __init__(self, to: Destination) -> None:
        self._to = to

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: _Options | None = None,
    ) -> httpcore.NetworkStream:
        address, number = where(self._to, host, port)
        return super().connect_tcp(address, number, timeout, local_address, socket_options)


class Async(httpcore.AnyIOBackend):
    """The same, beside other work."""

    def __init__(self, to: Destination) -> None:
        self._to = to

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: _Options | None = None,
    ) -> httpcore.AsyncNetworkStream:
        address, number = await asyncio.to_thread(where, self._to, host, port)
        return await super().connect_tcp(address, number, timeout, local_address, socket_options)


def where(to: Destination, host: str, port: int) -> tuple[str, int]:
    """The address that is connected to: one that the name leads to, none of which is private. It is looked up once, and
    that very address is used, so that a second answer of the name server's changes nothing."""
    if (host, port) != (to.host, to.port):
        raise Refused("host", "this client speaks to one host only")
    if to.at is not None:
        return to.at
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise TransientError("the recipient's host isn't known to the name server now") from None
    addresses = [str(one[4][0]) for one in found]
    refuse_private(addresses)
    return addresses[0], port


def trust(authorities: str | None) -> ssl.SSLContext:
    """Whose certificates are believed: the usual authorities, or those in a file; never what the environment names."""
    if authorities is not None:
        return ssl.create_default_context(cafile=authorities)
    return httpx.create_ssl_context(trust_env=False)


def checked(status: int, recipient: str) -> None:
    """An answer that says it was taken; TransientError where the same may work later, TerminalError for the rest."""
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise TerminalError(
            "the recipient answers with another address, which is not followed",
            help="what was sent is on the register; correct the address",
            where=recipient,
        )
    error = TransientError if status in (408, 425, 429) or status >= 500 else TerminalError
    raise error(f"the recipient did not take it (HTTP {status})", where=recipient)


def failed(wrong: Exception, recipient: str) -> TransientError:
    """What went wrong on the way, without the address."""
    return TransientError(
        f"the recipient can't be reached, or broke off ({type(wrong).__name__})",
        help="it is on the register, for it may have been read; repeat it with the same key",
        where=recipient,
    )
