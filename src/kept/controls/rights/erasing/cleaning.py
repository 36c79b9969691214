"""Making what erasures deleted unreadable: in the files of the stores, in answers given before, in Kept's own.

It reads whole databases, however few people it is for; so erasures wait for it, and one pass is for all that wait.
What is looked for are the values by which people were known, noted before their rows went. A value that somebody else
rightly has proves nothing, so those are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import URL, make_url

from kept.company import Company
from kept.controls.retention.holds import not_past
from kept.controls.rights import register
from kept.controls.rights.answers import answer, given
from kept.controls.rights.batches import Batches, Detail
from kept.controls.rights.erasing import closing, prints
from kept.controls.rights.erasing.chance import telling
from kept.controls.rights.erasing.prints import HELD, Remains
from kept.controls.rights.erasing.scope import erasure, held_data
from kept.controls.rights.people import Person
from kept.controls.rights.places import refuse_unreached
from kept.errors import KeptError, TransientError
from kept.stores.erasing.leftovers import SEARCHED
from kept.stores.erasing.remains import (
    Fingerprint,
    bounded,
    contained,
    emails_there,
    living,
    otherwise_written,
)
from kept.stores.erasing.remains import look as look_at
from kept.stores.opening import open_store
from kept.stores.physical.files import CannotLook, Trace, scrub, search, search_files
from kept.stores.walk import Erasure

FILES = 1 << 30  # bytes of content and log that values are looked for in, of a store; more changes little
WAIT = 600.0  # seconds somebody waits for another worker to end a pass
MOST = 20_000  # people in one pass, for their values stand in memory


def clean(company: Company, batches: Batches, *, wait: bool) -> dict[str, KeptError]:
    """Make clean for every act that awaits it, and close those of which nothing can be read; why the others can't be.

    One worker at a time, for each would see the other's rewriting of tables and log. With `wait` its end is awaited.
    """
    wrong: dict[str, KeptError] = {}
    with company.state.claim("clean", wait=wait, seconds=WAIT) as alone:
        waiting = batches.awaiting_clean() if alone else {}
        for acts in _portions(waiting):
            ids = [id for detail in acts.values() for id in detail.requests]
            asked = {request.id: request for request in register.of_ids(company, ids)}
            one = Cleaning(company, batches, acts, asked)
            one.run()
            closing.close(company, batches, one.acts, asked, one.unseen)
            for act, why in one.wrong.items():
                batches.failed(act, why)
            wrong |= one.wrong
    return wrong


def _portions(acts: Mapping[str, Detail]) -> Iterable[dict[str, Detail]]:
    portion: dict[str, Detail] = {}
    people = 0
    for act, detail in acts.items():
        if portion and people + len(detail.requests) > MOST:
            yield portion
            portion, people = {}, 0
        portion[act] = detail
        people += len(detail.requests)
    if portion:
        yield portion


@dataclass
class _Asked:
    """What is looked for in the files of one store: by kind and sort; the acts that ask for each value; by act, all."""

    by_kind: dict[str, Fingerprint] = field(default_factory=dict)
    acts: dict[str, set[str]] = field(default_factory=dict)
    values: dict[str, set[str]] = field(default_factory=dict)

    def points(self, value: str) -> bool:
        """Whether a value points at one person wherever it stands."""
        every = (one.values.get(sort, ()) for one in self.by_kind.values() for sort in SEARCHED)
        return any(value in values for values in every)


class Cleaning:
    """One pass: `acts` are those of which nothing was found so far, `wrong` says why others can't be closed."""

    def __init__(
        self,
        company: Company,
        batches: Batches,
        acts: Mapping[str, Detail],
        requests: Mapping[str, register.Request],
    ) -> None:
        self.company = company
        self.batches = batches
        self.acts = dict(acts)
        self.requests = requests
        self.wrong: dict[str, KeptError] = {}
        self.unseen: str | None = None  # why nobody may look into the files of Kept's own state
        self._asked: dict[str, _Asked] = {}

    def run(self) -> None:
        for act, detail in list(self.acts.items()):
            with _Stopping(self, [act]):
                self._refuse_unseen(detail)
        for store in self.company.stores:
            acts = [act for act, detail in self.acts.items() if self._kinds(detail, store)]
            with _Stopping(self, acts):
                self._look_again(store, [act for act in acts if act in self.acts])
                self._scrub(store)
        with _Stopping(self, list(self.acts)):
            self._end_parts()
            self._remove_answers()
            self._search_own()

    def stop(self, acts: Iterable[str], why: KeptError) -> None:
        """These acts can't be closed."""
        for act in acts:
            if self.acts.pop(act, None) is not None:
                self.wrong[act] = why

    def _refuse_unseen(self, detail: Detail) -> None:
        """Refuse to close what was never carried out: a database was silent when its rows had to go."""
        refuse_unreached(self.company, detail.people)
        for kind in detail.people:
            if self.company.map.walk(kind) is not None and kind not in detail.traces:
                raise TransientError(
                    f"nothing was noted of people of kind `{kind}`, so their rows may be there"
                )

    def _kinds(self, detail: Detail, store: str) -> list[str]:
        """The kinds of an act's people that stand in a SQL store."""
        walks = {kind: self.company.map.walk(kind) for kind in detail.people}
        return [kind for kind, walk in walks.items() if walk is not None and walk.store == store]

    # The stores.

    def _look_again(self, store: str, acts: Sequence[str]) -> None:
        """Look once more, for hours may lie between an erasure and this: rows may have come, a hold may have ended.

        Also for addresses in other capitals, which reads whole tables. Where anything is found of all together, each
        act it may concern is asked by itself, and what is found of it is erased anew.
        """
        people = [person for act in acts for person in self.acts[act].persons()]
        held = held_data(self.company, people)
        groups: dict[tuple[str, tuple[str, ...], bool], dict[str, list[tuple[str, ...]]]] = {}
        for act in acts:
            detail = self.acts[act]
            for kind in self._kinds(detail, store):
                for key in detail.people[kind]:
                    data = (
                        held.get(Person(kind, key), ()) if not detail.waited else detail.traces.get(HELD, ())
                    )
                    group = groups.setdefault((kind, tuple(data), detail.waited), {})
                    group.setdefault(act, []).append(key)
        for (kind, data, waited), by_act in groups.items():
            meant = erasure(self.company, kind, data)
            if waited:
                # what a hold kept when the person was hidden goes by itself (`again.holds_that_ended`)
                meant = replace(meant, holds=not_past(meant.holds))
            going = {act: keys for act, keys in by_act.items() if act in self.acts}
            every = [key for keys in going.values() for key in keys]
            noted = {act: prints.of(self.acts[act], kind) for act in going}
            together = _together(noted.values())
            there = emails_there(self.company.stores[store], meant.walk, together)
            anything = look_at(self.company.stores[store], meant, every, together)
            for act, keys in going.items():
                looks = [look_at] if anything else []
                looks += [otherwise_written] if there & noted[act].values.get("email", frozenset()) else []
                for look in looks:
                    with _Stopping(self, [act]):
                        self._refuse_found(self.acts[act], kind, meant, keys, look)
                    if act not in self.acts:
                        break

    def _refuse_found(
        self, detail: Detail, kind: str, meant: Erasure, keys: Sequence[tuple[str, ...]], look: prints.Look
    ) -> None:
        try:
            prints.refuse_found(self.company, detail, kind, meant, look, keys=keys)
        except Remains as found:
            if look is otherwise_written or detail.waited:
                raise  # only staff can tell whose these are
            raise TransientError(
                f"{found.message}; what came there since is erased too", where=found.where
            ) from None

    def _scrub(self, store: str) -> None:
        """Make what was deleted unreadable in a store's files; nothing of these people alone may be left in them."""
        asked = self._asked[store] = self._values(store)
        if not asked.by_kind:
            return
        walks = [self.company.walk(kind) for kind in asked.by_kind]
        tables = sorted({table for walk in walks for table in walk.own_tables()})
        there = scrub(self.company.stores[store], tables, asked.acts)
        if there and not isinstance(there, CannotLook):
            # not only looked for: the tables they were just compared in may have left samples and log behind
            found = {value for trace in there for value in trace.values}
            alone = self._alone(store, found)
            # what points at one person may stand inside somebody's longer address, and elsewhere by itself
            beside = {
                form: value for value in found - alone if asked.points(value) for form in bounded(value)
            }
            there = scrub(self.company.stores[store], [], alone | beside.keys())
            if not isinstance(there, CannotLook):
                there = [
                    replace(trace, values=frozenset(beside.get(value, value) for value in trace.values))
                    for trace in there
                ]
        if isinstance(there, CannotLook):
            raise Remains(
                f"the rows are gone, but nobody can say whether files still hold the person: {there.reason}",
                help="grant it, then run `kept work`",
                where=store,
            )
        self._stop_found(
            there,
            "the rows are gone, but files still hold the person",
            "see what else keeps it there, then run `kept work`",
            store,
        )

    def _values(self, store: str) -> _Asked:
        """The values to look for in files: long enough, and found in no row that stays (somebody's, or held)."""
        asked = _Asked()
        for kind in dict.fromkeys(k for detail in self.acts.values() for k in self._kinds(detail, store)):
            noted = {
                act: _in_small_letters(prints.of(detail, kind))
                for act, detail in self.acts.items()
                if kind in detail.people
            }
            together = asked.by_kind[kind] = _together(noted.values())
            alive = living(self.company.stores[store], self.company.walk(kind), together)
            for act, found in noted.items():
                own = asked.values.setdefault(act, set())
                own |= {value for values in found.values.values() for value in values} - alive
        for act, values in asked.values.items():
            # by act: what is looked for of one doesn't depend on the others
            for value in telling(values, FILES):
                asked.acts.setdefault(value, set()).add(act)
        return asked

    def _alone(self, store: str, values: Collection[str]) -> set[str]:
        """Those of the values that stand inside no longer one that stays: files can't tell `Maria` from `Mariana`.

        Reads every declared table, so it is asked only when something was found.
        """
        left = set(values)
        for kind, together in self._asked[store].by_kind.items():
            left -= contained(self.company.stores[store], self.company.walk(kind), together.only(left))
        return left

    def _stop_found(self, there: Sequence[Trace], what: str, help: str | None, where: str | None) -> None:
        """Stop the acts whose people's values stand somewhere."""
        found: dict[str, dict[str, int]] = {}
        for trace in there:
            for act in {act for value in trace.values for act in self._acts_of(value)}:
                found.setdefault(act, {})[trace.where] = trace.count
        for act, places in found.items():
            told = ", ".join(f"{place} ({count} times)" for place, count in places.items())
            self.stop([act], Remains(f"{what}: {told}", help=help, where=where))

    # Outside the stores.

    def _end_parts(self) -> None:
        """See that no answer is being written that may have been collected before these people's rows went.

        What a crash cut short is removed, and made anew by whoever goes on with its act.
        """
        company = self.company
        parts = {path.stem: path for path in company.answers.glob("*.part")}
        for request in register.of_ids(company, list(parts)):
            with company.state.claim(request.act or request.id, wait=True) as mine:
                if not mine:
                    raise TransientError("an answer that may hold them is being written by another worker")
                parts[request.id].unlink(missing_ok=True)

    def _remove_answers(self) -> None:
        """Remove answers given before, which are copies of what is erased now, and remember which.

        Those given to these people go, and whoever else's answer that has a value of theirs in it; that person can ask
        again.
        """
        company = self.company
        paths = {path.stem: path for path in sorted(company.answers.glob("*.zip"))}
        if not paths:
            return
        act_of = {self.requests[id].pseudonym: act for act, d in self.acts.items() for id in d.requests}
        answered = given.answered(company, list(act_of))
        going = {request: {act_of[p]} for request, p in answered.items() if request in paths}
        sought = answer.Sought(self._wanted())
        holding = {r: sought.inside(path) for r, path in paths.items() if r not in answered}
        alone = self._narrowed({value for found in holding.values() for value in found})
        for request, found in holding.items():
            acts = {act for value in found & alone for act in self._acts_of(value)}
            going |= {request: acts} if acts else {}
        for act in {act for acts in going.values() for act in acts}:
            detail = self.acts[act]
            detail.answers = sorted({*detail.answers, *(r for r, acts in going.items() if act in acts)})
            self.batches.remember(act)  # before they go: a crash must not forget which
        for request in going:
            paths[request].unlink(missing_ok=True)

    def _search_own(self) -> None:
        """Look for the people in every file of Kept's own, and in its database, where it is another than the stores'.

        Nothing readable is ever written there, so a server whose files Kept's role may not read stops no erasure.
        """
        company = self.company
        company.state.checkpoint()
        stores = {path for store in company.stores.values() for path in store.files()}
        own = [path for path in company.directory.glob("*.sqlite*") if path.is_file() and path not in stores]
        size = sum(path.stat().st_size for path in own)
        there = search_files(own, self._telling(size))
        if there:
            there = search_files(own, self._narrowed({value for trace in there for value in trace.values}))
        if company.state.is_server and not self._searched(make_url(company.settings["KEPT_STATE_URL"])):
            found = self._search_state(self._telling(FILES))
            if isinstance(found, CannotLook):
                self.unseen = found.reason
            else:
                there += found
        self._stop_found(there, "the erased person's data can still be read in Kept's own files", None, None)

    def _searched(self, state: URL) -> bool:
        """Whether Kept's state stands in a database that was searched already, as a store's."""
        return any(_same(self.company.stores[store].engine.url, state) for store in self._asked)

    def _search_state(self, values: Sequence[str]) -> list[Trace] | CannotLook:
        state = open_store("kept", self.company.settings["KEPT_STATE_URL"])
        try:
            found = search(state, values)
            if found and not isinstance(found, CannotLook):
                alone = self._narrowed({value for trace in found for value in trace.values})
                found = scrub(state, [], alone)
            return found
        finally:
            state.dispose()

    # Whose a value is.

    def _wanted(self) -> list[str]:
        """Every value that is looked for, of acts that nothing was found of so far."""
        values = {value for asked in self._asked.values() for value in asked.acts}
        return sorted(value for value in values if self._acts_of(value))

    def _telling(self, size: int) -> list[str]:
        """Those of them that tell something in so many bytes of Kept's own, which are full of digests."""
        values = (asked.values.get(act, set()) for asked in self._asked.values() for act in self.acts)
        return sorted({value for found in values for value in telling(found, size, digests=True)})

    def _acts_of(self, value: str) -> set[str]:
        """The acts that nothing was found of so far, and that ask for a value."""
        return {
            act for asked in self._asked.values() for act in asked.acts.get(value, ()) if act in self.acts
        }

    def _narrowed(self, values: set[str]) -> set[str]:
        """Those of the values that stand inside no longer one that stays in the stores that asked for them."""
        asked = {store: values & one.acts.keys() for store, one in self._asked.items()}
        return {value for store, held in asked.items() if held for value in self._alone(store, held)}


class _Stopping:
    """What goes wrong inside stops these acts, and only them."""

    def __init__(self, cleaning: Cleaning, acts: Sequence[str]) -> None:
        self.cleaning = cleaning
        self.acts = acts

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, wrong: BaseException | None, __: object) -> bool:
        if not isinstance(wrong, KeptError):
            return False
        self.cleaning.stop(self.acts, wrong)
        return True


def _together(several: Iterable[Fingerprint]) -> Fingerprint:
    """The values of all."""
    found: dict[str, set[str]] = {}
    for one in several:
        for sort, values in one.values.items():
            found.setdefault(sort, set()).update(values)
    return Fingerprint({sort: frozenset(values) for sort, values in found.items()})


def _in_small_letters(found: Fingerprint) -> Fingerprint:
    """With each e-mail address in small letters too, as it is often written where nobody declared it."""
    emails = found.values.get("email", frozenset())
    return found | Fingerprint({"email": frozenset(value.lower() for value in emails)}) if emails else found


def _same(one: URL, other: URL) -> bool:
    """Whether two addresses surely name the same database."""
    return one.get_backend_name() == other.get_backend_name() == "postgresql" and (
        (one.host, one.port, one.database, one.query) == (other.host, other.port, other.database, other.query)
    )
