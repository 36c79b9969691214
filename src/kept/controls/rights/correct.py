"""Carrying out a correction (GDPR Art. 16): the cells of one person's own rows, and everybody who got the old."""

from __future__ import annotations

from collections.abc import Sequence

from kept.company import Company
from kept.controls.purposes.decisions import seen
from kept.controls.rights import recipients, register
from kept.controls.rights.acting import Acting, Legs
from kept.controls.rights.answers.access import with_facts
from kept.controls.rights.life import right_of
from kept.controls.rights.people import Person
from kept.controls.rights.places import BY, places, refuse_unreached
from kept.controls.rights.register import Subject
from kept.controls.rights.subjects import subjects
from kept.errors import KeptError, TerminalError
from kept.evidence.entry import Entry
from kept.policy.policy import Policy
from kept.stores.correct import correct, rehearse
from kept.stores.corrections import Change, Corrections
from kept.stores.records import hubspot_columns, stripe

_PEOPLE = {"hubspot": hubspot_columns.PEOPLE, "stripe": stripe.PEOPLE}
"""The table of the people themselves, by the kind of store; a partner's system corrects nothing by itself."""


class Correct(Acting):
    """The act `correct`: `write`, `tell` whoever got the data, `tasks` for those nobody can write to, `close`."""

    everywhere = True

    def singly(self) -> bool:
        return True

    def plan(self, people: Sequence[Person]) -> Legs:
        kinds = dict.fromkeys(person.kind for person in people)
        refuse_unreached(self.company, kinds)
        if any(recipients.unwritable(self.company, kind, self._reached(kind)) for kind in kinds):
            return [["write", "tell", "tasks"], ["close"]]
        told = any(recipients.recipients(self.company.policy, kind, self._reached(kind)) for kind in kinds)
        return [["write", *(["tell"] if told else []), "close"]]

    def do(self, act: str, word: str, rest: str) -> None:
        match word:
            case "write":
                self._write(act)
            case "tell":
                detail = self.batches.must(act)
                recipients.tell_all(self.company, act, "correct", detail, {}, self._reached)
            case "tasks":
                self.batches.wait(act, "tasks")
            case _:
                self._close(act)

    def _reached(self, kind: str) -> list[str]:
        """The stores that a correction here reaches: the own one; others' copies are told of it."""
        walk = self.company.map.walk(kind)
        return [walk.store] if walk is not None else list(places(self.company, kind).records)

    def _write(self, act: str) -> None:
        company = self.company
        [request] = register.of_act(company, act)
        subject = request.subject(company)
        by_store = split(company, subject)
        elsewhere = self._known_elsewhere(act, subject)
        for store, changes in by_store.items():
            part = f"correct {store} {subject.who.kind}"
            if store in company.records:
                reached = places(company, subject.who.kind)
                [ids] = subjects(company, reached, [subject.who.key], store).values()
                if not ids:
                    raise TerminalError("the person has no record there", where=store)
                there = company.records[store]
                counts: dict[str, dict[str, int]] = {}
                for table in dict.fromkeys(change.table for change in changes):
                    values = {change.column: str(change.new) for change in changes if change.table == table}
                    rows = sum(there.correct(id, table, None, values, act) for id in ids)
                    counts[table] = {"corrected": rows}
                # Nothing changed means that a run before this one did it: what it noted is the truth.
                if any(count["corrected"] for count in counts.values()) or part not in company.state.notes(
                    act
                ):
                    company.state.note(act, part, counts)
                continue

            def note(done: Corrections, store: str = store, part: str = part) -> None:
                # Nothing changed means that a run before this one committed: what it noted is the truth.
                if done.changed or part not in company.state.notes(act):
                    company.state.note(act, part, done.as_json())
                if done.changed:
                    seen.mark(company, act, store, done)

            done = correct(
                company.stores[store],
                with_facts(company.policy, company.walk(subject.who.kind)),
                subject.who.key,
                changes,
                note,
                excepted=excepted(company.policy),
            )
            seen.settle(company, act, {store: done})
        for store, (address, records) in elsewhere.items():
            table = _PEOPLE[str(company.policy.stores[store].sort)]
            rows = sum(company.records[store].correct(id, table, None, {BY: address}, act) for id in records)
            part = f"correct {store} {subject.who.kind}"
            if rows or part not in company.state.notes(act):
                company.state.note(act, part, {table: {"corrected": rows}})

    def _known_elsewhere(self, act: str, subject: Subject) -> dict[str, tuple[str, list[str]]]:
        """The new address of a person, and their records in stores behind an API that know them by the old one.

        There it is corrected too, or nobody would find these records any more. They are looked for before anything is
        written, and noted. Where it can't be told whose they are, it is left to whoever tells that party.
        """
        company, detail = self.company, self.batches.must(act)
        reached = places(company, subject.who.kind)
        person = company.policy.people[reached.kind]
        held = next((str(column) for name, column in person.known_by.items() if name == BY), "")
        column = f"{person.table}.{held}"
        new = next((value for changed, value in subject.changes if changed == column), None)
        if reached.walk is None or not new:
            return {}
        noted: dict[str, list[str]] = detail.traces.setdefault("known elsewhere", {})
        for store in reached.records:
            if store not in noted and str(company.policy.stores[store].sort) in _PEOPLE:
                try:
                    found = subjects(company, reached, [subject.who.key], store)
                except TerminalError:  # somebody else has that address too
                    found = {}
                noted[store] = [id for ids in found.values() for id in ids]
                self.batches.remember(act)
        return {store: (new, ids) for store, ids in noted.items() if ids}

    def _close(self, act: str) -> None:
        company = self.company
        [request] = register.of_act(company, act)
        counts = {part.removeprefix("correct "): noted for part, noted in company.state.notes(act).items()}
        entry: Entry = {
            "act": "correct",
            "request": request.id,
            "person": request.pseudonym,
            "policy": company.policy.source.digest,
            "counts": counts,
        }
        company.ledger.append_many([(f"correct {request.id}", entry)])
        self.close(act, {request.id: {"counts": counts}})


