"""Closing erasures: each stands on the ledger once, what tied its entries to the people is destroyed, they are told."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from kept.company import Company
from kept.controls.choices.records.forgetting import forget
from kept.controls.rights import letters
from kept.controls.rights.batches import Batches, Detail
from kept.controls.rights.erasing import used
from kept.controls.rights.erasing.prints import SET
from kept.controls.rights.life import right_of
from kept.controls.rights.people import Person
from kept.controls.rights.places import places
from kept.controls.rights.register import Request
from kept.controls.rights.subjects import together
from kept.evidence.entry import Entry
from kept.stores.clauses import written
from kept.stores.collect import collect


def close(
    company: Company,
    batches: Batches,
    acts: Mapping[str, Detail],
    asked: Mapping[str, Request],
    unseen: str | None = None,
) -> None:
    """Close acts of which nothing can be read any more, all of them in one go; harmless when repeated.

    `asked` are their requests by id, `unseen` is why nobody could look into the files of Kept's own state.
    """
    if not acts:
        return
    right = right_of(company.policy, "erase")
    common: dict[str, object] = {"remains": 0, "waited": right is not None and right.waits is not None}
    common |= {"unseen": unseen} if unseen else {}
    entries: list[tuple[str, Entry]] = []
    outcomes: dict[str, dict[str, object]] = {}
    known: dict[str, list[str]] = {}
    notes = company.state.notes_of(list(acts))
    for act, detail in acts.items():
        noted, word = notes[act], _by_word(company, detail)
        batch: Entry = {
            "act": "erase batch",
            "batch": act,
            "people": len(detail.requests),
            "policy": company.policy.source.digest,
            "counts": {part.removeprefix("erase "): counted for part, counted in noted.items()},
            "answers": len(detail.answers),
            **({"by_word": word} if word else {}),
        }
        entries.append((f"erase batch {act}", batch))
        stays = _staying(company, detail, noted)
        for request, who in zip(detail.requests, detail.whos(), strict=True):
            one: Entry = {
                "act": "erase",
                "request": request,
                "batch": act,
                "person": asked[request].pseudonym,
                "remains": 0,
            }
            entries.append((f"erase {request}", one))
            outcomes[request] = common | {"answers": len(detail.answers)}
            outcomes[request] |= {"stays": stays[who]} if who in stays else {}
            outcomes[request] |= {"by_word": word} if word else {}
            known.setdefault(who, []).extend(detail.traces.get("known", {}).get(who, {}).values())
    company.ledger.append_many(entries)
    forget(company, [person for detail in acts.values() for person in detail.persons()])
    used.forget(
        company, [asked[request].pseudonym for detail in acts.values() for request in detail.requests]
    )
    company.pseudonyms.forget(known)

    def write(connection: Connection) -> None:
        for id, outcome in outcomes.items():
            letters.done(company, connection, asked[id], outcome)

    batches.close(list(acts), outcomes, write=write if company.can_write else None)


def _by_word(company: Company, detail: Detail) -> list[str]:
    """The stores of which only the other side's word says that nothing is left: they can't be asked who is in them."""
    stores = {store for kind in detail.people for store in places(company, kind).records}
    return sorted(store for store in stores if not company.records[store].searchable)


def _staying(
    company: Company, detail: Detail, noted: Mapping[str, Mapping[str, Mapping[str, int]]]
) -> dict[str, dict[str, object]]:
    """What stays of each person: rows under a hold, by table, and what another company keeps by law."""
    found: dict[str, dict[str, object]] = {}
    held = {
        part.split(" ")[2]
        for part, counts in noted.items()
        if any(count.get("held") for count in counts.values())
    }
    for kind in held:
        walk = company.walk(kind)
        for portion in collect(company.stores[walk.store], walk, detail.people[kind]):
            for key, _ in portion.rows:
                who = str(Person(kind, tuple(map(written, key))))
                tables = found.setdefault(who, {}).setdefault("held", {})
                assert isinstance(tables, dict)
                place = f"{walk.store}.{portion.table}"
                tables[place] = tables.get(place, 0) + 1
    for who, told in detail.traces.get(SET, {}).items():
        if who in found:
            found[who]["holds"] = told
    for name, kept in detail.traces.items():
        if name.startswith("kept "):
            for who, by_record in kept.items():
                found.setdefault(who, {})[name.removeprefix("kept ")] = together(by_record.values())
    return found
