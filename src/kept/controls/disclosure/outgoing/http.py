"""An HTTP client bound to one recipient: what it sends was disclosed first, and goes nowhere but to declared hosts.

    with Outgoing(company, "couriers", purpose="delivery", address="https://api.couriers.example/v1") as couriers:
        couriers.send({person: {"street": "…", "own_name": "…"}}, "/parcels")

The body is made of disclosed fields, and of a template's own words. Redirects, proxies, cookies, other hosts, private
addresses, headers that change where a request goes: none of them is possible.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from typing import Any, Final, Self, TypedDict, Unpack
from urllib.parse import quote

import httpcore

from kept.company import Company
from kept.controls.disclosure import gathered, payload
from kept.controls.disclosure.declared import declared
from kept.controls.disclosure.enforce import Disclosed, disclose, may_go
from kept.controls.disclosure.outgoing import network
from kept.controls.disclosure.outgoing.destination import (
    METHODS,
    destination,
    headers_of,
    path_of,
    refuse_addresses,
    refuse_personal,
)
from kept.controls.disclosure.payload import Record
from kept.controls.disclosure.recipients import party_of
from kept.controls.refused import Refused
from kept.controls.rights.people import Person
from kept.errors import TerminalError

NONE: Final[Mapping[str, str]] = {}


class Given(TypedDict, total=False):
    """What may be said of one request: its method (POST unless said), its query and headers, and of what it discloses
    the case, the evidence, the signals and the key under which a repetition is known."""

    method: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    case: str | None
    evidence: Mapping[str, str]
    signals: frozenset[str]
    key: str | None


@dataclass(frozen=True)
class Field:
    """In a template of a body: where a disclosed field goes, by the name it has in the record."""

    name: str


@dataclass(frozen=True)
class Sent:
    """What was disclosed, and what the recipient answered."""

    disclosed: Disclosed
    status: int
    body: bytes = field(repr=False)

    def json(self) -> Any:
        try:
            return json.loads(self.body) if self.body else None
        except ValueError:
            return None


@dataclass(frozen=True)
class _Request:
    disclosed: Disclosed
    method: str
    target: str = field(repr=False)
    headers: list[tuple[str, str]] = field(repr=False)
    content: bytes = field(repr=False)


class _Bound(ABC):
    """What both clients share: everything but the connection."""

    def __init__(
        self,
        company: Company,
        recipient: str,
        *,
        purpose: str,
        address: str,
        headers: Mapping[str, str] = NONE,
        template: object = None,
        in_path: Sequence[str] = (),
        by: str | None = None,
        authorities: str | None = None,
        loopback: Mapping[str, str] | None = None,
    ) -> None:
        """`headers` are those of every request (a token); `template` says how a body looks (`Field` where a value
        goes), the record itself where there is none. `in_path` are the fields that may stand in a path, as
        `/people/{id}`; `authorities` a file of certificates, where the recipient has its own. `loopback` is for tests:
        the places on this machine that stand in for hosts.

        Refused where the recipient, its host or what it gets for this purpose isn't declared.
        """
        self.company, self.purpose, self.by = company, purpose, by
        self.party = party_of(company.policy, recipient)
        self.to = destination(self.party, address, loopback)
        promise = declared(company.policy, self.party, purpose, None)
        known = may_go(company, promise, tuple(map(str, promise.gives)))
        if any(not known.meant(name) for name in in_path):
            raise Refused("path", f"`{promise.name}` does not give a field that is to stand in the path")
        self._headers, self._template, self._in_path = headers_of(headers), template, tuple(in_path)
        self._trust = network.trust(authorities) if self.to.scheme == "https" else None
        self._open()

    @abstractmethod
    def _open(self) -> None:
        """Make the pool of connections; nothing is connected yet."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.party.name}>"  # the headers may hold a token

    def prepared(
        self,
        records: Mapping[Person, Record],
        path: str,
        *,
        method: str = "POST",
        query: Mapping[str, str] = NONE,
        headers: Mapping[str, str] = NONE,
        case: str | None = None,
        evidence: Mapping[str, str] = NONE,
        signals: frozenset[str] = frozenset(),
        key: str | None = None,
    ) -> _Request:
        """Disclose, and make the request of what may go; Refused before anything is on record where the address, a
        header or the method is wrong."""
        if method not in METHODS:
            raise Refused("method", "data goes in a body", help=f"one of {', '.join(METHODS)}")
        extra = headers_of(headers)
        mine = {name.lower() for name, _ in self._headers}
        if any(name.lower() in mine for name, _ in extra):
            raise Refused("header", "a header is given twice")
        self._fits(path, records)
        path_of(self._filled(path, next(iter(records.values()), {})), query)
        known = [one for some in gathered.identifiers(self.company, list(records)).values() for one in some]
        here = [path, *query, *query.values(), *(text for pair in extra for text in pair)]
        made = [self.to.base, *(text for pair in self._headers for text in pair)]
        refuse_personal([*known, *payload.deep(records)], *here, *made)
        refuse_personal(known, self.to.host, *_own_words(self._template))
        refuse_addresses(self.company.policy, *here)
        done = disclose(
            self.company,
            str(self.party.name),
            list(records),
            purpose=self.purpose,
            records=records,
            by=self.by,
            case=case,
            evidence=evidence,
            signals=signals,
            key=key,
            way="http",
        )
        given = list(done.records.values())
        bodies = [_body(record, self._template) for record in given]
        content = json.dumps(
            bodies[0] if len(records) == 1 else bodies,
            ensure_ascii=False,
            allow_nan=False,
            default=_written,
            separators=(",", ":"),
        )
        target = self.to.base + path_of(self._filled(path, given[0]), query)
        usual = [("User-Agent", "kept"), ("Accept", "application/json")]
        named = {name.lower() for name, _ in (*self._headers, *extra)}
        sent = [
            ("Host", self.to.host),
            ("Content-Type", "application/json"),
            *(pair for pair in usual if pair[0].lower() not in named),
            *self._headers,
            *extra,
        ]
        return _Request(done, method, target, sent, content.encode("utf-8", "replace"))

    def _fits(self, path: str, records: Mapping[Person, Record]) -> None:
        """Whether the fields in a path were declared for it; they are one person's."""
        wanted = _placeholders(path)
        if any(name not in self._in_path for name in wanted):
            raise Refused("path", "a field in the path wasn't declared for it", help="name it in in_path")
        if wanted and len(records) != 1:
            raise Refused("path", "a path with a field is one person's", help="send them one by one")

    def _filled(self, path: str, record: Record) -> str:
        for name in _placeholders(path):
            value = record.get(name)
            if value is None or not payload.is_plain(value) or not str(value):
                raise Refused("path", "the path has a field that may not be given, or is empty")
            path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
        return path

    def answered(self, request: _Request, status: int, body: bytes) -> Sent:
        network.checked(status, str(self.party.name))
        return Sent(request.disclosed, status, body)

    def url(self, target: str) -> httpcore.URL:
        return httpcore.URL(
            scheme=self.to.scheme.encode(), host=self.to.host.encode(), port=None, target=target.encode()
        )


