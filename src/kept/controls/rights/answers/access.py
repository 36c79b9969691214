"""Carrying out access: one walk through each store for the whole batch, one zip for each person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from kept.company import Company
from kept.controls.rights import register, tasks, uploads
from kept.controls.rights.acting import Acting, Legs
from kept.controls.rights.answers import answer, chosen, looked, passed_on
from kept.controls.rights.answers.archives import Archives, Frame, slots_of
from kept.controls.rights.answers.forms import Slot
from kept.controls.rights.batches import Batches
from kept.controls.rights.people import Person, must_be_there, refuse_lost
from kept.controls.rights.places import Columns, places, refuse_unreached
from kept.controls.rights.subjects import subjects
from kept.datamap.drift import UndeclaredColumn, undeclared_columns
from kept.datamap.graph import DataMap
from kept.errors import TransientError
from kept.policy.entry import Promise
from kept.policy.policy import Policy
from kept.stores.collect import Portion, collect
from kept.stores.walk import Key, Walk, owned_by_one

CHUNK = 1000  # people answered in one step; how much of their rows is in memory is `archives.MEMORY`
Sentence = Callable[[Promise], str]


class Access(Acting):
    """The act `access`: `answer`; or, where that is too much for one step, in legs of several.

    Those are `answer N` for each CHUNK people, `hand` and `tasks` where staff must look, then `close`.
    """

    everywhere = True

    verb: ClassVar = "access"

    def __init__(self, company: Company, batches: Batches, sentence: Sentence) -> None:
        super().__init__(company, batches)
        self.sentence = sentence
        self._ways: dict[str, tuple[DataMap, Walk]] = {}  # by kind: the map it was made of, and the way
        self._frames: dict[str, tuple[Mapping[str, Mapping[str, Sequence[str]]], Frame]] = {}

    def plan(self, people: Sequence[Person]) -> Legs:
        kinds = dict.fromkeys(person.kind for person in people)
        refuse_unreached(self.company, kinds)
        steps = [f"answer {start}" for start in range(0, len(people), CHUNK)]
        if any(places(self.company, kind).by_hand for kind in kinds):
            return [[*steps, "hand", "tasks"], ["close"]]
        return [[*steps, "close"] if len(steps) > 1 else ["answer"]]

    def do(self, act: str, word: str, rest: str) -> None:
        match word:
            case "answer" if rest:
                self._answer(act, int(rest))
            case "answer":
                self._answer_and_close(act)
            case "hand":
                tasks.by_hand(self.company, act, self.batches.must(act).persons(), "send them what stands")
            case "tasks":
                self.batches.wait(act, "tasks")
            case _:
                self._close(act)

    def walk(self, kind: str) -> Walk | None:
        """The way to what an answer tells people of a kind, in the SQL store they stand in."""
        company = self.company
        found = company.map.walk(kind)
        if found is None:
            return None
        made_of, walk = self._ways.get(kind, (None, found))
        if made_of is not company.map:
            walk = self.way(found)
            self._ways[kind] = company.map, walk
        return walk

    def way(self, walk: Walk) -> Walk:
        """What of a walk an answer tells."""
        policy = self.company.policy
        return told(policy, walk, undeclared_columns(policy, self.company.schemas))

    def columns(self, kind: str) -> dict[str, Columns]:
        """What an answer tells from stores behind an API, by store."""
        return dict(places(self.company, kind).records)

    def frame(self, kind: str, slots: Mapping[str, tuple[Slot, ...]]) -> Frame:
        """What stands in the answer of each person of a kind."""
        return answer.frame(self.company.policy, self.company.clock(), slots, self.sentence)

    def _frame(self, kind: str, names: Mapping[str, Mapping[str, Sequence[str]]]) -> Frame:
        """The frame for the columns of each table (`store.table`), put into words once: later only its heads are.

        They alone say when the answer was given, and are those of a frame with nothing in it.
        """
        made_for, frame = self._frames.get(kind, (None, None))
        if frame is None or made_for != names:
            frame = self.frame(kind, slots_of(names))
            self._frames[kind] = names, frame
            return frame
        heads = self.frame(kind, {})
        return replace(
            frame,
            at=heads.at,
            page=replace(frame.page, head=heads.page.head),
            json=replace(frame.json, head=heads.json.head),
        )

    def _answer(self, act: str, start: int) -> None:
        detail = self.batches.must(act)
        batch = list(zip(detail.persons(), detail.requests, strict=True))[start : start + CHUNK]
        detail.traces |= self._written(act, batch)
        self.batches.remember(act)

    def _answer_and_close(self, act: str) -> None:
        """Everything in one step: the zips, the ledger, the close, each durable before the next.

        What an attempt before this one wrote and noted on the ledger stays as it is: whoever looks finds the rows the
        ledger counts. What it wrote and didn't note is written anew.
        """
        detail = self.batches.must(act)
        noted = self._noted(detail.requests)
        batch = [
            (person, request)
            for person, request in zip(detail.persons(), detail.requests, strict=True)
            if request not in noted
        ]
        detail.traces |= noted | self._written(act, batch)
        self._close(act)

    def _noted(self, requests: Sequence[str]) -> dict[str, dict[str, int]]:
        """The rows that the ledger says were given to each of these requests, where there is a zip already."""
        there = [request for request in requests if (self.company.answers / f"{request}.zip").exists()]
        if not there:  # as good as always, and it spares asking the ledger
            return {}
        found = self.company.ledger.keyed([f"{self.verb} {request}" for request in there])
        return {entry["request"]: entry["rows"] for entry in found.values()}

    def _written(self, act: str, batch: Sequence[tuple[Person, str]]) -> dict[str, dict[str, int]]:
        """Write the zips of a batch, each of whose people must be there; the rows of each, by data."""
        rows: dict[str, dict[str, int]] = {}
        for kind in dict.fromkeys(person.kind for person, _ in batch):
            chosen: dict[Key, str] = {person.key: request for person, request in batch if person.kind == kind}
            rows |= self.write(kind, chosen, act, sure=True)
        return rows

    def write(
        self, kind: str, people: Mapping[Key, str], act: str = "", *, sure: bool = False
    ) -> dict[str, dict[str, int]]:
        """Write `REQUEST.zip` for each person of a kind, from one snapshot of each store; the rows of each, by data.

        A file that a row shown to the person names comes along, as it stands in its folder when the zip is written.
        All zips are on the disk when it returns. Raises TransientError where they can't be written; with `sure`,
        TerminalError where the key of one of the people doesn't lead to exactly one row of their own.
        """
        company, walk, records = self.company, self.walk(kind), self.columns(kind)
        names = data_of(walk) if walk is not None else {}
        for store, tables in records.items():
            names |= {f"{store}.{table}": dict(columns) for table, columns in tables.items()}
        choices = self.chosen(kind, people)
        names |= {chosen.PLACE: chosen.NAMES} if choices else {}
        looks = self.looked(kind, people)
        names |= {looked.PLACE: looked.NAMES} if looks else {}
        passed = self.passed_on(kind, people)
        names |= {passed_on.PLACE: passed_on.NAMES} if passed else {}
        try:
            company.answers.mkdir(mode=0o700, exist_ok=True)
        except OSError as wrong:
            raise TransientError(
                f"the folder of answers can't be made: {wrong.strerror}", where=company.answers.name
            ) from None
        frame = self._frame(kind, names)
        own = Own(walk) if walk is not None and sure else None
        if own is not None and not own.shown:
            must_be_there(company, kind, [tuple(map(str, key)) for key in people])
        with Archives(frame, company.answers, people, stores=company.files) as archives:
            if walk is not None:
                paths = uploads.columns(company, walk.store)
                for portion in collect(company.stores[walk.store], walk, people):
                    if own is not None:
                        own.take(portion)
                    archives.take(f"{walk.store}.{portion.table}", portion.rows)
                    for key, store, path in uploads.in_rows(paths, portion):
                        archives.attach(key, store, path)
                if own is not None and own.shown:
                    refuse_lost(company, kind, [tuple(map(str, key)) for key in people], own.once())
            for store, tables in records.items():
                for place, rows in self._records(act, kind, list(people), store, tables):
                    archives.take(place, rows)
            if choices:
                archives.take(chosen.PLACE, choices)
            if looks:
                archives.take(looked.PLACE, looks)
            if passed:
                archives.take(passed_on.PLACE, passed)
            return archives.write()

    def chosen(self, kind: str, keys: Iterable[Key]) -> list[tuple[Key, Mapping[str, object]]]:
        """What each of these people chose, as far as an answer tells it."""
        return chosen.rows(self.company, kind, keys)

    def looked(self, kind: str, keys: Iterable[Key]) -> list[tuple[Key, Mapping[str, object]]]:
        """Who on the staff looked at the data of each of these people."""
        return looked.rows(self.company, kind, keys)

    def passed_on(self, kind: str, keys: Iterable[Key]) -> list[tuple[Key, Mapping[str, object]]]:
        """To whom these people's data was given, as far as an answer tells it."""
        return passed_on.rows(self.company, kind, keys)

    def _records(
        self, act: str, kind: str, keys: Sequence[Key], store: str, tables: Columns
    ) -> Iterator[tuple[str, list[tuple[Key, Mapping[str, object]]]]]:
        """Rows of people in a store behind an API, portion by portion."""
        ids = subjects(
            self.company, places(self.company, kind), [tuple(map(str, key)) for key in keys], store
        )
        whose = {subject: key for key, found in ids.items() for subject in found}
        wanted = {table: list(columns) for table, columns in tables.items() if columns}
        if whose and wanted:
            for subject, table, row in self.company.records[store].collect(list(whose), wanted, act):
                yield f"{store}.{table}", [(whose[subject], row)]

    def _close(self, act: str) -> None:
        company, detail = self.company, self.batches.must(act)
        pseudonyms = {request.id: request.pseudonym for request in register.of_act(company, act)}
        company.ledger.append_many(
            [
                (
                    f"{self.verb} {request}",
                    {
                        "act": self.verb,
                        "request": request,
                        "person": pseudonyms[request],
                        "policy": company.policy.source.digest,
                        "rows": detail.traces[request],
                    },
                )
                for request in detail.requests
            ]
        )
        self.close(
            act, {request: {"rows": sum(detail.traces[request].values())} for request in detail.requests}
        )


