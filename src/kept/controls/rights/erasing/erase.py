"""Carrying out erasure: what is known of the people is noted, their rows go in one transaction for each store, and
a look finds nothing.

What was deleted is then made unreadable, for many acts in one pass that closes them (`cleaning`). Everything can be
repeated. Where the policy promises a time in which the person may come back, their rows wait in a room (`hiding`)
before they go.
"""

from __future__ import annotations

from collections.abc import Sequence

from kept.controls.rights import recipients, tasks, uploads
from kept.controls.rights.acting import Acting, Legs
from kept.controls.rights.erasing import hiding, prints, room
from kept.controls.rights.erasing.prints import Remains
from kept.controls.rights.erasing.scope import by_held, erasure
from kept.controls.rights.life import right_of
from kept.controls.rights.people import Person
from kept.controls.rights.places import BY, places, refuse_unreached
from kept.stores.erasing.erase import Counts, erase


class Erase(Acting):
    """The act `erase`, in legs:

    1. `erase`; or `hide` and `period`, where the person may come back, and then `burn`;
    2. `files S` for each folder of files, `records S` for each store behind an API; `tell` the recipients; `hand` and
       `tasks`, where something is left to a member of staff;
    3. `clean`: wait for the files of the stores to be made clean, together with others'. That closes the act. Where
       nothing stands between, it is one step with the first: `erase and clean`.
    """

    everywhere = True

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
        end = ["clean"]
        if waits:
            first, then = ["hide", "period"], ["burn", *going]
        else:
            first, then = [], ["erase", *going]
        if then == ["erase"] and not by_hand:
            return [["erase and clean"]]  # one step less to keep a record of
        if by_hand:
            return [leg for leg in (first, [*then, "hand", "tasks"], end) if leg]
        return [leg for leg in (first, [*then, *end]) if leg]

    def singly(self) -> bool:
        right = right_of(self.company.policy, "erase")
        return right is not None and right.waits is not None

    def apart(self, people: Sequence[Person]) -> list[list[Person]]:
        """People of whom the same is held go together: what a look afterwards may find of each is the same."""
        if self.singly() or len(people) == 1:
            return [[person] for person in people]
        return list(by_held(self.company, people).values())

    def do(self, act: str, word: str, rest: str) -> None:
        company, batches = self.company, self.batches
        match word:
            case "erase":
                self._erase(act)
                if rest:
                    batches.wait(act, "clean")
            case "hide":
                hiding.hide(company, batches, act)
            case "period":
                hiding.wait(company, batches, act)
            case "return":
                hiding.come_back(company, batches, act)
            case "burn":
                room.burn(company, batches.must(act).requests)
            case "files":
                self._files(act, rest)
            case "records":
                self._records(act, rest)
            case "hand":
                tasks.by_hand(company, act, batches.must(act).persons(), "erase what stands")
            case "tasks":
                batches.wait(act, "tasks")
            case "tell":
                detail = batches.must(act)
                known = {who: values[BY] for who, values in detail.traces["known"].items() if BY in values}
                recipients.tell_all(company, act, "erase", detail, known, self._reached)
            case _:
                batches.wait(act, "clean")

    # The steps.

    def _erase(self, act: str) -> None:
        """Take the rows out of the SQL stores, and look in every declared place, by key and by value."""
        company, batches = self.company, self.batches
        held, fresh = prints.note(company, batches, act)
        detail = batches.must(act)
        if fresh and any(company.map.walk(kind) is None for kind in detail.people):
            batches.remember(act)
        for kind, keys in detail.people.items():
            if company.map.walk(kind) is None:
                continue
            meant = erasure(company, kind, held)
            store, part = meant.walk.store, f"erase {meant.walk.store} {kind}"

            def note(counts: Counts, part: str = part) -> None:
                # Nothing found means that a run before this one committed: what it noted is the truth.
                if counts.changed or part not in company.state.notes(act):
                    batches.note(act, part, counts.as_json())
                elif fresh:
                    batches.remember(act)

            erase(company.stores[store], meant, keys, note)
            prints.refuse_found(company, detail, kind, meant)

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
