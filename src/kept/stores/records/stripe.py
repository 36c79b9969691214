"""Stripe as a store: customers are the people; charges, invoices, subscriptions and more hang on them.

Written against Stripe's public API (docs.stripe.com/api), at one version of it. A deleted customer takes cards, bank
accounts and tax numbers along and ends subscriptions; records of payments stay with Stripe, which keeps them as long
as the laws on payments ask (docs.stripe.com/privacy/deletion-requests) and offers no way to delete them. Kept says so
to the person. Stripe's redaction jobs, a public preview, aren't used.
"""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

from kept.errors import StoreError, TerminalError
from kept.stores.records.access import Access
from kept.stores.records.client import Answer, Client, Waiting
from kept.stores.records.store import Erased, Kept, Row, is_mail

ADDRESS: Final = "https://api.stripe.com"
PEOPLE: Final = "customers"
VERSION: Final = "2024-06-20"  # what the objects look like; Stripe serves each version for years

_PAGE = 100  # objects in one page, Stripe's limit
_CLAUSES = 10  # values in one search, Stripe's limit

# Where the objects of a customer are listed, and with which parameters.
_LISTS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "charges": ("/v1/charges", {}),
    "invoices": ("/v1/invoices", {}),
    "invoiceitems": ("/v1/invoiceitems", {}),
    "subscriptions": ("/v1/subscriptions", {"status": "all"}),
    "payment_intents": ("/v1/payment_intents", {}),
    "setup_intents": ("/v1/setup_intents", {}),
    "payment_methods": ("/v1/payment_methods", {}),
    "sources": ("/v1/customers/{customer}/sources", {}),
    "tax_ids": ("/v1/customers/{customer}/tax_ids", {}),
    "balance_transactions": ("/v1/customers/{customer}/balance_transactions", {}),
}
_GO_ALONG: Final = ("payment_methods", "sources", "tax_ids")
_ALWAYS: Final = ("charges", "invoices", "subscriptions")
_BY_LAW = "Stripe keeps records of payments as long as the laws on payments, accounting and money laundering ask it to."
_ENDED = "Stripe keeps the record of an ended subscription with the payments made under it."
_SEARCHED = re.compile(r"email|name|phone|metadata->[A-Za-z0-9_. -]{1,40}")