class Own:
    """The people whose own row is among what is collected, so that nobody need ask for it once more.

    `shown` says whether it is: a row of a view, or one that other rows of its table may stand beside, doesn't tell.
    """

    def __init__(self, walk: Walk) -> None:
        root = walk.root
        self._root = root
        self._found: dict[Key, set[Key]] = defaultdict(set)
        self.shown = (
            set(root.person) <= root.columns.keys()
            and walk.of_table(root.table) == [0]
            and not walk.tables[root.table].is_view
        )

    def take(self, portion: Portion) -> None:
        """Look through some of the rows."""
        if self.shown and portion.table == self._root.table:
            for key, row in portion.rows:
                self._found[key].add(tuple(row[column] for column in self._root.person))

    def once(self) -> set[tuple[str, ...]]:
        """Those whose key led to one row of their own."""
        return {tuple(map(str, key)) for key, rows in self._found.items() if len(rows) == 1}


def told(policy: Policy, walk: Walk, undeclared: Iterable[UndeclaredColumn] = ()) -> Walk:
    """The walk with what the facts themselves say of a person: the times of their record, and their ties.

    Such columns come under the name of the kind or `tie LINK`; whom a tie leads to is told of organisations only. So do
    columns that nobody declared, as `not declared`: what is held is told, whether the policy names it or not.
    """
    stops = list(walk.stops)
    root = policy.people[walk.kind]
    for number, stop in enumerate(stops[: walk.own]):
        found: dict[str, str] = {}
        if not stop.hops:
            named = (*root.key_columns, root.began, root.ended)
            found |= {str(column): walk.kind for column in named if column is not None}
            found |= dict.fromkeys(facts(policy, walk), walk.kind)
        for link in policy.links.values():
            ends = {str(at.column) for at in link.between.values()}
            if link.table != f"{walk.store}.{stop.table}" or not any(
                set(hop.reference.columns) <= ends and not hop.forward for hop in stop.hops
            ):
                continue
            bodies = (
                at.column
                for at in link.between.values()
                if (kind := policy.root(str(at.kind))) is not None and kind.is_organisation
            )
            found |= {str(c): f"tie {link.name}" for c in (*bodies, link.began, link.ended) if c is not None}
        if owned_by_one(walk, stop.table):
            here = (c for c in undeclared if (c.store, c.table) == (walk.store, stop.table))
            found = {c.column: "not declared" for c in here} | found
        columns = {column: (name,) for column, name in found.items() if column not in stop.columns}
        stops[number] = replace(stop, columns={**columns, **stop.columns})
    return replace(walk, stops=tuple(stops))


