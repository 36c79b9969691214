"""Gives a party what the policy says it gets, and nothing else; what is given stands on the register before it goes.

    disclose(company, "couriers", [Person("member", ("17",))], purpose="delivery")
    disclose(company, "authorities", people, purpose="legal-demands", evidence={"document": "order 5"}, by="trust:2")

Without `records` the values are read from the stores; with them they are stripped to the declared columns. Sale is
refused, always; so is a recipient, a purpose or data that isn't declared, a lapsed agreement, a safeguard that fell.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from kept.company import Company
from kept.controls.choices.deciding import NONE, Basis, Decision
from kept.controls.collection.gate.fields import Fields
from kept.controls.conditions import VERIFIED
from kept.controls.disclosure import conditions, declared, gathered, payload, register, telling
from kept.controls.disclosure.declare import Disclosure
from kept.controls.disclosure.papers import lacking
from kept.controls.disclosure.payload import Record, Stripped
from kept.controls.disclosure.recipients import party_of
from kept.controls.purposes.cases.opening import is_name
from kept.controls.purposes.declare import Purpose
from kept.controls.purposes.enforce import By, Gate, is_role
from kept.controls.refused import Refused
from kept.controls.rights.people import Person
from kept.errors import TransientError
from kept.policy.facts import Party
from kept.policy.policy import Policy
from kept.policy.words import NEEDS

WORDS: Final = 2000  # characters of one piece of evidence
NO_EVIDENCE: Final[Mapping[str, str]] = {}


@dataclass(frozen=True)
class Disclosed:
    """What may go now, and is on record: the records of those who may be given, stripped to what is declared.

    `stripped` are the fields that were taken out, `refused` the people who weren't given, each with the reason.
    `again`: this call, by its key, was on record before.
    """

    id: str
    disclosure: str
    recipient: str
    purpose: str
    safeguard: str | None
    records: Mapping[Person, Record] = field(repr=False)  # whoever logs it logs nobody
    stripped: tuple[str, ...]
    refused: Mapping[Person, Decision]
    clause: tuple[str, ...] = ()
    again: bool = False
    columns: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Way:
    """A declared way out: the disclosure, the party it goes to, the purpose, the data of it."""

    disclosure: Disclosure
    party: Party
    purpose: Purpose
    data: tuple[str, ...]

    def gave(self, policy: Policy, columns: frozenset[str]) -> tuple[str, ...]:
        """The data that some columns (`store.table.column`) are of."""
        tables = {name: policy.data[name].tables.items() for name in self.data}
        return tuple(
            name
            for name, places in tables.items()
            if any(fnmatchcase(at, f"{table}.{c}") for table, held in places for c in held for at in columns)
        )


def disclose(
    company: Company,
    recipient: str,
    people: Sequence[Person],
    *,
    purpose: str | None = None,
    disclosure: str | None = None,
    data: Sequence[str] | None = None,
    records: Mapping[Person, Record] | None = None,
    by: str | None = None,
    case: str | None = None,
    evidence: Mapping[str, str] = NO_EVIDENCE,
    signals: frozenset[str] = NONE,
    key: str | None = None,
    way: str = "call",
    in_return: str | None = None,
) -> Disclosed:
    """Give a party the data of people, for a purpose; on register and ledger when it returns.

    `evidence` are the words for what is needed (`document`, `reason`, `agreement` …), `by` and `case` who asks and why,
    `key` the caller's own: the same call again, in the same `way`, is one disclosure. `in_return` is whatever the
    recipient gives for it: anything makes it a sale.

    What Kept has to read itself is decided anew once it is read. Refused where it isn't declared, or nobody of the
    people may be given; TransientError where nobody can tell; then nothing is on record, and nothing may leave.
    """
    found = planned(
        company,
        recipient,
        purpose=purpose,
        disclosure=disclosure,
        data=data,
        evidence=evidence,
        by=by,
        in_return=in_return,
    )
    whos = tuple(dict.fromkeys(people))
    if not whos:
        raise Refused("nobody", "nobody is named", help="say whose data it is")
    if records is not None and set(records) != set(whos):
        raise Refused(
            "people", "the records aren't those of the people named", help="one record for each person"
        )
    allowed, bases, refused = _decided(
        company, found, whos, by=by, case=case, signals=signals, evidence=evidence
    )
    given, columns, out = _records(company, found, allowed, records, refused)
    if records is None and given:  # reading took its time: whoever said no meanwhile isn't given
        late = decisions(company, found, list(given), by=by, case=case, signals=signals, evidence=evidence)
        refused |= late
        given = {who: record for who, record in given.items() if who not in late}
    if not given:
        why = next(iter(refused.values()))
        if why.unsure:
            raise TransientError(why.reason)
        clause = dict.fromkeys(map(str, (*found.disclosure.clause, *why.clause)))
        raise Refused(why.rule or "choice", why.reason, clause=clause)
    call = company.keys.index(f"disclosure\n{key}") if key is not None else uuid.uuid4().hex
    pseudonyms = company.pseudonyms.of([str(who) for who in given])
    asker = _asker(company, by)
    again = register.enter(
        company,
        [
            register.Entry(
                str(found.disclosure.name),
                str(found.party.name),
                str(found.purpose.name),
                declared.ground_of(found.purpose, bases[who].facts.region),
                tuple(sorted(columns[who])),
                way,
                call,
                pseudonyms[str(who)],
                safeguard=str(found.party.safeguard) if found.party.safeguard else None,
                evidence=evidence,
                by=asker,
                digest=_digest(company, found, record, way, evidence) if key is not None else None,
            )
            for who, record in given.items()
        ],
        telling.letters(
            company,
            found.disclosure,
            found.party,
            call,
            {who: found.gave(company.policy, columns[who]) for who in given},
        ),
    )
    return Disclosed(
        call,
        str(found.disclosure.name),
        str(found.party.name),
        str(found.purpose.name),
        str(found.party.safeguard) if found.party.safeguard else None,
        given,
        out,
        refused,
        tuple(map(str, found.disclosure.clause)),
        again,
        tuple(sorted({column for one in columns.values() for column in one})),
    )


def planned(
    company: Company,
    recipient: str,
    *,
    purpose: str | None = None,
    disclosure: str | None = None,
    data: Sequence[str] | None = None,
    evidence: Mapping[str, str] = NO_EVIDENCE,
    by: str | None = None,
    in_return: str | None = None,
) -> Way:
    """The declared way out that is meant, all of it in force today; Refused where there is none. Nobody is looked at,
    and nothing is written."""
    policy = company.policy
    declared.refuse_sale(policy, purpose, in_return)
    party = party_of(policy, recipient)
    promise = declared.declared(policy, party, purpose, disclosure)
    declared.refuse_sold(policy, promise, party)
    use = policy.section("purposes").get(str(promise.purpose))
    if not isinstance(use, Purpose):
        raise Refused("purpose", "what it is for is no declared use", clause=promise.clause)
    today = company.clock().astimezone(policy.timezone).date()
    for lack in lacking(policy, party, today):
        if lack.forbids:
            raise Refused(
                lack.paper, f"{lack.says}: nothing is given to it", clause=promise.clause, help=lack.law
            )
    if promise.groups or use.groups:
        floor = max(promise.groups or 0, use.groups or 0)
        why = f"`{promise.name}` gives groups of {floor} or more, and nobody's own data"
        raise Refused(
            "groups", why, clause=promise.clause, help="give an answer about groups, or a checked export"
        )
    _evidence(promise, use, party, evidence)
    if by is not None and not _is_asker(policy, by):
        raise Refused("by", "it is asked for by nobody the policy knows", clause=promise.clause)
    return Way(promise, party, use, declared.data_of(promise, data))


def trial(company: Company, found: Way, record: Record) -> Stripped:
    """What would be left of a record, whoever's it is: for a dry run and for measuring. Nothing is written."""
    return payload.strip(may_go(company, found.disclosure, found.data), record)


