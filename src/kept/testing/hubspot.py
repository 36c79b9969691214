"""A HubSpot that runs on this machine: the part of its CRM API that deals with people, with memory and with faults.

Covered, as HubSpot documents it: contacts, companies, deals, tickets, notes, calls, emails, meetings, tasks (create,
read, update, list, archive), batch read (100, by id or another property, 207 where some are missing), batch archive,
search (IN, EQ, GT; pages of 200, no further than 10,000; a lag), permanent deletion of contacts, associations v4
(batch read with paging, batch archive), properties, access tokens and scopes, 429 with HubSpot's headers. Not covered:
lists, forms, marketing e-mail, files, merging, pipelines, owners, webhooks, real limits.

`python -m kept.testing.hubspot --port 8421 crm.json` serves one, and prints what the setting is then.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kept.testing.loopback import Call, Loopback, Reply

TOKEN = "pat-eu1-stand-in"  # noqa: S105  # what the stand-in takes where nobody chose another; opens nothing else
ALL = frozenset(
    f"crm.objects.{what}.{act}" for what in ("contacts", "deals", "companies") for act in ("read", "write")
)

_PROPERTIES: Mapping[str, str] = {
    "contacts": "email firstname lastname phone mobilephone company address city zip country jobtitle website"
    " lifecyclestage hubspot_owner_id hs_additional_emails createdate lastmodifieddate hs_object_id",
    "companies": "name domain phone city country createdate hs_object_id",
    "deals": "dealname amount dealstage pipeline closedate hubspot_owner_id description createdate hs_object_id",
    "tickets": "subject content hs_pipeline_stage hubspot_owner_id closed_date createdate hs_object_id",
    "notes": "hs_note_body hs_timestamp hubspot_owner_id hs_createdate hs_object_id",
    "calls": "hs_call_body hs_call_title hs_timestamp hubspot_owner_id hs_object_id",
    "emails": "hs_email_subject hs_email_text hs_timestamp hubspot_owner_id hs_object_id",
    "meetings": "hs_meeting_title hs_meeting_body hs_timestamp hubspot_owner_id hs_object_id",
    "tasks": "hs_task_subject hs_task_body hs_timestamp hubspot_owner_id hs_object_id",
}
_READ_ONLY = frozenset({"hs_object_id", "createdate", "lastmodifieddate", "hs_createdate"})
_FURTHEST = 10_000


@dataclass
class Record:
    """One object: its properties, and whether it lies in the recycling bin."""

    id: str
    properties: dict[str, str]
    created: str
    updated: str
    archived: bool = False
    searchable: bool = True
    tied: set[tuple[str, str]] = field(default_factory=set)

    def shown(self, asked: Iterable[str]) -> dict[str, Any]:
        names = dict.fromkeys([*asked, "hs_object_id"])
        return {
            "id": self.id,
            "properties": {name: self.properties.get(name) for name in names},
            "createdAt": self.created,
            "updatedAt": self.updated,
            "archived": self.archived,
        }


class Refuse(Exception):
    """The call is answered with an error of HubSpot's shape."""

    def __init__(self, status: int, category: str, message: str, **context: list[str]) -> None:
        body: dict[str, Any] = {"status": "error", "message": message, "category": category}
        if context:
            body["errors"] = [{"message": message, "context": context}]
        self.reply = Reply(status, body)
        super().__init__(message)


