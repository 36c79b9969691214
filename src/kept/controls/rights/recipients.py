"""Whom a correction, an erasure or a restriction is told to: everybody the data was given to (GDPR Art. 19)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import select

from kept.company import Company
from kept.controls.disclosure.declare import Disclosure
from kept.controls.rights import tasks
from kept.controls.rights.batches import Detail
from kept.controls.rights.people import Person
from kept.mail.letter import Letter
from kept.policy.policy import Policy
from kept.policy.wording import data_words
from kept.state.database import insert
from kept.state.tables import told

VERBS = ("correct", "erase", "restrict")


@dataclass(frozen=True)
class Recipient:
    """A party that got data of a kind of people: by which disclosures, which data, and where it is written to.

    `store` is the store of theirs that Kept itself reaches: there the thing is done, and nothing has to be told.
    """

    party: str
    label: str
    data: tuple[str, ...]
    email: str | None
    store: str | None


def recipients(policy: Policy, kind: str, reached: Sequence[str]) -> tuple[Recipient, ...]:
    """The parties that the policy gives data of a kind to; `reached` are the stores a request gets to."""
    root = policy.root(kind)
    found: dict[str, list[str]] = {}
    for promise in policy.section("disclosure").values():
        if not isinstance(promise, Disclosure):
            continue
        given = [
            str(name)
            for name in promise.gives
            if name in policy.data
            and root is not None
            and any(
                (owner := policy.root(one)) is not None and owner.name == root.name
                for one in policy.owners(policy.data[name])
            )
        ]
        for to in promise.to if given else ():
            if to in policy.parties:
                found.setdefault(str(to), []).extend(given)
    parties = []
    for name, data in found.items():
        party = policy.parties[name]
        store = next((s for s in reached if policy.stores[s].party == name), None)
        email = next((contact["email"] for contact in party.contacts.values() if "email" in contact), None)
        parties.append(Recipient(name, party.label, tuple(dict.fromkeys(data)), email, store))
    return tuple(parties)


def note(company: Company, ids: Sequence[str], party: str, how: str, state: str) -> None:
    """Note that a party was told of requests; told again, the newer word stands."""
    at = company.clock().isoformat()
    rows = [{"request": id, "party": party, "how": how, "state": state, "at": at} for id in ids]
    with company.state.write() as connection:
        statement = insert(connection, told)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["request", "party"],
                set_={
                    "how": statement.excluded.how,
                    "state": statement.excluded.state,
                    "at": statement.excluded.at,
                },
            ),
            rows,
        )


def listing(company: Company, request: str) -> list[dict[str, str]]:
    """Who was told of a request, how, when, and whether they answered."""
    query = select(told.c.party, told.c.how, told.c.state, told.c.at).where(told.c.request == request)
    with company.state.read() as connection:
        return [dict(row._mapping) for row in connection.execute(query.order_by(told.c.at))]


def unwritable(company: Company, kind: str, reached: Sequence[str]) -> list[Recipient]:
    """The parties that only a member of staff can tell: no address is known, or the company has no mail server."""
    return [
        one
        for one in recipients(company.policy, kind, reached)
        if one.store is None and (one.email is None or not company.can_write)
    ]


def tell_all(
    company: Company,
    act: str,
    verb: str,
    detail: Detail,
    known: Mapping[str, str],
    reached: Callable[[str], Sequence[str]],
) -> None:
    """Tell everybody the data of an act's people was given to, once for each request.

    `known` is the address each person was known by to the others; `reached` answers the stores of a kind in which it
    was done already, whose parties needn't be told. Who can't be written to (`unwritable`) is a task of staff's.
    """
    at = 0
    for kind, keys in detail.people.items():
        whos = [str(Person(kind, key)) for key in keys]
        ids, at = detail.requests[at : at + len(keys)], at + len(keys)
        _tell(company, verb, kind, dict(zip(whos, ids, strict=True)), known, reached(kind))
        for recipient in unwritable(company, kind, reached(kind)):
            whom = [known.get(who, who) for who in whos]
            tasks.give(company, act, _task(recipient, kind), whom, verb, tasks.due(company, act))


def _tell(
    company: Company,
    verb: str,
    kind: str,
    ids: Mapping[str, str],
    known: Mapping[str, str],
    reached: Sequence[str],
) -> None:
    by_hand = {one.party for one in unwritable(company, kind, reached)}
    for recipient in recipients(company.policy, kind, reached):
        if recipient.store is not None:
            note(company, list(ids.values()), recipient.party, "store", "done")
        elif recipient.party in by_hand:
            note(company, list(ids.values()), recipient.party, "by hand", "to do")
        else:
            assert recipient.email is not None
            for who, id in ids.items():
                text = _text(company, verb, recipient, known.get(who, who), id)
                letter = Letter(recipient.email, f"{company.policy.name}: a person's data", text)
                company.outbox.put("told", letter, id, id=_letter(id, recipient.party))
            note(company, list(ids.values()), recipient.party, "letter", "sent")


def _task(recipient: Recipient, kind: str) -> str:
    """The place of the task to tell a party of people of a kind."""
    return f"tell {recipient.party} ({kind})"


def told_by_hand(company: Company, ids: Sequence[str], place: str) -> None:
    """A member of staff told a party, as a task asked them to."""
    party = place.removeprefix("tell ").partition(" (")[0]
    if place.startswith("tell ") and party in company.policy.parties:
        note(company, ids, party, "by hand", "done")


def _letter(request: str, party: str) -> str:
    """The id of the letter to a party about a request: the same however often it is put into the outbox."""
    return sha256(f"{request} {party}".encode()).hexdigest()[:40]


def _text(company: Company, verb: str, recipient: Recipient, who: str, id: str) -> str:
    what = {"erase": "erased", "correct": "corrected", "restrict": "restricted in its use"}[verb]
    data = data_words(company.policy, [company.policy.data[name].name for name in recipient.data])
    return (
        f"You got {data} of a person from us. It is {what} here, and we ask you to do the same (GDPR Art. 19).\n\n"
        f"Person: {who}\nRequest: {id}\n\n{company.policy.name}\n"
    )
