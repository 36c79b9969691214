"""A dry run: what a request would do, counted exactly, and what it would not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from kept.company import Company
from kept.controls.retention import placed
from kept.controls.rights import correct, life
from kept.controls.rights.erasing import scope
from kept.controls.rights.erasing.stays import stays as staying
from kept.controls.rights.outcome import Counted
from kept.controls.rights.places import Columns, Places, places, unreached
from kept.controls.rights.register import Subject
from kept.controls.rights.subjects import subjects as subjects_in
from kept.stores.collect import collect


@dataclass(frozen=True)
class Plan:
    """What a request would do, by `store.table`; with anything `unreached` it can't be carried out at all.

    `by_hand` are the places where a member of staff has to do it, `on_device` those only the person's browser holds.
    `passed_on` are the clients whose people some of them are: they answer, and nothing is done here. `stays` says what
    an erasure leaves, and why; `unasked` are stores that can't be asked what they hold.
    """

    tables: Counted
    unreached: list[str]
    stays: list[str] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)
    on_device: list[str] = field(default_factory=list)
    passed_on: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)


def plan(company: Company, verb: str, subjects: Sequence[Subject]) -> Plan:
    """A dry run, with exact counts."""
    clients = {kind: life.client_of(company.policy, kind) for kind in {one.who.kind for one in subjects}}
    passed_on = sorted({client for client in clients.values() if client is not None})
    subjects = [subject for subject in subjects if clients[subject.who.kind] is None]
    people = [subject.who for subject in subjects]
    kinds = list(dict.fromkeys(person.kind for person in people))
    reached = [places(company, kind) for kind in kinds]
    by_hand = [f"{store}.{t}" for place in reached for store, names in place.by_hand.items() for t in names]
    on_device = [
        f"{store}.{t}" for place in reached for store, names in place.on_device.items() for t in names
    ]
    missing = unreached(company, kinds)
    if missing:
        return Plan({}, missing, [], by_hand, on_device, passed_on)
    tables: Counted = {}
    stays: list[str] = []
    if verb == "correct":
        for subject in subjects:
            for cell in correct.planned(company, subject).cells:
                table_ = f"{company.walk(subject.who.kind).store}.{cell.table}"
                counted = tables.setdefault(table_, {"corrected": 0})
                counted["corrected"] += 1
    elif verb == "erase":
        set_on = placed.of(company, people)
        for kind, counts in scope.rehearse(company, people).items():
            store = company.walk(kind).store
            counted_there = {f"{store}.{name}": counted for name, counted in counts.as_json().items()}
            tables |= counted_there
            held = {place: counted.get("held", 0) for place, counted in counted_there.items()}
            on = [one for who, found in set_on.items() if who.kind == kind for one in found]
            stays += [
                one.sentence for one in staying(company.policy, kind, held, placed.told(company.policy, on))
            ]
    else:
        for place in reached:
            if place.walk is None:
                continue
            keys = [person.key for person in people if person.kind == place.kind]
            for portion in collect(company.stores[place.walk.store], place.walk, keys):
                counted = tables.setdefault(f"{place.walk.store}.{portion.table}", {"rows": 0})
                counted["rows"] += len(portion.rows)
    for place in reached if verb != "correct" else ():
        keys = [person.key for person in people if person.kind == place.kind]
        for store, columns in place.records.items():
            for table, rows in _records(company, place, store, keys, columns).items():
                counted = tables.setdefault(f"{store}.{table}", {"rows": 0})
                counted["rows"] += rows
    unasked = {store for place in reached for store in place.records if not company.records[store].searchable}
    return Plan(tables, [], list(dict.fromkeys(stays)), by_hand, on_device, passed_on, sorted(unasked))


def _records(
    company: Company, place: Places, store: str, keys: Sequence[tuple[str, ...]], columns: Columns
) -> Counter[str]:
    """How many rows people have in each table of a store behind an API; none told where it can't be asked."""
    there = company.records[store]
    if not there.searchable:
        return Counter()
    ids = [id for found in subjects_in(company, place, keys, store).values() for id in found]
    counted = Counter(dict.fromkeys(columns, 0))
    counted.update(
        table for _, table, _ in there.collect(ids, {name: tuple(held) for name, held in columns.items()})
    )
    return counted