class HubSpot(Loopback):
    """The stand-in; `add` and `tie` fill it, `record` looks inside.

    `page` is how many associations of one object come in a page (HubSpot's is 500). While `lagging`, search doesn't
    find what is added.
    """

    def __init__(
        self, token: str = TOKEN, scopes: Iterable[str] = ALL, page: int = 500, port: int = 0
    ) -> None:
        super().__init__(port)
        self.token = token
        self.scopes = set(scopes)
        self.page = page
        self.lagging = False
        self.objects: dict[str, dict[str, Record]] = {table: {} for table in _PROPERTIES}
        self.properties: dict[str, set[str]] = {t: set(names.split()) for t, names in _PROPERTIES.items()}
        self._next = 1001

    def add(self, table: str, id: str | None = None, **properties: str) -> str:
        """Add an object, whatever its properties; its id."""
        if id is None:
            id, self._next = str(self._next), self._next + 1
        time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        found = {"createdate": time, **properties, "hs_object_id": id}
        self.objects[table][id] = Record(id, found, found["createdate"], time, searchable=not self.lagging)
        self.properties[table] |= set(properties)
        return id

    def tie(self, table: str, id: str, to: str, other: str) -> None:
        """Associate two objects."""
        self.objects[table][id].tied.add((to, other))
        self.objects[to][other].tied.add((table, id))

    def record(self, table: str, id: str) -> Record | None:
        return self.objects[table].get(id)

    def load(self, content: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
        """Objects in HubSpot's own shape, by table: `id`, `properties`, `associations` {table: {results: [{id}]}}."""
        ties: list[tuple[str, str, str, str]] = []
        for table, records in content.items():
            for record in records:
                given = {
                    name: str(value) for name, value in record["properties"].items() if value is not None
                }
                given.pop("hs_object_id", None)
                id = self.add(table, str(record["id"]), **given)
                for to, tied in (record.get("associations") or {}).items():
                    ties += [(table, id, to, str(one["id"])) for one in tied["results"]]
        for tie in ties:
            self.tie(*tie)
        ids = [int(id) for records in self.objects.values() for id in records if id.isdigit()]
        self._next = max([self._next, *(id + 1 for id in ids)])

    def limit(
        self, times: int = 1, path: str = "", policy: str = "TEN_SECONDLY_ROLLING", after: int | None = None
    ) -> None:
        """Answer 429 as HubSpot does, with its headers, and Retry-After where given."""
        headers = {
            "X-HubSpot-RateLimit-Max": "190",
            "X-HubSpot-RateLimit-Remaining": "0",
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
        }
        if after is not None:
            headers["Retry-After"] = str(after)
        body = {"status": "error", "errorType": "RATE_LIMIT", "policyName": policy, "category": "RATE_LIMITS"}
        self.fail(429, path, times, headers=headers, body=body)

    def handle(self, call: Call) -> Reply:
        if call.headers.get("authorization") != f"Bearer {self.token}":
            return Refuse(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.").reply
        try:
            for pattern, method, act in _ROUTES:
                match = re.fullmatch(pattern, call.path)
                if match and call.method == method:
                    return act(self, call, **match.groupdict())
            raise Refuse(404, "OBJECT_NOT_FOUND", "no such endpoint")
        except Refuse as refused:
            return refused.reply

    def _table(self, table: str, act: str = "read") -> dict[str, Record]:
        if table not in self.objects:
            raise Refuse(400, "VALIDATION_ERROR", "Unable to infer object type")
        what = table if table in ("contacts", "deals", "companies") else "contacts"
        scope = f"crm.objects.{what}.{act}"
        if scope not in self.scopes:
            raise Refuse(403, "MISSING_SCOPES", "scopes are missing", requiredGranularScopes=[scope])
        return self.objects[table]

    def _found(self, table: str, id: str, act: str = "read", archived: bool = False) -> Record:
        record = self._table(table, act).get(id)
        if record is None or record.archived is not archived:
            raise Refuse(404, "OBJECT_NOT_FOUND", "resource not found")
        return record

    def _one(self, call: Call, table: str, id: str) -> Reply:
        record = self._found(table, id, archived=call.query.get("archived") == "true")
        return Reply(200, record.shown(filter(None, call.query.get("properties", "").split(","))))

    def _list(self, call: Call, table: str) -> Reply:
        records = sorted((r for r in self._table(table).values() if not r.archived), key=lambda r: int(r.id))
        return self._paged(
            records, call.query, filter(None, call.query.get("properties", "").split(",")), 100
        )

    def _create(self, call: Call, table: str) -> Reply:
        self._table(table, "write")
        properties = dict((call.json() or {}).get("properties") or {})
        self._writable(table, properties)
        mail = str(properties.get("email", "")).lower()
        if (
            table == "contacts"
            and mail
            and any(mail == r.properties.get("email", "").lower() for r in self._alive(table))
        ):
            raise Refuse(409, "CONFLICT", "Contact already exists.")
        id = self.add(table, **properties)
        return Reply(201, self.objects[table][id].shown(properties))

    def _update(self, call: Call, table: str, id: str) -> Reply:
        record = self._found(table, id, "write")
        properties = dict((call.json() or {}).get("properties") or {})
        self._writable(table, properties)
        record.properties.update(properties)
        return Reply(200, record.shown(properties))

    def _delete(self, call: Call, table: str, id: str) -> Reply:
        self._archive(self._table(table, "write").get(id))
        return Reply(204)

    def _batch_archive(self, call: Call, table: str) -> Reply:
        records = self._table(table, "write")
        for id in self._inputs(call, 100):
            self._archive(records.get(id))
        return Reply(204)

    def _batch_read(self, call: Call, table: str) -> Reply:
        records = self._table(table)
        body = call.json() or {}
        by = body.get("idProperty")
        found: dict[str, Record] = {}
        missing: list[str] = []
        for key in self._inputs(call, 100):
            if by is None:
                hits = [records[key]] if key in records and not records[key].archived else []
            else:
                hits = [record for record in self._alive(table) if _is(record, by, key)]
            missing += [] if hits else [key]
            found.update({record.id: record for record in hits})
        result: dict[str, Any] = {
            "status": "COMPLETE",
            "results": [record.shown(body.get("properties") or ()) for record in found.values()],
        }
        if missing:
            result["numErrors"] = 1
            result["errors"] = [{"category": "OBJECT_NOT_FOUND", "context": {"ids": missing}}]
        return Reply(207 if missing else 200, result)

    def _search(self, call: Call, table: str) -> Reply:
        self._table(table)
        body = call.json() or {}
        groups = body.get("filterGroups") or []
        if (
            len(groups) > 5
            or any(len(group["filters"]) > 6 for group in groups)
            or body.get("limit", 10) > 200
        ):
            raise Refuse(400, "VALIDATION_ERROR", "too much in one search")
        records = [record for record in self._alive(table) if record.searchable and _matches(record, groups)]
        records.sort(key=lambda record: int(record.id))
        if int(body.get("after") or 0) + int(body.get("limit", 10)) > _FURTHEST:
            raise Refuse(400, "VALIDATION_ERROR", "a search pages no further than 10,000")
        return self._paged(records, body, body.get("properties") or (), 200, total=True)

    def _forget(self, call: Call) -> Reply:
        records = self._table("contacts", "write")
        body = call.json() or {}
        key, by = str(body.get("objectId")), body.get("idProperty")
        for record in [r for r in records.values() if (r.id == key if by is None else _is(r, by, key))]:
            self._untie("contacts", record)
            del records[record.id]
        return Reply(204)

    def _ties(self, call: Call, table: str, to: str) -> Reply:
        self._table(to)
        records = self._table(table)
        results = []
        for one in (call.json() or {}).get("inputs", ()):
            record = records.get(str(one["id"]))
            others = sorted(
                (
                    id
                    for kind, id in (record.tied if record else ())
                    if kind == to and not self.objects[to][id].archived
                ),
                key=int,
            )
            start = int(one.get("after") or 0)
            page = others[start : start + self.page]
            if page:
                result: dict[str, Any] = {
                    "from": {"id": str(one["id"])},
                    "to": [{"toObjectId": int(id), "associationTypes": []} for id in page],
                }
                if start + self.page < len(others):
                    result["paging"] = {"next": {"after": str(start + self.page)}}
                results.append(result)
        return Reply(200, {"status": "COMPLETE", "results": results})

    def _unties(self, call: Call, table: str, to: str) -> Reply:
        self._table(to, "write")
        records = self._table(table, "write")
        for one in (call.json() or {}).get("inputs", ()):
            for other in one["to"]:
                record, target = records.get(str(one["from"]["id"])), self.objects[to].get(str(other["id"]))
                if record is not None and target is not None:
                    record.tied.discard((to, target.id))
                    target.tied.discard((table, record.id))
        return Reply(204)

    def _names(self, call: Call, table: str) -> Reply:
        self._table(table)
        return Reply(
            200, {"results": [{"name": name, "type": "string"} for name in sorted(self.properties[table])]}
        )

    def _alive(self, table: str) -> list[Record]:
        return [record for record in self.objects[table].values() if not record.archived]

    def _archive(self, record: Record | None) -> None:
        if record is not None:
            record.archived = True

    def _untie(self, table: str, record: Record) -> None:
        for kind, id in record.tied:
            self.objects[kind][id].tied.discard((table, record.id))

    def _inputs(self, call: Call, most: int) -> list[str]:
        inputs = (call.json() or {}).get("inputs") or []
        if not inputs or len(inputs) > most:
            raise Refuse(400, "VALIDATION_ERROR", f"1 to {most} inputs")
        return [str(one["id"]) for one in inputs]

    def _writable(self, table: str, properties: Mapping[str, Any]) -> None:
        unknown = sorted(
            name for name in properties if name not in self.properties[table] or name in _READ_ONLY
        )
        if unknown:
            raise Refuse(400, "VALIDATION_ERROR", "Property values were not valid", propertyName=unknown)

    def _paged(
        self,
        records: list[Record],
        asked: Mapping[str, Any],
        shown: Iterable[str],
        most: int,
        total: bool = False,
    ) -> Reply:
        limit, start, names = (
            min(int(asked.get("limit") or 10), most),
            int(asked.get("after") or 0),
            list(shown),
        )
        body: dict[str, Any] = {"results": [record.shown(names) for record in records[start : start + limit]]}
        if total:
            body["total"] = len(records)
        if start + limit < len(records):
            body["paging"] = {"next": {"after": str(start + limit)}}
        return Reply(200, body)


def _is(record: Record, name: str, value: str) -> bool:
    has = [record.properties.get(name, "")]
    if name == "email":  # a contact answers to each of its addresses
        has += record.properties.get("hs_additional_emails", "").split(";")
    return value.lower() in [one.lower() for one in has if one]


def _matches(record: Record, groups: Iterable[Mapping[str, Any]]) -> bool:
    groups = list(groups)
    return not groups or any(all(_holds(record, one) for one in group["filters"]) for group in groups)


def _holds(record: Record, one: Mapping[str, Any]) -> bool:
    has = record.properties.get(one["propertyName"])
    match one["operator"]:
        case "IN":  # HubSpot wants the values of text in small letters
            return has is not None and has.lower() in one["values"]
        case "NOT_IN":
            return has is not None and has.lower() not in one["values"]
        case "HAS_PROPERTY":
            return bool(has)
        case "NOT_HAS_PROPERTY":
            return not has
        case "EQ":
            return has is not None and has.lower() == str(one["value"]).lower()
        case "GT":
            return has is not None and int(has) > int(one["value"])
        case other:
            raise Refuse(400, "VALIDATION_ERROR", f"the stand-in has no operator {other}")


_OBJECTS = r"/crm/v3/objects/(?P<table>[^/]+)"
_ASSOCIATIONS = r"/crm/v4/associations/(?P<table>[^/]+)/(?P<to>[^/]+)"
_ROUTES: tuple[tuple[str, str, Callable[..., Reply]], ...] = (
    (r"/crm/v3/objects/contacts/gdpr-delete", "POST", HubSpot._forget),
    (rf"{_OBJECTS}/batch/read", "POST", HubSpot._batch_read),
    (rf"{_OBJECTS}/batch/archive", "POST", HubSpot._batch_archive),
    (rf"{_OBJECTS}/search", "POST", HubSpot._search),
    (_OBJECTS, "GET", HubSpot._list),
    (_OBJECTS, "POST", HubSpot._create),
    (rf"{_OBJECTS}/(?P<id>[^/]+)", "GET", HubSpot._one),
    (rf"{_OBJECTS}/(?P<id>[^/]+)", "PATCH", HubSpot._update),
    (rf"{_OBJECTS}/(?P<id>[^/]+)", "DELETE", HubSpot._delete),
    (rf"{_ASSOCIATIONS}/batch/read", "POST", HubSpot._ties),
    (rf"{_ASSOCIATIONS}/batch/archive", "POST", HubSpot._unties),
    (r"/crm/v3/properties/(?P<table>[^/]+)", "GET", HubSpot._names),
)


def main() -> None:
    """Serve a stand-in until interrupted, filled from a file where one is given."""
    parser = argparse.ArgumentParser(
        prog="python -m kept.testing.hubspot", description="A HubSpot on this machine."
    )
    parser.add_argument("file", nargs="?", type=Path, help="objects by table, in HubSpot's own shape (JSON)")
    parser.add_argument("--port", type=int, default=8421)
    parser.add_argument("--token", default=TOKEN)
    given = parser.parse_args()
    hubspot = HubSpot(given.token, port=given.port)
    if given.file:
        hubspot.load(json.loads(given.file.read_text("utf-8")))
    sys.stdout.write(f"{hubspot.address.replace('://', f'://{given.token}@')}\n")
    sys.stdout.flush()
    hubspot.serve()


if __name__ == "__main__":
    main()
