"""Carrying out access: one walk through each store for the whole batch, one zip for each person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from kept.company import Company
from kept.controls.rights import answer, requests
from kept.controls.rights.people import Person, must_be_there
from kept.datamap.drift import UndeclaredColumn, undeclared_columns
from kept.errors import TerminalError
from kept.policy.entry import Promise
from kept.policy.policy import Policy
from kept.stores.collect import collect
from kept.stores.walk import Key, Walk, owned_by_one

CHUNK = 500  # people whose rows are in memory at once
Sentence = Callable[[Promise], str]


class Access:
    """The act `access`: steps `answer N` (CHUNK people each), then `close`."""

    def __init__(self, company: Company, sentence: Sentence) -> None:
        self.company = company
        self.sentence = sentence

    def plan(self, people: Sequence[Person]) -> list[str]:
        """The steps for a batch; raises TerminalError where a declared place can't be reached."""
        check(self.company, people)
        return [f"answer {start}" for start in range(0, len(people), CHUNK)] + ["close"]

    def steps(self, act: str) -> Sequence[str]:
        return requests.detail_of(self.company, act).steps if requests.is_open(self.company, act) else []

    def step(self, act: str, name: str) -> None:
        if not requests.is_open(self.company, act):
            return
        if name == "close":
            self._close(act)
        else:
            self._answer(act, int(name.removeprefix("answer ")))

    def _answer(self, act: str, start: int) -> None:
        company, detail = self.company, requests.detail_of(self.company, act)
        batch = list(zip(detail.whos(), detail.requests, strict=True))[start : start + CHUNK]
        wanted = dict(batch)
        company.answers.mkdir(mode=0o700, exist_ok=True)
        for kind, keys in detail.people.items():
            undeclared = undeclared_columns(company.policy, company.schemas)
            walk = told(company.policy, company.walk(kind), undeclared)
            chosen = [key for key in keys if str(Person(kind, key)) in wanted]
            if not chosen:
                continue
            must_be_there(company, kind, chosen)
            held: dict[Key, dict[str, dict[str, list[answer.Row]]]] = {
                key: defaultdict(lambda: defaultdict(list)) for key in chosen
            }
            of_column = _data_of(walk)
            for portion in collect(company.stores[walk.store], walk, chosen):
                place, names = f"{walk.store}.{portion.table}", of_column[portion.table]
                for key, row in portion.rows:
                    for data in dict.fromkeys(name for column in row for name in names[column]):
                        held[key][data][place].append({c: v for c, v in row.items() if data in names[c]})
            explained = {
                data: answer.explain(company.policy, data, self.sentence)
                for data in dict.fromkeys(
                    n for columns in of_column.values() for names in columns.values() for n in names
                )
            }
            for key, found in held.items():
                request = wanted[str(Person(kind, tuple(map(str, key))))]
                whole = answer.Answer(
                    company.policy.name,
                    company.policy.version,
                    company.clock(),
                    answer.contacts(company.policy),
                    tuple(
                        answer.Held(name, explained[name], found[name])
                        for name in explained
                        if name in company.policy.data or found[name]
                    ),
                )
                answer.write(whole, company.answers / f"{request}.zip")
                detail.traces[request] = {name.data: name.rows for name in whole.held}
        requests.remember(company, act, detail)

    def _close(self, act: str) -> None:
        company, detail = self.company, requests.detail_of(self.company, act)
        pseudonyms = requests.pseudonyms_of(company, act)
        company.ledger.append_many(
            [
                (
                    f"access {request}",
                    {
                        "act": "access",
                        "request": request,
                        "person": pseudonyms[request],
                        "policy": company.policy.source.digest,
                        "rows": detail.traces[request],
                    },
                )
                for request in detail.requests
            ]
        )
        requests.close(
            company,
            act,
            {request: {"rows": sum(detail.traces[request].values())} for request in detail.requests},
        )


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


def _data_of(walk: Walk) -> dict[str, dict[str, tuple[str, ...]]]:
    """Which data each column of each table holds."""
    found: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for stop in walk.stops[: walk.own]:
        for column, names in stop.columns.items():
            known = found[stop.table].get(column, ())
            found[stop.table][column] = tuple(dict.fromkeys((*known, *names)))
    return found


def unreached(company: Company, kinds: Iterable[str]) -> list[str]:
    """Every declared place with data of these kinds that a request can't reach, and whatever the map is wrong about."""
    missing = [reason for kind in kinds for reason in company.out_of_reach(kind)]
    missing += [problem.message for problem in company.map.problems if problem.severity == "error"]
    return list(dict.fromkeys(missing))


def check(company: Company, people: Sequence[Person]) -> None:
    """Refuse a request that can't be answered in full, naming every declared place that can't be reached."""
    missing = unreached(company, dict.fromkeys(person.kind for person in people))
    if missing:
        raise TerminalError(
            "the request can't be carried out in full: " + "; ".join(missing),
            help="connect the store, or declare the data where it can be reached; until then the request stays open",
        )
