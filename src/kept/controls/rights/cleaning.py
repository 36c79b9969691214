"""After an erasure: nothing of the people can be read in the files of stores, in answers given before, in Kept's own.

What is looked for are the values by which they were known, noted before their rows went. A value that somebody else
rightly has proves nothing, so those are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kept.company import Company
from kept.controls.rights import answer, register
from kept.controls.rights.batches import Detail
from kept.errors import TerminalError
from kept.stores.opening import open_store
from kept.stores.physical import CannotLook, Trace, scrub, search, search_files
from kept.stores.remains import Fingerprint, contained, living

BYTES = 5  # the shortest value that is looked for in files: a shorter one would be found everywhere


class Remains(TerminalError):
    """Something of an erased person can still be read; the request is not done."""

    exit_code = 1


class Cleaning:
    """The files after one act; what its steps noted stands in its detail."""

    def __init__(self, company: Company, detail: Detail) -> None:
        self.company = company
        self.detail = detail

    def prints(self, kind: str) -> Fingerprint:
        """By which values the people of a kind could be found again."""
        noted = self.detail.traces.get(kind)
        return Fingerprint() if noted is None else Fingerprint.loads(noted.encode())

    def kinds(self, store: str) -> list[str]:
        """The kinds of the act whose people stand in a SQL store."""
        walks = {kind: self.company.map.walk(kind) for kind in self.detail.people}
        return [kind for kind, walk in walks.items() if walk is not None and walk.store == store]

    def stores(self) -> list[str]:
        """The SQL stores that people of the act stand in."""
        return [store for store in self.company.stores if self.kinds(store)]

    def scrub(self, store: str) -> None:
        """Make what was deleted unreadable in a store's files; nothing of these people alone may be left in them."""
        walks = [self.company.walk(kind) for kind in self.kinds(store)]
        tables = sorted({table for walk in walks for table in walk.own_tables()})
        values = self._bytes(store)
        there = scrub(self.company.stores[store], tables, values)
        if there and not isinstance(there, CannotLook):
            # not only looked for: the tables they were just compared in may have left samples and log behind
            there = scrub(self.company.stores[store], [], self._alone(store, values))
        if isinstance(there, CannotLook):
            raise Remains(
                f"the rows are gone, but nobody can say whether files still hold the person: {there.reason}",
                help="grant it, then run `kept work`",
                where=store,
            )
        if there:
            raise Remains(
                "the rows are gone, but files still hold the person: " + _places(there),
                help="see what else keeps it there, then run `kept work`",
                where=store,
            )

    def answers(self) -> list[str]:
        """Remove answers given before, which are copies of what is erased now; which requests they were for.

        Those given to these people go, and whoever else's answer that has a value of theirs in it; that person can ask
        again.
        """
        company = self.company
        paths = {path.stem: path for path in sorted(company.answers.glob("*.zip"))}
        cut_short = {path.stem for path in company.answers.glob("*.part")}
        if not paths and not cut_short:
            return []
        pseudonyms = list(company.pseudonyms.find(self.detail.whos()).values())
        answered = register.answered(company, pseudonyms)
        theirs = [request for request in answered if request in paths]
        others = [request for request in paths if request not in theirs]

        def holding(values: Sequence[str]) -> list[str]:
            return [request for request in others if answer.holds(paths[request], values)]

        going = [*theirs, *holding(self._own_values(holding))]
        for request in going:
            paths[request].unlink(missing_ok=True)
        for request in answered:
            (company.answers / f"{request}.part").unlink(missing_ok=True)  # of an answer that was cut short
        return going

    def own_files(self) -> str | None:
        """Look for the people in every file of Kept's own; why nobody may look there, where that is so.

        Nothing readable is ever written there, so a server whose files Kept's role may not read stops no erasure.
        """
        company = self.company
        company.state.checkpoint()
        stores = {path for store in company.stores.values() for path in store.files()}
        own = [path for path in company.directory.glob("*.sqlite*") if path.is_file() and path not in stores]
        values = self._own_values(lambda values: search_files(own, values))
        there = search_files(own, values)
        if company.state.is_server:
            state = open_store("kept", company.settings["KEPT_STATE_URL"])
            try:
                found = search(state, values)
                if found and not isinstance(found, CannotLook):
                    # Where Kept's state shares a database with a store, statistics and log may have got the values
                    # again: from the tables in which they were just looked for, or from another worker's.
                    alone = sorted({v for store in self.stores() for v in self._alone(store, values)})
                    found = scrub(state, [], alone)
            finally:
                state.dispose()
            if isinstance(found, CannotLook):
                return found.reason
            there += found
        if there:
            raise Remains("the erased person's data can still be read in Kept's own files: " + _places(there))
        return None

    def _bytes(self, store: str) -> list[str]:
        """The values to look for in files: long enough, and found in no row that stays (somebody's, or held)."""
        found: set[str] = set()
        for kind in self.kinds(store):
            prints = self.prints(kind)
            alive = living(self.company.stores[store], self.company.walk(kind), prints)
            found |= {value for values in prints.values.values() for value in values} - alive
        return sorted(value for value in found if len(value.encode()) >= BYTES)

    def _alone(self, store: str, values: Sequence[str]) -> list[str]:
        """Those of the values that stand inside no longer one that stays: files can't tell `Maria` from `Mariana`.

        Reads every declared table, so it is asked only when something was found.
        """
        left = set(values)
        for kind in self.kinds(store):
            prints = self.prints(kind).only(left)
            left -= contained(self.company.stores[store], self.company.walk(kind), prints)
        return sorted(left)

    def _own_values(self, found: Callable[[Sequence[str]], object]) -> list[str]:
        """The values to look for outside the stores; narrowed down as for stores where any of them is `found`."""
        values = {store: self._bytes(store) for store in self.stores()}
        if found(sorted({value for held in values.values() for value in held})):
            values = {store: self._alone(store, held) for store, held in values.items()}
        return sorted({value for held in values.values() for value in held})


def _places(traces: Sequence[Trace]) -> str:
    return ", ".join(f"{trace.where} ({trace.count} times)" for trace in traces)
