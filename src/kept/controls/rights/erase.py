"""Carrying out erasure: a look before, one transaction for each store, the store's own means, a look after.

Only a look that finds nothing lets the act be closed; everything before it can be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

from kept.company import Company
from kept.controls.retention.holds import holds
from kept.controls.rights import requests
from kept.controls.rights.access import unreached
from kept.controls.rights.people import Person
from kept.errors import TerminalError
from kept.evidence.entry import Entry
from kept.stores.erase import Counts, erase
from kept.stores.physical import CannotLook, Trace, scrub, search_files
from kept.stores.remains import Fingerprint, fingerprint, living, look
from kept.stores.walk import Erasure

BYTES = 5  # the shortest value that is looked for in files: a shorter one would be found everywhere


class Remains(TerminalError):
    """Something of an erased person can still be read; the request is not done."""

    exit_code = 1


class Erase:
    """The act `erase`: `note`, then `erase S`, `look S`, `scrub S` for each store, `answers`, `own`, `close`."""

    def __init__(self, company: Company) -> None:
        self.company = company

    def plan(self, people: Sequence[Person]) -> list[str]:
        """The steps for a batch; raises TerminalError where a declared place can't be reached or emptied."""
        unreached(self.company, people)
        stores = sorted({self.company.walk(person.kind).store for person in people})
        steps = ["note"]
        for verb in ("erase", "look", "scrub"):
            steps += [f"{verb} {store}" for store in stores]
        return [*steps, "answers", "own", "close"]

    def steps(self, act: str) -> Sequence[str]:
        return requests.detail_of(self.company, act).steps if requests.is_open(self.company, act) else []

    def step(self, act: str, name: str) -> None:
        if not requests.is_open(self.company, act):
            return
        verb, _, store = name.partition(" ")
        match verb:
            case "note":
                self._note(act)
            case "erase":
                self._erase(act, store)
            case "scrub":
                self._scrub(act, store)
            case "look":
                self._look(act, store)
            case "answers":
                self._answers(act)
            case "own":
                self._own(act)
            case _:
                self._close(act)

    def erasure(self, kind: str) -> Erasure:
        """What erasing a person of a kind means, holds included."""
        company = self.company
        return Erasure(company.walk(kind), holds(company.policy, company.map, kind, company.clock()))

    def rehearse(self, people: Sequence[Person]) -> dict[str, Counts]:
        """What an erasure would do, counted exactly by doing it in a transaction that is rolled back."""
        counted: dict[str, Counts] = {}

        class Rehearsed(Exception):
            """Ends the transaction without committing it."""

        def stop(counts: Counts) -> None:
            counted[kind] = counts
            raise Rehearsed

        for kind in dict.fromkeys(person.kind for person in people):
            keys = [person.key for person in people if person.kind == kind]
            erasure = self.erasure(kind)
            try:
                erase(self.company.stores[erasure.walk.store], erasure, keys, stop)
            except Rehearsed:
                continue
        return counted

    def _tables(self, act: str, store: str) -> list[str]:
        detail = requests.detail_of(self.company, act)
        walks = [self.company.walk(kind) for kind in detail.people]
        return sorted({table for walk in walks if walk.store == store for table in walk.own_tables()})

    def _kinds(self, detail: requests.Detail, store: str) -> list[str]:
        return [kind for kind in detail.people if self.company.walk(kind).store == store]

    def _note(self, act: str) -> None:
        """Note, sealed, by which values the people could be found again: what the look after looks for."""
        company, detail = self.company, requests.detail_of(self.company, act)
        for kind, keys in detail.people.items():
            walk = company.walk(kind)
            detail.traces[kind] = fingerprint(company.stores[walk.store], walk, keys).dumps().decode()
        requests.remember(company, act, detail)

    def _erase(self, act: str, store: str) -> None:
        company, detail = self.company, requests.detail_of(self.company, act)
        for kind in self._kinds(detail, store):
            part = f"erase {store} {kind}"

            def note(counts: Counts, part: str = part) -> None:
                # Nothing found means that a run before this one committed: what it noted is the truth.
                if counts.changed or part not in company.state.notes(act):
                    company.state.note(act, part, counts.as_json())

            erase(company.stores[store], self.erasure(kind), detail.people[kind], note)

    def _look(self, act: str, store: str) -> None:
        """Look for rows by key and by value in every declared place."""
        company, detail = self.company, requests.detail_of(self.company, act)
        for kind in self._kinds(detail, store):
            prints = Fingerprint.loads(detail.traces[kind].encode())
            found = look(company.stores[store], self.erasure(kind), detail.people[kind], prints)
            if found:
                places = ", ".join(f"{place.rows} rows by {place.table}.{place.column}" for place in found)
                raise Remains(
                    f"the erased person can still be found: {places}",
                    help="see which declaration misses these rows, mend it, and run the request again",
                    where=store,
                )

    def _scrub(self, act: str, store: str) -> None:
        """Make what was deleted unreadable in the store's files; nothing of these people alone may be left in them."""
        values = self._bytes(requests.detail_of(self.company, act), store)
        there = scrub(self.company.stores[store], self._tables(act, store), values)
        if isinstance(there, CannotLook):
            raise Remains(
                f"the rows are gone, but nobody can say whether files still hold the person: {there.reason}",
                help="grant it, then run `kept request resume`",
                where=store,
            )
        if there:
            raise Remains(
                "the rows are gone, but files still hold the person: " + _places(there),
                help="see what else keeps it there, then run `kept request resume`",
                where=store,
            )

    def _bytes(self, detail: requests.Detail, store: str) -> list[str]:
        """The values to look for in files: long enough, and found in no row that stays (somebody's, or held)."""
        found: set[str] = set()
        for kind in self._kinds(detail, store):
            prints = Fingerprint.loads(detail.traces[kind].encode())
            alive = living(self.company.stores[store], self.company.walk(kind), prints)
            found |= {value for values in prints.values.values() for value in values} - alive
        return sorted(value for value in found if len(value.encode()) >= BYTES)

    def _answers(self, act: str) -> None:
        """Answers given to these people before are copies of what is now erased: they go too."""
        company = self.company
        for request in requests.answered(company, act):
            (company.answers / f"{request}.zip").unlink(missing_ok=True)

    def _own(self, act: str) -> None:
        """Look for the people in every file of Kept's own."""
        company, detail = self.company, requests.detail_of(self.company, act)
        company.state.checkpoint()
        values = sorted(
            {value for kind in detail.people for value in self._bytes(detail, company.walk(kind).store)}
        )
        own = [
            path
            for path in (*company.directory.glob("*.sqlite*"), *company.answers.glob("*"))
            if path.is_file()
        ]
        stores = {path for store in company.stores.values() for path in store.files()}
        there = search_files([path for path in own if path not in stores], values)
        if there:
            raise Remains("the erased person's data can still be read in Kept's own files: " + _places(there))

    def _close(self, act: str) -> None:
        """Put every erasure on the ledger, once; then destroy what tied its entries to the people."""
        company, detail = self.company, requests.detail_of(self.company, act)
        pseudonyms = requests.pseudonyms_of(company, act)
        counts = {part.removeprefix("erase "): counted for part, counted in company.state.notes(act).items()}
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
        }
        company.ledger.append_many([(f"erase batch {act}", batch), *items])
        company.pseudonyms.forget(detail.whos())
        requests.close(company, act, {request: {"remains": 0} for request in detail.requests})


def _places(traces: Sequence[Trace]) -> str:
    return ", ".join(f"{trace.where} ({trace.count} times)" for trace in traces)
