"""Any other company's system as a store, in OpenDSR's shape: it is asked, signed, and answers now or later.

The policy file says which identities it takes (`identities: {email: email}`), with whose key it signs (`signed-by`),
and how it answers (`answers: status`, Kept asks; `answers: callback`, it calls back as well). A subject is an identity,
`email:ada@example.org`. Nothing can be asked but what OpenDSR has: no search, no counting, no correction.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from functools import partial
from tempfile import TemporaryFile
from typing import IO, Any, Final
from urllib.parse import urlsplit

from kept.errors import StoreError, TerminalError
from kept.stores.records import opendsr
from kept.stores.records.access import Access
from kept.stores.records.client import Answer, Client, Waiting
from kept.stores.records.opendsr import Forged, Status
from kept.stores.records.store import Erased, Pending, Row

_SOONEST = timedelta(minutes=1)  # a partner that isn't done is asked again
_LATEST = timedelta(days=1)
_RESULTS = 4 * 1024**3  # bytes of one person's results
_LINE = 64 * 1024**2  # bytes of one row

PATHS: Final[Mapping[str, str]] = {"discovery": "discovery", "requests": "requests", "status": "status"}


@dataclass(frozen=True)
class Partner:
    """What the policy file says of a partner's system."""

    identities: Mapping[str, str]
    """Known-by names (`email`, `key`), and OpenDSR's word for each (`email`, `controller_customer_id`)."""
    key: str
    """The partner's public key, see `opendsr.public_key`."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Where `discovery`, `requests` and `status` are below its address, if elsewhere."""
    callback: str | None = None
    """Kept's own address for callbacks; None where the partner is only asked."""
    regulation: str = "gdpr"


