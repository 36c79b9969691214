"""One right, killed at the Nth place of a kind and finished: what came of it must be what comes of it undisturbed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance import forked
from tests.acceptance.company import SiteLucent
from tests.acceptance.site import Site

MOST = 60  # places of a kind in one run; more than any has


@dataclass(frozen=True)
class Right:
    """A command to be killed: its words, and what has to have happened before it."""

    words: Callable[[Site], tuple[str, ...]]
    before: Callable[[Site], None] = lambda site: None
    waits: bool = False


def _asked(*words: str) -> Right:
    return Right(lambda site: ("request", words[0], "user:2", "--by", "tester", *words[1:]))


def _hidden(site: Site) -> None:
    assert site.kept("request", "erase", "user:2", "--by", "tester") == 0, forked.said(site.folder)
    assert site.state("SELECT awaits FROM requests") == [("period",)]


def _over(site: Site) -> None:
    _hidden(site)
    site.change("UPDATE requests SET until = '2020-01-01T00:00:00+00:00'")


def _the_request(site: Site) -> str:
    [(id,)] = site.state("SELECT id FROM requests")
    return str(id)


RIGHTS: Mapping[str, Right] = {
    "access": _asked("access"),
    "export": _asked("export"),
    "correct": _asked("correct", "--set", "app.users.first_name=Corrected"),
    "erase": _asked("erase"),
    "restrict": _asked("restrict"),
    "object": _asked("object"),
    "hide": Right(_asked("erase").words, waits=True),
    "come back": Right(lambda site: ("request", "undo", _the_request(site)), _hidden, waits=True),
    "end of the period": Right(lambda site: ("work",), _over, waits=True),
}


@dataclass(frozen=True)
class Start:
    """Where every run of one right begins, and all that one undisturbed run of it does."""

    site: Site
    right: Right
    undisturbed: Mapping[str, object]

    @classmethod
    def made(cls, site: Site, right: Right, folder: Path) -> Start:
        """Bring a site to where the right begins, and carry it out once on a copy."""
        right.before(site)
        with site.copied(folder / "undisturbed") as copy:
            assert copy.kept(*right.words(copy)) == 0, forked.said(copy.folder)
            copy.finish()
            return cls(site, right, copy.outcome())

    def survives(self, folder: Path, spot: str, number: int) -> bool:
        """Kill at a place, finish, compare; False when there was no such place any more."""
        people = self.site.people()
        with self.site.copied(folder) as copy:
            words = self.right.words(copy)
            killed = copy.crash(spot, number, *words)
            now = copy.people()
            assert {user: now.get(user) for user in people if user != 2} == {
                user: rows for user, rows in people.items() if user != 2
            }
            after = self.undisturbed["people"]
            assert isinstance(after, dict)
            assert now.get(2) in (people.get(2), after.get(2)), f"half changed: {spot} {number}"
            copy.finish()
            if words[0] == "request" and self._unheard(copy):
                copy.kept(
                    *words
                )  # killed before it was received: whoever asked has no answer, and asks again
                copy.finish()
            found = copy.outcome()
            for what, expected in self.undisturbed.items():
                assert found[what] == expected, (what, spot, number, forked.said(copy.folder))
        return killed

    def _unheard(self, copy: Site) -> bool:
        if self.right.words(copy)[1] == "undo":
            return copy.state("SELECT count(*) FROM requests WHERE state = 'open'") == [(1,)]
        return copy.state("SELECT count(*) FROM requests") == [(0,)]

    def places(self, folder: Path, spot: str) -> int:
        """Kill at every place of a kind; how many there were."""
        for number in range(1, MOST):
            if not self.survives(folder / f"{number}", spot, number):
                return number - 1
        raise AssertionError("the run never ended by itself")


def sweeps(planted: SiteLucent, folder: Path, spot: str) -> int:
    """Kill a sweep at every place of a kind, finish it, and hold the ledger to the rows; how many places there were."""
    due = _past(planted)
    assert set(due) == {"app.users", "app.usage_events"} and all(due.values())
    for number in range(1, MOST):
        company = planted.copied(folder / f"{number}")
        code = forked.ended(forked.start(company.folder, "sweep", spot=spot, number=number))
        assert code in (0, 1, -9), forked.said(company.folder)
        assert forked.ended(forked.start(company.folder, "sweep")) == 0, forked.said(company.folder)
        entries = company.ledger("sweep")
        assert sorted(entry["place"] for entry in entries) == ["app.usage_events", "app.users"]
        assert {entry["place"]: entry["rows"] for entry in entries} == due, (spot, number)
        if code != -9:
            assert not any(_past(company).values())
            return number - 1
    raise AssertionError("the run never ended by itself")


def _past(company: SiteLucent) -> dict[str, int]:
    """Rows past their limit, by the dry run's exact count."""
    swept = company.kept("sweep", "--dry-run", "--format", "json").json()["swept"]
    return {line["place"]: line["rows"] for line in swept}