class StripeStore:
    """The customers of one Stripe account, by its secret key or a restricted one."""

    searchable = True

    def __init__(self, name: str, access: Access, waiting: Waiting | None = None) -> None:
        self.name = name
        self._client = Client(
            name,
            access,
            {"Authorization": f"Bearer {access.token}", "Stripe-Version": VERSION},
            waiting=waiting or Waiting(),
            refused=self._refused,
        )

    def __repr__(self) -> str:
        return f"<StripeStore {self.name}>"

    def dispose(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._client.dispose()

    def columns(self, table: str) -> frozenset[str]:
        """Empty: Stripe doesn't list its fields. TerminalError for a table Kept doesn't know Stripe to have."""
        self._known(table)
        return frozenset()

    def find(self, known_by: str, values: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The customers that have each value.

        E-mail, name, phone and `metadata->key` are searched, where an account has Stripe's search (it lags up to a
        minute; e-mail is therefore also looked up as written). Anything else means reading through all customers.
        """
        mail = is_mail(known_by)
        wanted: dict[str, list[str]] = defaultdict(list)
        for value in dict.fromkeys(values):
            if value:
                wanted[value.casefold() if mail else value].append(value)
        if known_by == "id":
            there = self.existing(list(wanted))
            return {value: (value,) for value in wanted if value in there}
        found: dict[str, dict[str, None]] = defaultdict(dict)
        for customer in self._candidates(known_by, [one for asked in wanted.values() for one in asked]):
            text = str(_field(customer, known_by) or "")
            for asked in wanted.get(text.casefold() if mail else text, ()):
                found[asked][str(customer["id"])] = None
        return {value: tuple(ids) for value, ids in found.items()}

    def existing(self, subjects: Sequence[str]) -> set[str]:
        """Those of the customers that are there, one call each."""
        return {subject for subject in dict.fromkeys(subjects) if self._customer(subject) is not None}

    def identifiers(self, subjects: Sequence[str], known_by: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """What each customer is known by; see RecordStore."""
        result: dict[str, dict[str, str]] = {}
        for subject in dict.fromkeys(subjects):
            customer = self._customer(subject)
            values = {name: _field(customer, column) for name, column in known_by.items()} if customer else {}
            found = {name: str(value) for name, value in values.items() if value}
            if found:
                result[subject] = found
        return result

    def collect(
        self, subjects: Sequence[str], tables: Mapping[str, Sequence[str]], act: str = ""
    ) -> Iterator[tuple[str, str, Row]]:
        """Each customer's own record and lists, a page at a time; `address->city` is a field inside another.

        TerminalError for a column the objects don't have.
        """
        for table in tables:
            self._known(table)
        for subject in dict.fromkeys(subjects):
            customer = self._customer(subject)
            for table, columns in tables.items():
                if table == PEOPLE:
                    if customer is not None:
                        yield subject, table, self._row(table, customer, columns)
                else:
                    for record in self._theirs(subject, table):
                        yield subject, table, self._row(table, record, columns)

    def erase(self, subject: str, tables: Sequence[str] = (), act: str = "") -> Erased:
        """Delete the customer, and say what Stripe keeps; see the head of this file."""
        for table in tables:
            self._known(table)
        customer = self._customer(subject)
        kept: list[Kept] = []
        deleted: dict[str, int] = {}
        for table in dict.fromkeys((*_ALWAYS, *tables)):
            if table != PEOPLE:
                rows = sum(1 for _ in self._theirs(subject, table))
                if rows and table in _GO_ALONG and customer is not None:
                    deleted[table] = rows
                elif rows and table not in _GO_ALONG:
                    kept.append(Kept(table, rows, _ENDED if table == "subscriptions" else _BY_LAW))
        if customer is None:
            return Erased({}, tuple(kept))
        # 404: an earlier attempt of this call did arrive
        self._client.call("DELETE", f"/v1/customers/{_segment(subject)}", allowed=(404,))
        return Erased({PEOPLE: 1} | deleted, tuple(kept))

    def correct(
        self, subject: str, table: str, row: str | None, values: Mapping[str, str], act: str = ""
    ) -> int:
        """Write fields of the customer; see RecordStore. Records of payments can't be written, by anyone."""
        self._known(table)
        if table != PEOPLE:
            raise TerminalError(f"Stripe lets nobody change {table}", where=self.name)
        if row not in (None, subject):
            raise TerminalError("the customer isn't the person's own", where=self.name)
        customer = self._customer(subject)
        if customer is None:
            raise TerminalError("the customer isn't there", where=self.name)
        read_only = [column for column in values if column in ("id", "object", "created", "livemode")]
        if read_only:
            raise TerminalError(f"`{read_only[0]}` of customers can't be written", where=self.name)
        self._row(table, customer, [column for column in values if not column.startswith("metadata->")])
        changed = {column: value for column, value in values.items() if _field(customer, column) != value}
        if not changed:
            return 0
        form = {_form(column): value for column, value in changed.items()}
        # Without an act, the key holds for the attempts of this call alone: writing A, B, A again is three writes.
        key = f"{act}|{subject}|{sorted(changed.items())}" if act else str(uuid.uuid4())
        self._client.call(
            "POST",
            f"/v1/customers/{_segment(subject)}",
            content=urlencode(form).encode(),
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Idempotency-Key": str(uuid.uuid5(uuid.NAMESPACE_URL, key)),
            },
        )
        return 1

    def count(self, table: str) -> int:
        """How many there are, by reading through all of them: Stripe doesn't count."""
        self._known(table)
        path, parameters = ("/v1/customers", {}) if table == PEOPLE else _LISTS[table]
        if "{customer}" in path or table == "payment_methods":
            raise TerminalError(f"Stripe lists {table} only customer by customer", where=self.name)
        return sum(1 for _ in self._pages(path, parameters))

    def _candidates(self, column: str, values: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Customers among whom those with a value are."""
        if column == "email":
            for value in values:
                yield from self._pages("/v1/customers", {"email": value})
        if _SEARCHED.fullmatch(column):
            for at in range(0, len(values), _CLAUSES):
                asked = [f"{_searched(column)}:'{_quoted(value)}'" for value in values[at : at + _CLAUSES]]
                found = self._search(" OR ".join(asked))
                if found is None:  # this account has no search: one reading serves all values
                    break
                yield from found
            else:
                return
        if values:
            yield from self._pages("/v1/customers", {})

    def _search(self, query: str) -> Iterable[dict[str, Any]] | None:
        """Every page of a search; None where there is no search (India; other accounts by their version)."""
        first = self._client.get(
            "/v1/customers/search", {"query": query, "limit": str(_PAGE)}, allowed=(400, 404)
        )
        return None if first.status >= 400 else self._found(query, first)

    def _found(self, query: str, page: Answer) -> Iterator[dict[str, Any]]:
        seen = ""
        while True:
            yield from _data(page)
            following = str(page.map().get("next_page") or "")
            if not page.map().get("has_more") or not following or following == seen:
                return
            seen = following
            page = self._client.get(
                "/v1/customers/search", {"query": query, "limit": str(_PAGE), "page": following}
            )

    def _customer(self, subject: str) -> dict[str, Any] | None:
        """A customer that is there; Stripe still answers for a deleted one, and says that it is."""
        if not _possible(subject):
            return None
        answer = self._client.get(f"/v1/customers/{_segment(subject)}", allowed=(404,))
        found = answer.map()
        return None if answer.status == 404 or found.get("deleted") else found

    def _theirs(self, subject: str, table: str) -> Iterator[dict[str, Any]]:
        path, parameters = _LISTS[table]
        if not _possible(subject):
            return
        if "{customer}" in path:
            yield from self._pages(path.replace("{customer}", _segment(subject)), parameters)
        else:
            yield from self._pages(path, {"customer": subject, **parameters})

    def _pages(self, path: str, parameters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        after: dict[str, str] = {}
        while True:
            answer = self._client.get(path, {**parameters, "limit": str(_PAGE), **after}, allowed=(400, 404))
            if answer.status == 400 and _error(answer).get("code") != "resource_missing":
                raise self._refused(answer)
            records = _data(answer)  # none where the customer is gone
            yield from records
            if not records or not answer.map().get("has_more"):
                return
            last = str(records[-1]["id"])
            if after.get("starting_after") == last:
                raise TerminalError("its list doesn't advance", where=self.name)
            after = {"starting_after": last}

    def _row(self, table: str, record: Mapping[str, Any], columns: Sequence[str]) -> Row:
        unknown = [column for column in columns if column.partition("->")[0] not in record]
        if unknown:
            raise TerminalError(
                f"Stripe's {table} have no {', '.join(f'`{column}`' for column in unknown)}",
                help=f"columns are the fields of Stripe's API of {VERSION}, such as email or address->city",
                where=self.name,
            )
        return {column: _field(record, column) for column in columns}

    def _known(self, table: str) -> None:
        if table != PEOPLE and table not in _LISTS:
            raise TerminalError(
                f"Kept knows no `{table}` of Stripe's",
                help=f"known: {', '.join((PEOPLE, *_LISTS))}",
                where=self.name,
            )

    def _refused(self, answer: Answer) -> StoreError:
        """Stripe's refusals; its own sentence is left out, for it may quote what was sent."""
        error = _error(answer)
        if answer.status == 401:
            return TerminalError(
                "Stripe doesn't know the key",
                help="put a secret key (sk_…) or a restricted one (rk_…) of this account into the setting",
                where=self.name,
            )
        if answer.status == 403:
            named = sorted(set(re.findall(r"\brak_[a-z_]{1,60}\b", str(error.get("message", "")))))
            wanted = ", ".join(named) or "customers to read and write, and the other tables to read"
            return TerminalError(
                "Stripe's key may not do this", help=f"give the restricted key: {wanted}", where=self.name
            )
        words = [str(error.get(part, "")) for part in ("type", "code", "param")]
        said = ", ".join(word for word in words if re.fullmatch(r"[a-z_\[\]]{1,60}", word))
        return TerminalError(
            f"Stripe refuses the call (HTTP {answer.status}{', ' + said if said else ''})", where=self.name
        )


def _data(answer: Answer) -> list[dict[str, Any]]:
    found = answer.map().get("data", [])
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _error(answer: Answer) -> Mapping[str, Any]:
    found = answer.map().get("error")
    return found if isinstance(found, dict) else {}


def _field(record: Mapping[str, Any], column: str) -> Any:
    """The value of a field, or of `field->inside`; None where there is none."""
    value: Any = record
    for part in column.split("->"):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _form(column: str) -> str:
    first, *rest = column.split("->")
    return first + "".join(f"[{part}]" for part in rest)


def _possible(subject: str) -> bool:
    """Whether an id can stand in an address: `.` and `..` would name another place."""
    return subject not in ("", ".", "..", "search") and len(subject) <= 255 and subject.isprintable()


def _segment(subject: str) -> str:
    return quote(subject, safe="")


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _searched(column: str) -> str:
    name, _, key = column.partition("->")
    return f"{name}['{key}']" if key else name