def decisions(
    company: Company,
    found: Way,
    people: Sequence[Person],
    *,
    by: str | None = None,
    case: str | None = None,
    signals: frozenset[str] = NONE,
    evidence: Mapping[str, str] = NO_EVIDENCE,
) -> Mapping[Person, Decision]:
    """Whom it would refuse and why, for a dry run. Nothing is written."""
    return _decided(company, found, people, by=by, case=case, signals=signals, evidence=evidence)[2]


def _evidence(promise: Disclosure, use: Purpose, party: Party, evidence: Mapping[str, str]) -> None:
    strange = [word for word in evidence if word not in NEEDS or word in VERIFIED]
    if strange:  # what was verified of somebody is looked up, of themselves: nobody's word stands for it
        help = f"evidence is one of {', '.join(word for word in NEEDS if word not in VERIFIED)}"
        raise Refused("evidence", "that is no kind of evidence", clause=promise.clause, help=help)
    if any(len(text) > WORDS for text in evidence.values()):
        why = f"a piece of evidence has at most {WORDS} characters"
        raise Refused("evidence", why, clause=promise.clause)
    for need in declared.needs(promise, use, party):
        # What no reader could see, or could read, is nothing said.
        if need not in VERIFIED and not any(map(str.isalnum, evidence.get(need, ""))):
            why = f"`{promise.name}` needs {'an' if need[0] in 'ao' else 'a'} {need.replace('-', ' ')}"
            help = f"say it, as evidence: {need}=…"
            raise Refused(need, why, clause=promise.clause, help=help)


def _is_asker(policy: Policy, by: str) -> bool:
    """Whether somebody the policy knows asks: `ROLE`, or `ROLE:KEY` with a key that can name them on the register."""
    asking = By.of(by)
    return is_role(policy, asking.role) and (asking.key is None or is_name(asking.key))


