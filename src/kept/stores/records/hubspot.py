"""HubSpot as a store: contacts are the people; deals, tickets, notes and every other object hang on them.

Written against HubSpot's public API: CRM objects, search and properties v3, associations v4, permanent deletion of
contacts (developers.hubspot.com/docs/api-reference). What it leaves behind is HubSpot's own word
(knowledge.hubspot.com/privacy-and-consent): a permanent deletion is finished within 30 days, and any other object
stays in the recycling bin for 90.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, Final

from kept.errors import StoreError, TerminalError
from kept.stores.records.access import Access
from kept.stores.records.client import Answer, Client, Waiting
from kept.stores.records.hubspot_columns import PEOPLE, RECORD, added, meant, row_of, value_of
from kept.stores.records.store import Erased, Kept, Row, is_mail

ADDRESS: Final = "https://api.hubapi.com"

_BATCH = 100  # objects in one call, HubSpot's limit
_SEARCHED = 200  # objects in one page of a search, HubSpot's limit
_PURGED = timedelta(days=30)
_BIN = timedelta(days=90)
_DAY_SPENT = 3600.0  # seconds: a day's calls are spent, and when the account's day ends isn't said
_ID = re.compile(r"[0-9]{1,20}")
_TABLE = re.compile(r"[A-Za-z0-9_-]{1,100}")


class HubSpotStore:
    """The contacts of one HubSpot account, and what hangs on them, by a private app's access token."""

    searchable = True

    def __init__(self, name: str, access: Access, waiting: Waiting | None = None) -> None:
        self.name = name
        self.waiting = waiting or Waiting()
        self._columns: dict[str, frozenset[str]] = {}
        self._client = Client(
            name,
            access,
            {"Authorization": f"Bearer {access.token}"},
            waiting=self.waiting,
            refused=self._refused,
            window=_window,
        )

    def __repr__(self) -> str:
        return f"<HubSpotStore {self.name}>"

    def dispose(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._client.dispose()

    def columns(self, table: str) -> frozenset[str]:
        """The properties of an object, and Kept's own words for some.

        `id`, `created_at`, `updated_at`, `owner_id`, `closed_at`; `name` of a contact, `contact_id` of anything else.
        Asked once, and again for a column that isn't among them. TerminalError when HubSpot has no such object.
        """
        if table not in self._columns:
            answer = self._client.get(f"/crm/v3/properties/{self._table(table)}", allowed=(400, 404))
            if answer.status >= 400:
                raise TerminalError(f"HubSpot has no object `{table}`", where=self.name)
            found = {str(one.get("name")) for one in _results(answer)}
            self._columns[table] = frozenset(found) | added(table, frozenset(found))
        return self._columns[table]

    def find(self, known_by: str, values: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The contacts that have each value; an e-mail address may be any of a contact's addresses.

        Search lags a few seconds behind what was just written; e-mail addresses are also read without it.
        """
        wanted: dict[str, list[str]] = defaultdict(list)
        mail = is_mail(known_by)
        for value in dict.fromkeys(values):
            if value:
                wanted[value.casefold() if mail else value].append(value)
        if known_by == "id":
            there = self.existing(list(wanted))
            return {value: (value,) for value in wanted if value in there}
        (known_by_property,) = self._properties(PEOPLE, [known_by])
        found: dict[str, dict[str, None]] = defaultdict(dict)
        for batch in _batches(list(wanted), _BATCH):
            for record in self._search(known_by_property, [value.lower() for value in batch]):
                self._note(record, known_by_property, mail, wanted, found)
            if known_by == "email":
                for record in self._read(PEOPLE, batch, ["email", "hs_additional_emails"], by="email"):
                    self._note(record, known_by_property, mail, wanted, found)
        return {value: tuple(ids) for value, ids in found.items()}

    def existing(self, subjects: Sequence[str]) -> set[str]:
        """Those of the contacts that are there; one in the recycling bin isn't."""
        ids = [subject for subject in dict.fromkeys(subjects) if _ID.fullmatch(subject)]
        there: set[str] = set()
        for batch in _batches(ids, _BATCH):
            there |= {str(record["id"]) for record in self._read(PEOPLE, batch, ["hs_object_id"])}
        return there & set(ids)

    def identifiers(self, subjects: Sequence[str], known_by: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """What each contact is known by; see RecordStore."""
        result: dict[str, dict[str, str]] = {}
        for subject, _, row in self.collect(subjects, {PEOPLE: tuple(known_by.values())}):
            found = {name: str(row[column]) for name, column in known_by.items() if row[column]}
            if found:
                result[subject] = found
        return result

    def collect(
        self, subjects: Sequence[str], tables: Mapping[str, Sequence[str]], act: str = ""
    ) -> Iterator[tuple[str, str, Row]]:
        """Each contact's own record and the objects associated with it, 100 to a call; see RecordStore."""
        asked = {table: self._properties(table, columns) for table, columns in tables.items()}
        ids = [subject for subject in dict.fromkeys(subjects) if _ID.fullmatch(subject)]
        for batch in _batches(ids, _BATCH):
            for table, columns in tables.items():
                if table == PEOPLE:
                    for record in self._read(table, batch, asked[table]):
                        if str(record["id"]) in batch:  # not one it was merged into
                            yield str(record["id"]), table, row_of(table, record, columns, str(record["id"]))
                    continue
                for owners in self._associated(PEOPLE, table, batch):
                    for record in self._read(table, list(owners), asked[table]):
                        for owner in owners.get(str(record["id"]), ()):
                            yield owner, table, row_of(table, record, columns, owner)

    def erase(self, subject: str, tables: Sequence[str] = (), act: str = "") -> Erased:
        """Delete what hangs on the contact alone, untie what others share, then delete the contact permanently.

        The contact goes last, so that a call cut short finds the rest again.
        """
        deleted: dict[str, int] = {}
        kept: list[Kept] = []
        if not _ID.fullmatch(subject):
            return Erased()
        for table in dict.fromkeys(tables):
            if table != PEOPLE:
                gone, shared = self._remove(subject, self._table(table))
                if gone:
                    deleted[table] = gone
                    kept.append(self._in_bin(table, gone))
                if shared:
                    reason = "These records concern other people too; yours is no longer tied to them."
                    kept.append(Kept(table, shared, reason))
        if self.existing([subject]) or self._in_recycling_bin(subject):
            self._client.post(f"/crm/v3/objects/{PEOPLE}/gdpr-delete", {"objectId": subject}, allowed=(404,))
            deleted[PEOPLE] = 1
            reason = "HubSpot finishes a permanent deletion within 30 days; nobody can read or restore it meanwhile."
            kept.append(Kept(PEOPLE, 1, reason, (self.waiting.clock() + _PURGED).date()))
        return Erased(deleted, tuple(kept))

    def correct(
        self, subject: str, table: str, row: str | None, values: Mapping[str, str], act: str = ""
    ) -> int:
        """Write properties of the contact, or of one object that is theirs alone; see RecordStore."""
        properties = {self._writable(table, column): value for column, value in values.items()}
        key = subject if table == PEOPLE and row is None else row
        if key is None:
            raise TerminalError(f"which of {table} is meant isn't said", help="name the row", where=self.name)
        if table == PEOPLE and key != subject:
            raise TerminalError("the contact isn't the person's own", where=self.name)
        if not _ID.fullmatch(key) or not _ID.fullmatch(subject):
            raise TerminalError(f"the row of {table} isn't there", where=self.name)
        if table != PEOPLE:
            owners = self._owners(table, [key]).get(key, set())
            if subject not in owners:
                raise TerminalError(f"the row of {table} isn't the person's", where=self.name)
            if owners != {subject}:
                raise TerminalError(
                    f"the row of {table} belongs to others too", help="correct it by hand", where=self.name
                )
        record = next(iter(self._read(table, [key], list(properties))), None)
        if record is None:
            raise TerminalError(f"the row of {table} isn't there", where=self.name)
        changed = {name: value for name, value in properties.items() if value_of(record, name) != value}
        if changed:
            path = f"/crm/v3/objects/{self._table(table)}/{key}"
            body = {"properties": changed}
            self._client.post(path, body, method="PATCH")
        return 1 if changed else 0

    def count(self, table: str) -> int:
        """How many objects there are, outside the recycling bin."""
        answer = self._client.post(
            f"/crm/v3/objects/{self._table(table)}/search", {"filterGroups": [], "limit": 1}
        )
        return int(answer.map().get("total", 0))

    def count_sources(self, table: str, column: str, allowed: Sequence[str]) -> tuple[int, int]:
        """How many objects don't say in a property where they came from, and how many say something not `allowed`.

        Search lags a few seconds behind what was just written.
        """
        (name,) = self._properties(table, [column])
        missing = {"propertyName": name, "operator": "NOT_HAS_PROPERTY"}
        there = {"propertyName": name, "operator": "HAS_PROPERTY"}
        other = {"propertyName": name, "operator": "NOT_IN", "values": [one.lower() for one in allowed]}
        return self._matching(table, [missing]), self._matching(table, [there, other])

    def _matching(self, table: str, filters: Sequence[Mapping[str, Any]]) -> int:
        body = {"filterGroups": [{"filters": list(filters)}], "limit": 1}
        return int(
            self._client.post(f"/crm/v3/objects/{self._table(table)}/search", body).map().get("total", 0)
        )

    def _search(self, column: str, values: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Contacts by a property, all pages; by ascending id, for a search pages no further than 10,000."""
        after = "0"
        while True:
            filters = [
                {"propertyName": column, "operator": "IN", "values": list(values)},
                {"propertyName": "hs_object_id", "operator": "GT", "value": after},
            ]
            body = {
                "filterGroups": [{"filters": filters}],
                "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
                "properties": list(dict.fromkeys([column, "hs_additional_emails"])),
                "limit": _SEARCHED,
            }
            records = _results(self._client.post(f"/crm/v3/objects/{PEOPLE}/search", body))
            yield from records
            if len(records) < _SEARCHED:
                return
            last = max((str(record["id"]) for record in records), key=int)
            if int(last) <= int(after):
                raise TerminalError("its search doesn't advance", where=self.name)
            after = last

    def _note(
        self,
        record: dict[str, Any],
        column: str,
        mail: bool,
        wanted: Mapping[str, list[str]],
        found: dict[str, dict[str, None]],
    ) -> None:
        """Keep a record under each value asked for that it really has: search also matches parts of words."""
        has = [value_of(record, column)]
        if column == "email":
            has += str(value_of(record, "hs_additional_emails") or "").split(";")
        for value in has:
            text = str(value or "").strip().casefold() if mail else str(value or "")
            for asked in wanted.get(text, ()):
                found[asked][str(record["id"])] = None

    def _read(
        self, table: str, keys: Sequence[str], properties: Sequence[str], by: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Objects by id (or by another property), a batch at a time; those that are gone are left out."""
        for batch in _batches(keys, _BATCH):
            body: dict[str, Any] = {"properties": list(properties), "inputs": [{"id": key} for key in batch]}
            if by is not None:
                body["idProperty"] = by
            yield from _results(self._client.post(f"/crm/v3/objects/{table}/batch/read", body))

    def _associated(self, table: str, to: str, ids: Sequence[str]) -> Iterator[dict[str, dict[str, None]]]:
        """What is associated with the given objects: for each found, the objects it is tied to; a page at a time."""
        inputs: list[dict[str, str]] = [{"id": one} for one in ids]
        while inputs:
            answer = self._client.post(
                f"/crm/v4/associations/{table}/{self._table(to)}/batch/read", {"inputs": inputs}
            )
            page: dict[str, dict[str, None]] = defaultdict(dict)
            following: list[dict[str, str]] = []
            for result in _results(answer):
                owner = str(result["from"]["id"])
                for target in result.get("to", ()):
                    page[str(target["toObjectId"])][owner] = None
                after = result.get("paging", {}).get("next", {}).get("after")
                if after:
                    following.append({"id": owner, "after": str(after)})
            if page:
                yield page
            if following == inputs:
                raise TerminalError("its associations don't advance", where=self.name)
            inputs = following

    def _owners(self, table: str, ids: Sequence[str]) -> dict[str, set[str]]:
        """The contacts that each object is tied to."""
        owners: dict[str, set[str]] = defaultdict(set)
        for page in self._associated(table, PEOPLE, ids):
            for contact, objects in page.items():
                for one in objects:
                    owners[one].add(contact)
        return owners

    def _remove(self, subject: str, table: str) -> tuple[int, int]:
        """Delete the objects of a table that are the contact's alone, untie the others: how many of each."""
        gone = shared = 0
        # All ids are read before the first is deleted: pages shift under a deletion.
        theirs = [one for page in self._associated(PEOPLE, table, [subject]) for one in page]
        for batch in _batches(theirs, _BATCH):
            owners = self._owners(table, batch)
            alone = [one for one in batch if owners.get(one, {subject}) <= {subject}]
            others = [one for one in batch if one not in set(alone)]
            if alone:
                inputs = {"inputs": [{"id": one} for one in alone]}
                self._client.post(f"/crm/v3/objects/{table}/batch/archive", inputs)
            if others:
                untied = {"inputs": [{"from": {"id": subject}, "to": [{"id": one} for one in others]}]}
                self._client.post(f"/crm/v4/associations/{PEOPLE}/{table}/batch/archive", untied)
            gone += len(alone)
            shared += len(others)
        return gone, shared

    def _in_recycling_bin(self, subject: str) -> bool:
        path = f"/crm/v3/objects/{PEOPLE}/{subject}"
        return self._client.get(path, {"archived": "true"}, allowed=(404,)).status == 200

    def _in_bin(self, table: str, rows: int) -> Kept:
        reason = "HubSpot keeps deleted records in its recycling bin for 90 days, then removes them."
        return Kept(table, rows, reason, (self.waiting.clock() + _BIN).date())

    def _properties(self, table: str, columns: Sequence[str]) -> list[str]:
        """The properties to ask for; TerminalError for a column HubSpot doesn't have."""
        known = self.columns(table)
        if not known.issuperset(columns):
            self._columns.pop(table, None)  # the property may be newer than what was read
            known = self.columns(table)
        unknown = [column for column in columns if column not in known]
        if unknown:
            raise TerminalError(
                f"HubSpot's {table} have no {', '.join(f'`{column}`' for column in unknown)}",
                help="columns are HubSpot's internal names of properties; `kept map` shows the difference",
                where=self.name,
            )
        return list(dict.fromkeys(name for column in columns for name in meant(table, column)))

    def _writable(self, table: str, column: str) -> str:
        properties = self._properties(table, [column])
        if len(properties) != 1 or column in RECORD:
            raise TerminalError(
                f"`{column}` of {table} can't be written",
                help="write `firstname` or `lastname`" if column == "name" else None,
                where=self.name,
            )
        return properties[0]

    def _table(self, table: str) -> str:
        if not _TABLE.fullmatch(table):
            raise TerminalError(f"HubSpot has no object `{table}`", where=self.name)
        return table

    def _refused(self, answer: Answer) -> StoreError | None:
        """HubSpot's refusals; its own sentence is left out, for it may quote what was sent."""
        body = answer.map()
        category = str(body.get("category", ""))
        if answer.status == 401:
            return TerminalError(
                "HubSpot doesn't know the access token",
                help="put a private app's token into the setting; one that was rotated no longer works",
                where=self.name,
            )
        if answer.status == 403:
            scopes = ", ".join(_scopes(body)) or "the CRM scopes of these objects, to read and to write"
            return TerminalError(
                "HubSpot's access token may not do this",
                help=f"give the private app these scopes: {scopes}",
                where=self.name,
            )
        names = {str(one) for error in _errors(body) for one in _listed(error, "propertyName")}
        about = f" about {', '.join(sorted(names))}" if names else ""
        said = f", {category}{about}" if re.fullmatch(r"[A-Z_]{1,60}", category) else ""
        return TerminalError(f"HubSpot refuses the call (HTTP {answer.status}{said})", where=self.name)


def _window(answer: Answer) -> float | None:
    """The seconds of the limit that was met: ten for bursts; a day's limit says no hour."""
    if str(answer.map().get("policyName", "")).upper() == "DAILY":
        return _DAY_SPENT
    said = str(answer.headers.get("X-HubSpot-RateLimit-Interval-Milliseconds", ""))
    return int(said[:9]) / 1000 if said.isascii() and said.isdigit() else None


def _results(answer: Answer) -> list[dict[str, Any]]:
    found = answer.map().get("results", [])
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _errors(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = body.get("errors", [])
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _listed(error: Mapping[str, Any], key: str) -> list[str]:
    """Names out of an error's context; nothing that doesn't look like a name."""
    context = error.get("context")
    found = context.get(key, []) if isinstance(context, dict) else []
    names = found if isinstance(found, list) else [found]
    return [str(name) for name in names if re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", str(name))]


def _scopes(body: Mapping[str, Any]) -> list[str]:
    keys = ("requiredGranularScopes", "requiredScopes", "missingScopes")
    found = [scope for error in _errors(body) for key in keys for scope in _listed(error, key)]
    return sorted(set(found))


def _batches(items: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