def facts(policy: Policy, walk: Walk) -> dict[str, str]:
    """The columns of a person's own row that tell of them because of a fact (`known-by`, `born`, `region`), by sort."""
    found: dict[str, str] = {}
    for kind in policy.people.values():
        root = policy.root(str(kind.name))
        if root is not None and str(root.name) == walk.kind:
            found |= dict.fromkeys(map(str, kind.known_by.values()), "identifier")
            found |= {str(kind.born): "birth-date"} if kind.born is not None else {}
            found |= {str(kind.region): "place"} if kind.region is not None else {}
    own = walk.tables[walk.root.table].columns
    return {column: sort for column, sort in found.items() if column in own}


def with_facts(policy: Policy, walk: Walk) -> Walk:
    """The walk with the columns of a person's own row that tell of them because of a fact, declared as data or not."""
    found = {c: sort for c, sort in facts(policy, walk).items() if c not in walk.root.columns}
    root = replace(
        walk.root,
        columns={**dict.fromkeys(found, (walk.kind,)), **walk.root.columns},
        sorts={**found, **walk.root.sorts},
    )
    return replace(walk, stops=(root, *walk.stops[1:]))


def data_of(walk: Walk) -> dict[str, dict[str, tuple[str, ...]]]:
    """Which data each column of each table (`store.table`) holds."""
    found: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for stop in walk.stops[: walk.own]:
        columns = found[f"{walk.store}.{stop.table}"]
        for column, names in stop.columns.items():
            columns[column] = tuple(dict.fromkeys((*columns.get(column, ()), *names)))
    return dict(found)