class HTTPStore:
    """A partner's system; `sign` is the company's Ed25519 signature over bytes (`Keys.sign`)."""

    searchable = False

    def __init__(
        self,
        name: str,
        access: Access,
        partner: Partner,
        sign: Callable[[bytes], bytes],
        waiting: Waiting | None = None,
    ) -> None:
        self.name, self.partner = name, partner
        self.waiting = waiting or Waiting()
        self._sign, self._access = sign, access
        self._key = opendsr.public_key(name, partner.key)
        self._paths = {**PATHS, **partner.paths}
        self._supported: tuple[frozenset[str], frozenset[str]] | None = None
        headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
        self._client = Client(name, access, headers, waiting=self.waiting, refused=self._refused)

    def __repr__(self) -> str:
        return f"<HTTPStore {self.name}>"

    def dispose(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._client.dispose()

    def columns(self, table: str) -> frozenset[str]:
        """Empty: OpenDSR doesn't say what a partner holds."""
        return frozenset()

    def find(self, known_by: str, values: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The identity of each value, without asking anyone; TerminalError where the partner doesn't take the sort."""
        self._identity(known_by)
        return {value: (f"{known_by}:{value}",) for value in values if value}

    def existing(self, subjects: Sequence[str]) -> set[str]:
        """All of them: a partner can't be asked who is there."""
        return set(subjects)

    def identifiers(self, subjects: Sequence[str], known_by: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """What each identity says by itself."""
        result: dict[str, dict[str, str]] = {}
        for subject in subjects:
            sort, _, value = subject.partition(":")
            names = {name: value for name, column in known_by.items() if sort in (name, column)}
            if names and value:
                result[subject] = names
        return result

    def collect(
        self, subjects: Sequence[str], tables: Mapping[str, Sequence[str]], act: str = ""
    ) -> Iterator[tuple[str, str, Row]]:
        """What the partner answers to an access request; `Pending` until it has, before the first row.

        All subjects are asked about before any is waited for. Rows of tables nobody asked for are left out, and a
        column that the partner leaves out is None.
        """
        unique = list(dict.fromkeys(subjects))
        found = [(subject, self._ask("access", subject, act)) for subject in unique]
        self._await([status for _, status in found])
        for subject, status in found:
            for table, row in self._results(status):
                if table in tables:
                    yield subject, table, {column: row.get(column) for column in tables[table]}

    def erase(self, subject: str, tables: Sequence[str] = (), act: str = "") -> Erased:
        """Have the partner erase the identity; `Pending` until it says that it has, TerminalError where it won't.

        `act` is what makes a repetition the same request. Where the partner doesn't say what it deleted, its
        `results_count` is counted as `records`.
        """
        status = self._ask("erasure", subject, act)
        self._await([status])
        if status.erased is not None:
            return status.erased
        return Erased({"records": status.count} if status.count else {})

    def correct(
        self, subject: str, table: str, row: str | None, values: Mapping[str, str], act: str = ""
    ) -> int:
        """TerminalError: OpenDSR has no correction."""
        raise TerminalError(
            "a partner can't be asked to correct: OpenDSR has no such request",
            help="have it corrected by hand",
            where=self.name,
        )

    def count(self, table: str) -> int:
        """TerminalError: OpenDSR has no counting."""
        raise TerminalError("a partner can't be asked how much it holds", where=self.name)

    def request_id(self, type: str, subject: str, act: str) -> str:
        """The `subject_request_id` of an act (`access`, `erasure`): the same at each repetition, unknown to others."""
        if not act:
            raise ValueError("an act needs a name, or a later request would be taken for this one")
        parts = json.dumps([self.name, type, subject, act], ensure_ascii=False)
        return opendsr.request_id(self._sign(f"kept opendsr {parts}".encode()))

    def read_callback(self, body: bytes, headers: Mapping[str, str]) -> Status:
        """A callback of the partner's, its signature checked before anything is read (OpenDSR 8.8).

        `Forged` where the partner didn't sign it, or not for us; answer it with 403. Otherwise answer 202, and repeat
        the act whose `request_id` it names: that asks the partner, so a callback is never taken at its word.
        """
        given = {name.lower(): value for name, value in headers.items()}
        if not opendsr.genuine(self._key, given.get(opendsr.SIGNATURE.lower(), ""), body):
            raise Forged("a callback isn't signed by the partner", help="answer it with 403", where=self.name)
        status = opendsr.status(self.name, body)
        if json.loads(body).get("status_callback_url") != self.partner.callback:
            raise Forged("a callback is for another address", help="answer it with 403", where=self.name)
        return status

    def _ask(self, type: str, subject: str, act: str) -> Status:
        """How the request stands; it is made where the partner doesn't know it yet."""
        sort, _, value = subject.partition(":")
        identity = (self._identity(sort), value)
        id = self.request_id(type, subject, act)
        known = self._status(id)
        if known is not None:
            return known
        self._offered(type, identity[0])
        body = opendsr.request(
            id,
            type,
            identity,
            audience=self._access.base,
            regulation=self.partner.regulation,
            submitted=self.waiting.clock(),
            callback=self.partner.callback,
        )
        headers = {"Content-Type": "application/json", opendsr.SIGNATURE: opendsr.signed(self._sign(body))}
        path = f"/{self._paths['requests']}"
        # 409: an earlier attempt of this call did arrive
        answer = self._client.call("POST", path, content=body, headers=headers, allowed=(409,))
        if answer.status != 409:
            self._checked(answer)
        made = self._status(id)
        if made is None:
            raise TerminalError(
                "it took a request and doesn't know it", help="the partner has to mend it", where=self.name
            )
        return made

    def _status(self, id: str) -> Status | None:
        path = f"/{self._paths['status']}/{id}"
        answer = self._client.get(
            path, headers=partial(self._signing, "GET", self._access.base + path), allowed=(404,)
        )
        return None if answer.status == 404 else opendsr.status(self.name, self._checked(answer), id)

    def _await(self, statuses: Sequence[Status]) -> None:
        """Pass where all are completed; `Pending` where one isn't yet, TerminalError where one never will be."""
        if any(status.state == "cancelled" for status in statuses):
            raise TerminalError(
                "the partner cancelled the request",
                help="ask the partner why; then make the request anew",
                where=self.name,
            )
        waiting = [status for status in statuses if status.open]
        if waiting:
            now = self.waiting.clock()
            expected = max((status.expected or now) for status in waiting)
            at = min(max(expected, now + _SOONEST), now + _LATEST)
            raise Pending(
                f"the partner has {len(waiting)} of {len(statuses)} requests still open",
                at,
                help="Kept asks again",
                where=self.name,
            )

    def _offered(self, type: str, identity: str) -> None:
        """TerminalError where the partner's discovery says that it doesn't do this."""
        if self._supported is None:
            found = self._client.get(f"/{self._paths['discovery']}").map()
            types = found.get("supported_subject_request_types")
            identities = found.get("supported_identities")
            self._supported = (
                frozenset(str(one) for one in types) if isinstance(types, list) else frozenset(),
                frozenset(
                    str(one.get("identity_type"))
                    for one in (identities if isinstance(identities, list) else ())
                    if isinstance(one, dict) and one.get("identity_format") == "raw"
                ),
            )
        types_, identities_ = self._supported
        if type not in types_ or identity not in identities_:
            missing = f"`{type}` requests" if type not in types_ else f"identities of type `{identity}`"
            raise TerminalError(
                f"the partner doesn't take {missing}",
                help="its /discovery lists what it takes; have the rest done by hand",
                where=self.name,
            )

    def _results(self, status: Status) -> Iterator[tuple[str, dict[str, Any]]]:
        """The rows of a completed access request, out of a file that is gone when they are read."""
        if status.results is None:
            return
        theirs = urlsplit(status.results)
        if f"{theirs.scheme}://{theirs.netloc}" != self._access.origin:
            raise TerminalError(
                "its results are at another host", help="the partner has to mend it", where=self.name
            )
        path = theirs.path + (f"?{theirs.query}" if theirs.query else "")
        with TemporaryFile() as file:
            signing = partial(self._signing, "GET", self._access.origin + path)
            answer = self._client.call("GET", path, headers=signing, into=file, most=_RESULTS, from_root=True)
            with _mapped(file) as body:
                if not opendsr.genuine(self._key, answer.headers.get(opendsr.SIGNATURE, ""), body):
                    raise Forged("its results aren't signed by the partner", where=self.name)
            file.seek(0)
            while line := file.readline(_LINE):
                if line.strip():
                    yield self._line(line)

    def _line(self, line: bytes) -> tuple[str, dict[str, Any]]:
        try:
            found = json.loads(line)
            return str(found["table"]), dict(found["row"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise TerminalError(
                "its results can't be read", help="the partner has to mend it", where=self.name
            ) from None

    def _identity(self, sort: str) -> str:
        if sort not in self.partner.identities:
            raise TerminalError(
                f"the partner doesn't take `{sort}`",
                help=f"it takes {', '.join(self.partner.identities)}; add to `identities` what it takes besides",
                where=self.name,
            )
        return self.partner.identities[sort]

    def _signing(self, method: str, address: str) -> dict[str, str]:
        time = self.waiting.clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            opendsr.TIME: time,
            opendsr.SIGNATURE: opendsr.signed(self._sign(opendsr.bodiless(method, address, time))),
        }

    def _checked(self, answer: Answer) -> bytes:
        if not opendsr.genuine(self._key, answer.headers.get(opendsr.SIGNATURE, ""), answer.body):
            raise Forged(
                "its answer isn't signed by the partner",
                help="if the partner has a new key, write it into the policy file or its setting",
                where=self.name,
            )
        return answer.body

    def _refused(self, answer: Answer) -> StoreError | None:
        if answer.status in (401, 403):
            return TerminalError(
                "the partner doesn't accept our signature or token",
                help="give the partner the company's public key; see that the token in the setting is its newest",
                where=self.name,
            )
        return None


@contextmanager
def _mapped(file: IO[bytes]) -> Iterator[bytes | memoryview]:
    """A file's bytes without reading them into memory; an empty file can't be mapped."""
    file.flush()
    if file.seek(0, 2) == 0:
        yield b""
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as body:
        yield body