class Outgoing(_Bound):
    """The client. Use it in a `with` block, or `close` it."""

    def _open(self) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=self._trust, network_backend=network.Sync(self.to), max_connections=10, retries=0
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.close()

    def send(self, records: Mapping[Person, Record], path: str = "/", **given: Unpack[Given]) -> Sent:
        """Send the records of people, one request for all: an object of one person's, a list of several's.

        Refused where it may not be given; then nothing is on record and nothing was sent. TransientError and
        TerminalError where the recipient didn't take it: that is on record, for it may have read it. Repeat it with
        the same `key`.
        """
        request = self.prepared(records, path, **given)
        found = bytearray()
        try:
            with self._pool.stream(
                request.method,
                self.url(request.target),
                headers=request.headers,
                content=request.content,
                extensions={"timeout": network.TIMEOUT},
            ) as answer:
                for chunk in answer.iter_stream():
                    found += _fitting(found, chunk)
                status = answer.status
        except network.BROKEN as wrong:
            raise network.failed(wrong, str(self.party.name)) from None  # the original may hold the address
        return self.answered(request, status, bytes(found))


class AsyncOutgoing(_Bound):
    """The same for asynchronous applications: `async with AsyncOutgoing(…) as client: await client.send(…)`."""

    def _open(self) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=self._trust, network_backend=network.Async(self.to), max_connections=10, retries=0
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.aclose()

    async def send(self, records: Mapping[Person, Record], path: str = "/", **given: Unpack[Given]) -> Sent:
        """As `Outgoing.send`; what is disclosed is written in a thread."""
        request = await asyncio.to_thread(self.prepared, records, path, **given)
        found = bytearray()
        try:
            async with self._pool.stream(
                request.method,
                self.url(request.target),
                headers=request.headers,
                content=request.content,
                extensions={"timeout": network.TIMEOUT},
            ) as answer:
                async for chunk in answer.aiter_stream():
                    found += _fitting(found, chunk)
                status = answer.status
        except network.BROKEN as wrong:
            raise network.failed(wrong, str(self.party.name)) from None  # as above
        return self.answered(request, status, bytes(found))


def _fitting(found: bytearray, chunk: bytes) -> bytes:
    if len(found) + len(chunk) > network.LARGEST:
        raise TerminalError(f"the recipient's answer is longer than {network.LARGEST} bytes")
    return chunk


def _placeholders(path: str) -> list[str]:
    return [part.partition("}")[0] for part in path.split("{")[1:]]


def _own_words(template: object) -> Iterator[str]:
    """What a template says itself: its names, and whatever is no place for a field."""
    if isinstance(template, Mapping):
        for name, part in template.items():
            yield str(name)
            yield from _own_words(part)
    elif isinstance(template, list | tuple):
        for part in template:
            yield from _own_words(part)
    elif not isinstance(template, Field):
        yield str(template)


def _body(record: Record, template: object) -> Any:
    """A record in a recipient's own shape; a field that isn't given leaves its place out."""
    if template is None:
        return dict(record)
    if isinstance(template, Field):
        return record.get(template.name)
    if isinstance(template, Mapping):
        return {
            name: _body(record, part)
            for name, part in template.items()
            if not isinstance(part, Field) or part.name in record
        }
    if isinstance(template, list | tuple):
        return [
            _body(record, part) for part in template if not isinstance(part, Field) or part.name in record
        ]
    return template


def _written(value: object) -> str:
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError  # nothing else passes `payload.strip`
