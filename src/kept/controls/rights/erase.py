"""Carrying out erasure: a look before, one transaction for each store, the store's own means, a look after.

Only a look that finds nothing lets the act be closed; everything before it can be repeated. Where the policy promises
a time in which the person may come back, their rows wait in a room (`kept.controls.rights.room`) before they go.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from kept.controls.retention import placed
from kept.controls.retention.holds import holds
from kept.controls.rights import letters, recipients, register, room, tasks, uploads
from kept.controls.rights.access import facts
from kept.controls.rights.acting import Acting, Legs
from kept.controls.rights.cleaning import Cleaning, Remains
from kept.controls.rights.life import right_of
from kept.controls.rights.people import Person, known_of, refuse_lost
from kept.controls.rights.places import BY, places, refuse_unreached
from kept.controls.rights.subjects import known_there, subjects, together
from kept.errors import TerminalError, TransientError
from kept.evidence.entry import Entry
from kept.stores.clauses import written
from kept.stores.collect import collect
from kept.stores.erase import Count, Counts, erase
from kept.stores.images import remove
from kept.stores.remains import Fingerprint, Remain, fingerprint, look, otherwise_written
from kept.stores.restore import restore
from kept.stores.sql import SQLStore
from kept.stores.walk import Erasure

HELD, SET = "held data", "holds set"
"""Under which an act remembers the data that holds set on its people keep, and what each person is told of them."""

CLEANING = 600.0  # seconds somebody waits for other workers to clean the same files

Look = Callable[[SQLStore, Erasure, Iterable[object], Fingerprint], list[Remain]]


class Erase(Acting):
    """The act `erase`, in legs:

    1. `erase`; or `hide` and `period`, where the person may come back, and then `burn`;
    2. `files S` for each folder of files, `records S` for each store behind an API; `tell` the recipients; `hand` and
       `tasks`, where something is left to a member of staff;
    3. `clean` the files of the stores, answers given before and Kept's own; `close`.
    """

    def plan(self, people: Sequence[Person]) -> Legs:
        return self._legs(people, waits=self.singly())

    def plan_again(self, people: Sequence[Person]) -> Legs:
        """The legs for people who were erased before and came back with a backup: nothing waits any more."""
        return self._legs(people, waits=False)

    def _legs(self, people: Sequence[Person], *, waits: bool) -> Legs:
        kinds = dict.fromkeys(person.kind for person in people)
        refuse_unreached(self.company, kinds)
        reached = [places(self.company, kind) for kind in kinds]
        records = sorted({store for place in reached for store in place.records})
        files = sorted({store for place in reached for store in place.files})
        going = [*(f"files {store}" for store in files), *(f"records {store}" for store in records)]
        tell = any(recipients.recipients(self.company.policy, kind, self._reached(kind)) for kind in kinds)
        going += ["tell"] if tell else []
        by_hand = any(place.by_hand for place in reached) or any(
            recipients.unwritable(self.company, kind, self._reached(kind)) for kind in kinds
        )
        end = ["clean", "close"]
        if waits:
            first, then = ["hide", "period"], ["burn", *going]
        else:
            first, then = [], ["erase", *going]
        if by_hand:
            return [leg for leg in (first, [*then, "hand", "tasks"], end) if leg]
        return [leg for leg in (first, [*then, *end]) if leg]

    def singly(self) -> bool:
        right = right_of(self.company.policy, "erase")
        return right is not None and right.waits is not None

    def apart(self, people: Sequence[Person]) -> list[list[Person]]:
        """People of whom the same is held go together: what a look afterwards may find of each is the same."""
        if self.singly():
            return super().apart(people)
        held = self._held(people)
        groups: dict[tuple[str, ...], list[Person]] = {}
        for person in people:
            groups.setdefault(held.get(person, ()), []).append(person)
        return list(groups.values())

    def _held(self, people: Sequence[Person]) -> dict[Person, tuple[str, ...]]:
        """The data that holds set on these people keep, by person."""
        on = placed.of(self.company, people)
        return {person: tuple(sorted(placed.purposes_of(found))) for person, found in on.items()}

    def do(self, act: str, word: str, rest: str) -> None:
        cleaning = Cleaning(self.company, self.batches.must(act))
        match word:
            case "erase":
                self._erase(act)
            case "hide":
                self._hide(act)
            case "period":
                self._wait(act)
            case "burn":
                room.burn(self.company, self.batches.must(act).requests)
            case "files":
                self._files(act, rest)
            case "records":
                self._records(act, rest)
            case "hand":
                tasks.by_hand(self.company, act, self.batches.must(act).persons(), "erase what stands")
            case "tasks":
                self.batches.wait(act, "tasks")
            case "tell":
                detail = self.batches.must(act)
                known = {who: values[BY] for who, values in detail.traces["known"].items() if BY in values}
                recipients.tell_all(self.company, act, "erase", detail, known, self._reached)
            case "clean":
                self._clean(act, cleaning)
            case "return":
                self._return(act)
            case _:
                self._close(act)

    def erasure(self, kind: str, held: Sequence[str] = ()) -> Erasure:
        """What erasing a person of a kind means, holds included; `held` is the data that holds set on them keep.

        What the facts alone say of a person (`known-by`, `born`, `region`) goes from a row that stays as data does.
        """
        company = self.company
        walk = company.walk(kind)
        undeclared = {c: s for c, s in facts(company.policy, walk).items() if c not in walk.root.columns}
        root = replace(
            walk.root,
            columns={**dict.fromkeys(undeclared, (kind,)), **walk.root.columns},
            sorts={**undeclared, **walk.root.sorts},
        )
        return Erasure(
            replace(walk, stops=(root, *walk.stops[1:])),
            (*placed.rows(walk, held), *holds(company.policy, company.map, kind, company.clock())),
        )

    def rehearse(self, people: Sequence[Person]) -> dict[str, Counts]:
        """What an erasure would do, counted exactly by doing it in a transaction that is rolled back."""
        counted: dict[str, Counts] = {}

        class Rehearsed(Exception):
            """Ends the transaction without committing it."""

        def stop(counts: Counts) -> None:
            counted[kind] = _together(counted.get(kind, Counts()), counts)
            raise Rehearsed

        held = self._held(people)
        groups: dict[tuple[str, tuple[str, ...]], list[tuple[str, ...]]] = {}
        for person in people:
            groups.setdefault((person.kind, held.get(person, ())), []).append(person.key)
        for (kind, data), keys in groups.items():
            if self.company.map.walk(kind) is None:
                continue
            erasure = self.erasure(kind, data)
            try:
                erase(self.company.stores[erasure.walk.store], erasure, keys, stop)
            except Rehearsed:
                continue
        return counted

    # The steps.

    def _note(self, act: str) -> None:
        """Note, sealed, by which values and records the people could be found again: what the look after looks for.

        Another attempt adds to what is noted, for their rows may be gone by now; the first has to find every one.
        """
        company, detail = self.company, self.batches.must(act)
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
                prints = Cleaning(company, detail).prints(kind)
                prints |= fingerprint(company.stores[walk.store], walk, keys)
                detail.traces[kind] = prints.dumps().decode()
            for paths in uploads.named(company, kind, keys).values():
                for store, found in paths.items():
                    noted_paths = detail.traces.setdefault(f"files {store} {kind}", [])
                    noted_paths += [path for path in found if path not in noted_paths]
            if reached.home in reached.records:
                for key, values in known_there(company, reached.home, kind, keys).items():
                    known.setdefault(str(Person(kind, key)), {}).update(values)
            for store in reached.records:
                noted = detail.traces.setdefault(f"records {store}", {})
                for key, ids in subjects(company, reached, keys, store).items():
                    who = str(Person(kind, key))
                    noted[who] = list(dict.fromkeys((*noted.get(who, ()), *ids)))
        if json.dumps(detail.traces) != before:
            self.batches.remember(act)

    def _note_held(self, act: str) -> Sequence[str]:
        """The data that holds set on the people keep, noted with what they will be told of it."""
        detail, on = self.batches.must(act), placed.of(self.company, self.batches.must(act).persons())
        policy = self.company.policy
        data = {tuple(sorted(placed.purposes_of(on.get(person, ())))) for person in detail.persons()}
        if len(data) > 1:
            raise TerminalError(
                "a hold was set on some of these people while their erasure began",
                help="end it, or erase the others first by requests of their own, then run `kept work`",
            )
        [held] = data or {()}
        told = {str(person): placed.told(policy, found) for person, found in on.items()}
        if (list(held), told) != (detail.traces.get(HELD, []), detail.traces.get(SET, {})):
            detail.traces |= {HELD: list(held), SET: told}
            self.batches.remember(act)
        return held

    def _erase(self, act: str) -> None:
        """Take the rows out of the SQL stores, and look in every declared place, by key and by value."""
        self._note(act)
        held = self._note_held(act)
        company, detail = self.company, self.batches.must(act)
        for kind, keys in detail.people.items():
            if company.map.walk(kind) is None:
                continue
            erasure = self.erasure(kind, held)
            store, part = erasure.walk.store, f"erase {erasure.walk.store} {kind}"

            def note(counts: Counts, part: str = part) -> None:
                # Nothing found means that a run before this one committed: what it noted is the truth.
                if counts.changed or part not in company.state.notes(act):
                    company.state.note(act, part, counts.as_json())

            erase(company.stores[store], erasure, keys, note)
            self._look(act, kind, erasure)

    def _look(self, act: str, kind: str, erasure: Erasure, look: Look = look) -> None:
        company, detail = self.company, self.batches.must(act)
        prints, keys = Cleaning(company, detail).prints(kind), detail.people[kind]
        found = look(company.stores[erasure.walk.store], erasure, keys, prints)
        if found:
            where = ", ".join(f"{place.rows} rows by {place.table}.{place.column}" for place in found)
            raise Remains(
                f"the erased person can still be found: {where}",
                help="see which declaration misses these rows, mend it, and run `kept work`",
                where=erasure.walk.store,
            )

    def _clean(self, act: str, cleaning: Cleaning) -> None:
        """See to it that nothing of the people can be read in files: the stores', earlier answers, Kept's own."""
        detail = self.batches.must(act)
        # One worker at a time: each would see the other's rewriting of statistics and log, and hold up its own.
        with self.company.state.claim("clean", wait=True, seconds=CLEANING) as alone:
            if not alone:
                raise TransientError("other workers are cleaning the files; it goes on when they are done")
            for store in cleaning.stores():
                self._look_in_any_case(act, store)
                cleaning.scrub(store)
            gone, unseen = cleaning.answers(), cleaning.own_files()
        if gone or unseen:
            detail.answers = list(dict.fromkeys((*detail.answers, *gone)))
            detail.traces["unseen"] = unseen
            self.batches.remember(act)

    def _look_in_any_case(self, act: str, store: str) -> None:
        """Look for addresses in other capitals, which reads whole tables: once for an act, beside the files."""
        detail = self.batches.must(act)
        for kind in Cleaning(self.company, detail).kinds(store):
            self._look(act, kind, self.erasure(kind, detail.traces.get(HELD, ())), otherwise_written)

    def _hide(self, act: str) -> None:
        """Take one person's rows out of the SQL stores into the room, sealed under a key of their own."""
        self._note(act)
        company, detail = self.company, self.batches.must(act)
        held = self._note_held(act)
        [request] = detail.requests
        for kind, keys in detail.people.items():
            if company.map.walk(kind) is None:
                continue
            erasure = self.erasure(kind, held)
            store, part = erasure.walk.store, f"erase {erasure.walk.store} {kind}"

            def keep(taken: bytes, store: str = store) -> None:
                room.keep(company, request, store, taken)

            def note(counts: Counts, part: str = part) -> None:
                if counts.changed or part not in company.state.notes(act):
                    company.state.note(act, part, counts.as_json())

            remove(company.stores[store], erasure, keys, keep, note)
            self._look(act, kind, erasure)

    def _wait(self, act: str) -> None:
        """From now on the person may come back until the time is over; they are told so, once."""
        company = self.company
        right = right_of(company.policy, "erase")
        assert right is not None and right.waits is not None
        [request] = register.of_act(company, act)
        if request.awaits == "period":
            return
        until = right.waits.end(company.clock(), company.policy.timezone)
        self.batches.wait(
            act,
            "period",
            until,
            write=lambda connection: letters.waiting(company, connection, request, until),
        )

    def _return(self, act: str) -> None:
        """Put everything back as it was; only when all of it is there does the key go.

        A cell that somebody has written since keeps what they wrote, and is counted.
        """
        company, detail = self.company, self.batches.must(act)
        [asked] = register.of_act(company, act)
        since: dict[str, int] = dict(detail.traces.get("changed since", {}))
        for store, taken in room.waiting(company, asked.id):
            done = restore(company.stores[store], company.map.tables[store], taken, lambda _: None)
            since |= {f"{store}.{table}": cells for table, cells in done.changed_since.items()}
        detail.traces["changed since"] = since
        self.batches.remember(act)
        entry: Entry = {
            "act": "come back",
            "request": asked.id,
            "person": asked.pseudonym,
            "changed_since": sum(since.values()),
        }
        company.ledger.append_many([(f"come back {asked.id}", entry)])
        room.burn(company, [asked.id])
        self.batches.close(
            act,
            {asked.id: {"changed_since": since}},
            "withdrawn",
            write=lambda connection: letters.came_back(company, connection, asked),
        )

    def _files(self, act: str, store: str) -> None:
        """Delete the files that the people's rows named, but those that a row still names."""
        company, detail = self.company, self.batches.must(act)
        for kind in detail.people:
            paths = detail.traces.get(f"files {store} {kind}", [])
            if not paths:
                continue
            part = f"erase {store} {kind}"
            before = company.state.notes(act).get(part, {}).get("files", {}).get("deleted", 0)
            deleted = uploads.delete(company, store, paths)
            if deleted:
                company.state.note(act, part, {"files": {"deleted": before + deleted}})
            left = uploads.still_there(company, store, paths)
            if left:
                raise Remains(f"{left} files of erased people are still there", where=store)

    def _records(self, act: str, store: str) -> None:
        """Erase people's records in a store behind an API, one after the other; what the other side keeps is noted."""
        company, detail = self.company, self.batches.must(act)
        there = company.records[store]
        kept: dict[str, dict[str, list[dict[str, object]]]] = detail.traces.setdefault(f"kept {store}", {})
        for kind, keys in detail.people.items():
            tables = sorted(places(company, kind).records.get(store, {}))
            part = f"erase {store} {kind}"
            counts: dict[str, dict[str, int]] = {
                t: dict(c) for t, c in company.state.notes(act).get(part, {}).items()
            }
            for key in keys:
                who = str(Person(kind, key))
                for subject in detail.traces.get(f"records {store}", {}).get(who, ()):
                    erased = there.erase(subject, tables, act)
                    for table, rows in erased.deleted.items():
                        counted = counts.setdefault(table, {})
                        counted["deleted"] = counted.get("deleted", 0) + rows
                    if erased.deleted:
                        company.state.note(act, part, counts)
                    if erased.kept:  # asked again, a store whose record is gone may have nothing to tell
                        kept.setdefault(who, {})[subject] = [
                            {
                                "table": k.table,
                                "rows": k.rows,
                                "reason": k.reason,
                                "until": k.until and k.until.isoformat(),
                            }
                            for k in erased.kept
                        ]
                        self.batches.remember(act)
        gone = [id for ids in detail.traces.get(f"records {store}", {}).values() for id in ids]
        still = there.existing(gone) if there.searchable else set()
        if still:
            raise Remains(f"{len(still)} of the erased people's records are still there", where=store)

    def _reached(self, kind: str) -> list[str]:
        """The stores in which Kept itself erases."""
        reached = places(self.company, kind)
        return [*reached.records, *([reached.walk.store] if reached.walk is not None else [])]

    def _close(self, act: str) -> None:
        """Put every erasure on the ledger, once; then destroy what tied its entries to the people."""
        company, detail = self.company, self.batches.must(act)
        whos = detail.whos()
        pseudonyms = {request.id: request.pseudonym for request in register.of_act(company, act)}
        noted = company.state.notes(act)
        counts = {part.removeprefix("erase "): counted for part, counted in noted.items()}
        items: list[tuple[str, Entry]] = [
            (
                f"erase {request}",
                {
                    "act": "erase",
                    "request": request,
                    "batch": act,
                    "person": pseudonyms[request],
                    "remains": 0,
                },
            )
            for request in detail.requests
        ]
        batch: Entry = {
            "act": "erase batch",
            "batch": act,
            "people": len(items),
            "policy": company.policy.source.digest,
            "counts": counts,
            "answers": len(detail.answers),
        }
        company.ledger.append_many([(f"erase batch {act}", batch), *items])
        known = detail.traces.get("known", {})
        company.pseudonyms.forget({who: known.get(who, {}).values() for who in whos})
        outcome = {"remains": 0, "answers": len(detail.answers), "waited": self.singly()}
        outcome |= {"unseen": detail.traces["unseen"]} if detail.traces.get("unseen") else {}
        by_who = self._staying(act, noted)
        outcomes: Mapping[str, Mapping[str, object]] = {
            request: outcome | ({"stays": by_who[who]} if who in by_who else {})
            for request, who in zip(detail.requests, whos, strict=True)
        }
        self.close(act, outcomes)

    def _staying(
        self, act: str, noted: Mapping[str, Mapping[str, Mapping[str, int]]]
    ) -> dict[str, dict[str, object]]:
        """What stays of each person: rows under a hold, by table, and what another company keeps by law."""
        company, detail = self.company, self.batches.must(act)
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


def _together(one: Counts, other: Counts) -> Counts:
    """The counts of two groups of people as one."""
    tables = dict.fromkeys((*one.tables, *other.tables))
    pairs = {table: (one.tables.get(table, Count()), other.tables.get(table, Count())) for table in tables}
    return Counts(
        {
            table: Count(**{what: number + vars(more)[what] for what, number in vars(count).items()})
            for table, (count, more) in pairs.items()
        }
    )