def planned(company: Company, subject: Subject) -> Corrections:
    """What a correction would do in the person's own database; raises what it would."""
    done = Corrections()
    for store, changes in split(company, subject).items():
        if store in company.stores:
            walk = with_facts(company.policy, company.walk(subject.who.kind))
            found = rehearse(
                company.stores[store], walk, subject.who.key, changes, excepted=excepted(company.policy)
            )
            done = Corrections((*done.cells, *found.cells))
    return done


def split(company: Company, subject: Subject) -> dict[str, list[Change]]:
    """What is to be written, by store; KeptError for a column that isn't in a store of the person's."""
    reached = places(company, subject.who.kind)
    found: dict[str, list[Change]] = {}
    for column, value in subject.changes:
        store, table, name = column.split(".", 2)
        known = store in reached.records or (reached.walk is not None and reached.walk.store == store)
        if not known:
            raise KeptError(f"`{store}` is no store in which such a person could be corrected", where=column)
        if store in reached.records:
            names = reached.records[store].get(table, {}).get(name, ())
            if not names and column not in _facts(company.policy, reached.kind):
                raise KeptError("it isn't declared as data about such a person", where=column)
            if left := sorted(set(names) & excepted(company.policy)):
                raise KeptError(
                    f"it holds `{', '.join(left)}`, which the policy leaves out of corrections",
                    help="see `except` in the right `correct`",
                    where=column,
                )
        found.setdefault(store, []).append(Change(table, name, value))
    if not found:
        raise KeptError("nothing is said about what is right")
    return found


def _facts(policy: Policy, kind: str) -> set[str]:
    """The columns (`store.table.column`) that tell of people because of a fact, in whatever store they are at home."""
    person = policy.people[kind]
    named = (*person.known_by.values(), person.born, person.region)
    return {f"{person.table}.{column}" for column in named if column is not None}


def excepted(policy: Policy) -> frozenset[str]:
    """The data that the policy leaves out of corrections."""
    right = right_of(policy, "correct")
    return frozenset(map(str, right.excepted)) if right is not None else frozenset()
