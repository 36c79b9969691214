"""How people are asked: by region, by what waits for their yes, whom, and whether to ask at all (or again)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol, cast

from kept.controls.choices import floor as floors
from kept.controls.choices.declare import Choice
from kept.controls.choices.floor import choices_before, data_of, in_browsers, values_in, waiting
from kept.controls.collection.declare import Collecting
from kept.controls.disclosure.declare import Disclosure
from kept.controls.purposes.declare import Purpose
from kept.laws.choices import ASKS, asks_again
from kept.laws.choices import Ask as Ask
from kept.policy import words
from kept.policy.conditions import Conditional
from kept.policy.facts import Data
from kept.policy.policy import Policy

LATER: Final = timedelta(days=1)  # who put the question off is asked on the next visit after this
CONFIRMING: Final = timedelta(hours=72)  # the longest a link for the second yes works; then it is asked again

ASKED: Final[tuple[Ask, ...]] = ("double-opt-in", "opt-in")  # the ways that wait for a yes


class Stands(Protocol):
    """The event in force: a state of `records.states`, and when it came about (UTC)."""

    @property
    def state(self) -> str: ...
    @property
    def at(self) -> datetime: ...


@dataclass(frozen=True)
class Served:
    """What waits for a yes: nothing of it happens without."""

    purposes: tuple[Purpose, ...] = ()
    collections: tuple[Collecting, ...] = ()
    disclosures: tuple[Disclosure, ...] = ()


@dataclass(frozen=True)
class InBrowser:
    """What may not be in a browser, or be reached from it, before a yes. Patterns as the file writes them: `_ga*`."""

    cookies: tuple[str, ...] = ()
    storage: tuple[str, ...] = ()
    beacons: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.cookies or self.storage or self.beacons or self.hosts)


def ask_of(policy: Policy, choice: Choice, region: str | None, *, age: int | None = None) -> Ask:
    """How a choice is asked in a region: the file's word for it, and never laxer than the law's.

    `region` as the policy language writes it (`eea`, `fr`, `us-ca`); None, or another word, is a region that isn't
    known: the strictest way anywhere. `age` in years, where it is known: the law of California asks minors otherwise.
    """
    by_file = cast(tuple[Ask, ...], values_in(choice.ask, region))
    return _strictest((*by_file, floor(policy, choice, region, age=age)))


def floor(policy: Policy, choice: Choice, region: str | None, *, age: int | None = None) -> Ask:
    """The laxest way of asking that the laws of a region allow for a choice; `notice` where none asks for more."""
    least = floors.floor(policy, choice, _known(region), age=age)
    return "notice" if least is None else least.ask


def choices_of(policy: Policy, kind: str) -> list[Choice]:
    """The choices about people of a kind, in the order of the file: its own, and those of what it is.

    A `minor` who is a `member` has both; a member has those of members alone, and a minor's only as one. An end stands
    for its kind: any member may be a buyer. Where `by` is set another than they switches it.
    """
    theirs = set(policy.chain(kind))
    return [
        choice
        for choice in policy.section("choices").values()
        if isinstance(choice, Choice) and any(policy.kind_of(who) in theirs for who in choice.of)
    ]


def visitor_kind(policy: Policy) -> str | None:
    """The kind of those who browse without saying who they are; None where a policy has none, the first where several.

    A kind with a table of its own, known by nothing, of whom a browser keeps something.
    """
    in_browser = [data for data in policy.data.values() if in_browsers(policy, data)]
    for kind in policy.people.values():
        if (
            kind.table is not None
            and not kind.known_by
            and not kind.is_organisation
            and any(policy.related(owner, kind.name) for data in in_browser for owner in policy.owners(data))
        ):
            return str(kind.name)
    return None


def served(policy: Policy, choice: Choice) -> Served:
    """What waits for a yes: by name, through the purpose a disclosure is for, or all there is for who `covers` it."""
    promises = list(waiting(policy, choice))
    return Served(
        tuple(one for one in promises if isinstance(one, Purpose)),
        tuple(one for one in promises if isinstance(one, Collecting)),
        tuple(one for one in promises if isinstance(one, Disclosure)),
    )


def in_browser(policy: Policy, choice: Choice) -> InBrowser:
    """The cookies, storage, beacons and hosts that wait for a yes.

    Not what the service sets anyway: a session that a collection without a choice takes doesn't wait, though a purpose
    with a choice uses it too; nor does the host of a party that gets other data without one. What waits for several
    choices is listed under each of them, and needs every one. A permission that covers everything is no matter of
    browsers, which don't know whose it is.
    """
    kept: dict[str, list[str]] = {"cookie": [], "storage": [], "beacon": []}
    for data in policy.data.values():
        if choice.name in _choices_for(policy, data):
            for table in in_browsers(policy, data):
                kept[table.partition(".")[2]] += map(str, data.tables[table])
    cookies, storage, beacons = (tuple(dict.fromkeys(patterns)) for patterns in kept.values())
    return InBrowser(cookies, storage, beacons, _hosts(policy, choice))


def must_ask(
    policy: Policy, choice: Choice, region: str | None, event: Stands | None, now: datetime, *, grown: bool
) -> bool:
    """Whether somebody is asked now. `event` is the one in force for them, None where there is none.

    `grown`: the choice is about more than when they answered (`meaning.grew`). Where silence is taken for a yes nobody
    is asked, only told (`must_tell`). Who said yes is asked again for more only; who said no for more only, and when
    as long has passed as the law says, six months at least; a new wording asks nobody.
    """
    way = ask_of(policy, choice, region)
    if way not in ASKED:
        return False
    if event is None:
        return True
    match event.state:
        case "Given" | "RenewedGiven" | "Revoked":
            return grown
        case "Refused" | "Withdrawn":
            return grown and now >= may_ask_again(policy, region, event.at)
        case "RequestDeferred":
            return now - event.at >= LATER
        case "Requested":  # under double opt-in a yes that isn't confirmed yet; else shown, and not answered
            return way == "opt-in" or now - event.at >= CONFIRMING
    return True  # a yes that lapsed or was none, or a state nobody knows


def must_tell(policy: Policy, choice: Choice, region: str | None, event: Stands | None) -> bool:
    """Whether somebody is told, once, of what is on until they say no, or simply done."""
    return ask_of(policy, choice, region) not in ASKED and event is None


def may_ask_again(policy: Policy, region: str | None, refused: datetime) -> datetime:
    """From when (UTC) somebody who said no may be asked again, if there is something new to ask."""
    return asks_again(policy.laws, _known(region)).after.end(refused, policy.timezone)


def _strictest(asks: Sequence[Ask]) -> Ask:
    return min(asks, key=ASKS.index)


def _known(region: str | None) -> str | None:
    return region if region in words.regions() else None


def _choices_for(policy: Policy, data: Data) -> set[str]:
    """The choices that data waits for: of all that take it, if none takes it without; else of all that use it."""
    for section in ("collection", "purposes"):
        promises = [
            promise
            for promise in policy.section(section).values()
            if isinstance(promise, Conditional) and data.name in data_of(promise)
        ]
        if promises and all(promise.choice for promise in promises):
            return {str(name) for promise in promises for name in promise.choice}
    return set()


def _hosts(policy: Policy, choice: Choice) -> tuple[str, ...]:
    """The hosts of parties that get nothing without a choice, and something with this one."""
    waits: dict[str, set[str]] = {}
    free: set[str] = set()
    for promise in policy.section("disclosure").values():
        if isinstance(promise, Disclosure):
            names = {str(name) for name in choices_before(policy, promise)}
            for to in promise.to:
                waits.setdefault(str(to), set()).update(names)
                if not names:
                    free.add(str(to))
    return tuple(
        dict.fromkeys(
            str(host)
            for party in policy.parties.values()
            if choice.name in waits.get(party.name, ()) and party.name not in free
            for host in party.hosts
        )
    )
