"""Carrying out erasure: a look before, one transaction for each store, the store's own means, a look after.

Only a look that finds nothing lets the act be closed; everything before it can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from kept.company import Company
from kept.controls.retention.holds import holds
from kept.controls.rights import answer, requests
from kept.controls.rights.access import check, facts
from kept.controls.rights.declare import Right
from kept.controls.rights.people import Person, must_be_there
from kept.errors import TerminalError
from kept.evidence.entry import Entry
from kept.stores.erase import Counts, erase
from kept.stores.physical import CannotLook, Trace, scrub, search, search_files
from kept.stores.remains import Fingerprint, contained, fingerprint, living, look, otherwise_written
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
        check(self.company, people)
        right = self.company.policy.section("rights").get("erase")
        if isinstance(right, Right) and right.waits is not None:
            raise TerminalError(
                f"the policy promises that an erasure waits {right.waits}, and this version of Kept can't wait",
                help="leave `waits` out until it can; the request stays open meanwhile",
            )
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
        """What erasing a person of a kind means, holds included.

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
            holds(company.policy, company.map, kind, company.clock()),
        )

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
        """Note, sealed, by which values the people could be found again: what the look after looks for.

        Another attempt adds to what is noted, for their rows may be gone by now; the first has to find every one.
        """
        company, detail = self.company, requests.detail_of(self.company, act)
        for kind, keys in detail.people.items():
            walk = company.walk(kind)
            prints = Fingerprint()
            if kind in detail.traces:
                prints = Fingerprint.loads(detail.traces[kind].encode())
            else:
                must_be_there(company, kind, keys)
            prints |= fingerprint(company.stores[walk.store], walk, keys)
            detail.traces[kind] = prints.dumps().decode()
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
            erasure, keys = self.erasure(kind), detail.people[kind]
            found = look(company.stores[store], erasure, keys, prints)
            found = found or otherwise_written(company.stores[store], erasure, keys, prints)
            if found:
                places = ", ".join(f"{place.rows} rows by {place.table}.{place.column}" for place in found)
                raise Remains(
                    f"the erased person can still be found: {places}",
                    help="see which declaration misses these rows, mend it, and run the request again",
                    where=store,
                )

    def _scrub(self, act: str, store: str) -> None:
        """Make what was deleted unreadable in the store's files; nothing of these people alone may be left in them."""
        detail = requests.detail_of(self.company, act)
        values, tables = self._bytes(detail, store), self._tables(act, store)
        there = scrub(self.company.stores[store], tables, values)
        if there and not isinstance(there, CannotLook):
            there = search(self.company.stores[store], self._alone(detail, store, values))
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

    def _alone(self, detail: requests.Detail, store: str, values: Sequence[str]) -> list[str]:
        """Those of the values that stand inside no longer one that stays: files can't tell `Maria` from `Mariana`.

        Reads every declared table, so it is asked only when something was found.
        """
        left = set(values)
        for kind in self._kinds(detail, store):
            prints = Fingerprint.loads(detail.traces[kind].encode()).only(left)
            left -= contained(self.company.stores[store], self.company.walk(kind), prints)
        return sorted(left)

    def _own_values(self, detail: requests.Detail, found: Callable[[Sequence[str]], object]) -> list[str]:
        """The values to look for outside the stores; narrowed down as for stores where any of them is `found`."""
        stores = dict.fromkeys(self.company.walk(kind).store for kind in detail.people)
        values = {store: self._bytes(detail, store) for store in stores}
        if found(sorted({value for held in values.values() for value in held})):
            values = {store: self._alone(detail, store, held) for store, held in values.items()}
        return sorted({value for held in values.values() for value in held})

    def _answers(self, act: str) -> None:
        """Answers given before are copies of what is now erased: those given to these people go.

        So does whoever else's answer that has a value of theirs in it; that person can ask again.
        """
        company, detail = self.company, requests.detail_of(self.company, act)
        paths = {path.stem: path for path in sorted(company.answers.glob("*.zip"))}
        theirs = [request for request in requests.answered(company, act) if request in paths]
        others = [request for request in paths if request not in theirs]

        def holding(values: Sequence[str]) -> list[str]:
            return [request for request in others if answer.holds(paths[request], values)]

        going = [*theirs, *holding(self._own_values(detail, holding))]
        detail.answers = list(dict.fromkeys((*detail.answers, *going)))
        requests.remember(company, act, detail)
        for request in going:
            paths[request].unlink(missing_ok=True)
        for request in requests.answered(company, act):
            (company.answers / f"{request}.part").unlink(missing_ok=True)  # of an answer that was cut short

    def _own(self, act: str) -> None:
        """Look for the people in every file of Kept's own."""
        company, detail = self.company, requests.detail_of(self.company, act)
        company.state.checkpoint()
        stores = {path for store in company.stores.values() for path in store.files()}
        own = [path for path in company.directory.glob("*.sqlite*") if path.is_file() and path not in stores]
        there = search_files(own, self._own_values(detail, lambda values: search_files(own, values)))
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
            "answers": len(detail.answers),
        }
        company.ledger.append_many([(f"erase batch {act}", batch), *items])
        company.pseudonyms.forget(detail.whos())
        outcome = {"remains": 0, "answers": len(detail.answers)}
        requests.close(company, act, dict.fromkeys(detail.requests, outcome))


def _places(traces: Sequence[Trace]) -> str:
    return ", ".join(f"{trace.where} ({trace.count} times)" for trace in traces)
