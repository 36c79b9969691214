"""By what erased people could be found again: noted, sealed, before their rows go; looked for afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from kept.company import Company
from kept.controls.retention import placed
from kept.controls.rights import uploads
from kept.controls.rights.batches import Batches, Detail
from kept.controls.rights.people import Person, known_of, refuse_lost
from kept.controls.rights.places import places
from kept.controls.rights.subjects import known_there, subjects
from kept.errors import TerminalError
from kept.stores.erasing.remains import Fingerprint, Remain, fingerprint, look
from kept.stores.sql import SQLStore
from kept.stores.walk import Erasure

HELD, SET = "held data", "holds set"
"""Under which an act remembers the data that holds set on its people keep, and what each person is told of them."""

Look = Callable[[SQLStore, Erasure, Iterable[object], Fingerprint], list[Remain]]


class Remains(TerminalError):
    """Something of an erased person can still be read; the request is not done."""

    exit_code = 1


def note(company: Company, batches: Batches, act: str) -> tuple[Sequence[str], bool]:
    """Note by which values and records the people could be found again, and what is held of them.

    Answers the data that is held, and whether anything was noted that has to be kept before a row goes (`Batches.note`,
    `remember`). Another attempt adds to the values that are noted, for the rows may be gone by now; the first has to
    find every person. TerminalError when people of whom not the same is held have come to be together.
    """
    detail = batches.must(act)
    before = json.dumps(detail.traces)
    known: dict[str, dict[str, str]] = detail.traces.setdefault("known", {})
    for kind, keys in detail.people.items():
        reached = places(company, kind)
        if reached.walk is not None:
            walk = reached.walk
            own = known_of(company, kind, keys)
            if kind not in detail.traces:
                refuse_lost(company, kind, keys, own)
            for key, values in own.items():
                known.setdefault(str(Person(kind, key)), {}).update(values)
            found = of(detail, kind) | fingerprint(company.stores[walk.store], walk, keys)
            detail.traces[kind] = found.dumps().decode()
        for paths in uploads.named(company, kind, keys).values():
            for store, named in paths.items():
                noted_paths = detail.traces.setdefault(f"files {store} {kind}", [])
                noted_paths += [path for path in named if path not in noted_paths]
        if reached.home in reached.records:
            for key, values in known_there(company, reached.home, kind, keys).items():
                known.setdefault(str(Person(kind, key)), {}).update(values)
        for store in reached.records:
            noted = detail.traces.setdefault(f"records {store}", {})
            for key, ids in subjects(company, reached, keys, store).items():
                who = str(Person(kind, key))
                noted[who] = list(dict.fromkeys((*noted.get(who, ()), *ids)))
    return _held(company, detail), json.dumps(detail.traces) != before


def _held(company: Company, detail: Detail) -> Sequence[str]:
    """The data that holds set on the people keep, noted with what they will be told of it."""
    on = placed.of(company, detail.persons())
    data = {tuple(sorted(placed.purposes_of(on.get(person, ())))) for person in detail.persons()}
    if len(data) > 1:
        raise TerminalError(
            "a hold was set on some of these people while their erasure began",
            help="end it, or erase the others first by requests of their own, then run `kept work`",
        )
    [held] = data or {()}
    if on or HELD in detail.traces:
        told = {str(person): placed.told(company.policy, found) for person, found in on.items()}
        detail.traces |= {HELD: list(held), SET: told}
    return held


def of(detail: Detail, kind: str) -> Fingerprint:
    """By which values the people of a kind could be found again, as far as it is noted."""
    noted = detail.traces.get(kind)
    return Fingerprint() if noted is None else Fingerprint.loads(noted.encode())


def refuse_found(
    company: Company,
    detail: Detail,
    kind: str,
    erasure: Erasure,
    look: Look = look,
    *,
    keys: Sequence[tuple[str, ...]] | None = None,
) -> None:
    """Look for the people of a kind (or some of them) in their SQL store; Remains where anything leads to them."""
    store = company.stores[erasure.walk.store]
    found = look(store, erasure, detail.people[kind] if keys is None else keys, of(detail, kind))
    if found:
        where = ", ".join(f"{place.rows} rows by {place.table}.{place.column}" for place in found)
        raise Remains(
            f"the erased person can still be found: {where}",
            help="see which declaration misses these rows, mend it, and run `kept work`",
            where=erasure.walk.store,
        )