def _asker(company: Company, by: str | None) -> str | None:
    """Who asks, as the register has it: staff by their key, anybody else by a pseudonym."""
    asking, policy = By.of(by or ""), company.policy
    if by is None or asking.key is None or policy.is_staff(asking.role):
        return by
    root = policy.root(policy.kind_of(asking.role) or asking.role)
    who = f"{root.name if root is not None else asking.role}:{asking.key}"
    return f"{asking.role}:{company.pseudonyms.of([who])[who]}"


def _decided(
    company: Company,
    found: Way,
    people: Sequence[Person],
    *,
    by: str | None,
    case: str | None,
    signals: frozenset[str],
    evidence: Mapping[str, str],
) -> tuple[dict[Person, Fields], Mapping[Person, Basis], dict[Person, Decision]]:
    """Whom it may be given of, with the columns; what is known of them; the others, each with the reason."""
    gate, purpose = Gate.of(company), str(found.purpose.name)
    bases = gate.choices.bases(people)
    if isinstance(bases, Decision):
        raise TransientError(bases.reason)
    use = gate.uses.find(purpose, found.data)
    if not isinstance(use, Decision) and use.alone and not signals and by is None:
        decided: Mapping[Person, Decision] = gate.decide_all(purpose, people, found.data)
    else:
        decided = {
            who: gate.decide(
                purpose, found.data, person=who, by=by, case=case, signals=signals, evidence=evidence
            )
            for who in people
        }
    own = conditions.has_own(found.disclosure)
    allowed: dict[Person, Fields] = {}
    refused: dict[Person, Decision] = {}
    known: dict[frozenset[str], Fields] = {}
    for who, one in decided.items():
        why = one if not one.allowed else None
        if why is None and own:
            why = conditions.why_not(
                company,
                found.disclosure,
                who,
                bases[who],
                by=by,
                case=case,
                signals=signals,
                evidence=evidence,
            )
        if why is not None:
            refused[who] = why
            continue
        as_is = frozenset(column for column, how in one.fields.items() if how == "as is")
        if as_is not in known:
            known[as_is] = payload.fields(company.policy, found.disclosure, found.data, as_is)
        allowed[who] = known[as_is]
    return allowed, bases, refused


def _records(
    company: Company,
    found: Way,
    allowed: Mapping[Person, Fields],
    records: Mapping[Person, Record] | None,
    refused: dict[Person, Decision],
) -> tuple[dict[Person, Record], dict[Person, frozenset[str]], tuple[str, ...]]:
    """The stripped records of those who may be given; whoever has nothing left, or another's values, is refused."""
    given: dict[Person, Record] = {}
    columns: dict[Person, frozenset[str]] = {}
    out: dict[str, None] = {}
    clause = tuple(map(str, found.disclosure.clause))
    own = records is None  # read from the stores, where a column of theirs may name somebody else
    if records is None:
        by_fields: dict[Fields, list[Person]] = {}
        for who, fields in allowed.items():
            by_fields.setdefault(fields, []).append(who)
        records = {
            who: record
            for fields, whos in by_fields.items()
            for who, record in gathered.gather(
                company, whos, str(found.purpose.name), found.data, fields
            ).items()
        }
    left = {who: payload.strip(fields, records[who]) for who, fields in allowed.items()}
    at = {who: one.at for who, one in left.items()}
    wrong = gathered.others(company, at) | ({} if own else gathered.strangers(company, at))
    for who, column in wrong.items():
        why = f"{column} in the record isn't what this person has there"
        refused[who] = Decision(False, why, clause, rule="another")
    for who, one in left.items():
        out |= dict.fromkeys(one.taken_out)
        if who in refused:
            continue
        if one.columns:
            given[who], columns[who] = one.record, one.columns
        else:
            why = "nothing of the record is declared, or there is none"
            refused[who] = Decision(False, why, clause, rule="data")
    return given, columns, tuple(out)


def may_go(company: Company, disclosure: Disclosure, data: Sequence[str]) -> Fields:
    """The columns of data that a disclosure may give of anybody: those that its purpose sees as they are."""
    use = Gate.of(company).uses.find(str(disclosure.purpose), tuple(data))
    if isinstance(use, Decision):
        return Fields(())
    as_is = frozenset(column for column, how in use.allowed.fields.items() if how == "as is")
    return payload.fields(company.policy, disclosure, data, as_is)


def _digest(company: Company, found: Way, record: Record, way: str, evidence: Mapping[str, str]) -> str:
    """A keyed sum of what is given, in which way, on what evidence: a repetition has the same."""
    said: list[Any] = [str(found.disclosure.name), str(found.party.name), way, dict(evidence), dict(record)]
    text = json.dumps(said, sort_keys=True, default=str, ensure_ascii=False)
    return company.keys.mac("disclosure", text.encode("utf-8", "surrogatepass")).hex()
