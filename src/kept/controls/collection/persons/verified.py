"""What was verified of somebody before something is taken of them: their e-mail address, their number, who they are.

Somebody who has no account yet is verified under a claim: 32 hex digits that the application keeps in the session,
hands over with the form (`evidence`), and binds to the person once there is one. Of an address only a keyed hash is
kept, so a changed address isn't verified; of a document nothing is kept at all.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import phonenumbers
from sqlalchemy import Connection, delete, select, update

from kept.company import Company
from kept.controls.choices.records import subjects
from kept.controls.choices.records.forgetting import forget
from kept.controls.choices.whom import AGE
from kept.controls.collection.persons.age import Age
from kept.controls.refused import Refused
from kept.controls.rights.letters import contact
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.evidence.links import Link, LinkWrong
from kept.mail.letter import Letter
from kept.state.database import insert
from kept.state.tables import links, notes, verifications
from kept.state.tables import subjects as subjects_table

Holder = Person | str
"""A person, or the claim of somebody who isn't one yet."""

NOBODY_YET: Final = "?"  # the kind under which a claim stands; no kind of a policy can be called so
CLAIM_FOR: Final = timedelta(days=1)
LINK_FOR: Final = timedelta(hours=24)
CODE_FOR: Final = timedelta(minutes=10)
TRIES: Final = 5
LETTERS_A_DAY: Final = 3  # to one address, so that nobody can have somebody flooded
EMAIL: Final = "email"
PHONE: Final = "phone"
IDENTITY: Final = "identity"
WARD: Final = "ward"  # that a guardian permitted an account, of whom it is for
BY_LETTER: Final = "a link in a letter"
BY_CODE: Final = "a code"
_PURPOSE: Final = "email"
_CODES: Final = "phone codes"  # the "act" under which the notes of codes stand
_COUNTS: Final = "verifying"
_CLAIM: Final = re.compile(r"[0-9a-f]{32}")

Sender = Callable[[str, str], None]
"""Hands a code to a number, the company's way: number in E.164, text."""


@dataclass(frozen=True)
class Verdict:
    """What a verifier found: whether they are who they say they are, and until when that counts (None: for good)."""

    verified: bool
    until: datetime | None = None


class Verifier(Protocol):
    """Who verifies identities: a service, a member of staff with the document before them."""

    @property
    def name(self) -> str:
        """Who it is, as it stands on record."""

    def check(self, document: bytes | bytearray, claims: Mapping[str, str]) -> Verdict:
        """Whether a document shows what somebody claims (`{"name": …, "born": …}`); it must keep neither."""


def new_claim() -> str:
    """A claim for somebody who isn't known yet."""
    return secrets.token_hex(16)


def stands(company: Company, holder: Holder, what: str, value: str | None = None) -> bool:
    """Whether something is verified and counts now: of an address or number exactly that one."""
    of = _hash(company, what, value) if value is not None else b""
    with company.state.read() as connection:
        number = subjects.find(company, [_held(holder)], connection).get(_held(holder))
        if number is None:
            return False
        query = select(verifications.c.at, verifications.c.until).where(
            verifications.c.subject == number, verifications.c.what == what, verifications.c.of == of
        )
        row = connection.execute(query).first()
    return row is not None and _counts(company, holder, row.at, row.until)


def _counts(company: Company, holder: Holder, at: str, until: str | None) -> bool:
    """Whether what was verified counts now: until when the verifier said, and under a claim for a day."""
    now = company.clock()
    if isinstance(holder, str) and now >= datetime.fromisoformat(at) + CLAIM_FOR:
        return False
    return until is None or now < datetime.fromisoformat(until)


def note(
    company: Company,
    holder: Holder,
    what: str,
    by: str,
    *,
    value: str | None = None,
    until: datetime | None = None,
) -> None:
    """Put on record that something was verified: by Kept, or by a system of the company's own (`by`, never a person
    verified)."""
    with company.state.write() as connection:
        who = _held(holder)
        number, pseudonym = subjects.number(company, connection, [who])[who]
        of = _hash(company, what, value) if value is not None else b""
        _note(company, connection, number, what, of, by, until)
    _on_ledger(company, what, by, pseudonym, until.isoformat() if until is not None else None)


def bind(company: Company, claim: str, who: Person) -> int:
    """What was verified under a claim is now somebody's; how many things were. The claim counts no more."""
    holder = _held(claim)
    with company.state.write() as connection:
        number = subjects.find(company, [holder], connection).get(holder)
        if number is None:
            return 0
        theirs, pseudonym = subjects.number(company, connection, [who])[who]
        rows = connection.execute(select(verifications).where(verifications.c.subject == number)).all()
        counting = [row for row in rows if _counts(company, claim, row.at, row.until)]
        for row in counting:
            _put(connection, dict(row._mapping) | {"subject": theirs})
    for row in counting:
        _on_ledger(company, row.what, row.by, pseudonym, row.until)
    forget(company, [holder])
    return len(counting)


# An e-mail address: a link that works once.


def ask_email(company: Company, holder: Holder, address: str) -> None:
    """Send a link to an address; whoever presses the button on its page can read what is sent there.

    Refused("too-often") after three letters to one address in a day; KeptError where no letter can be sent.
    """
    if not company.can_write or not company.public_url:
        raise KeptError(
            "no address can be verified: there is no way to write there, or no page to open",
            help="set KEPT_SMTP_URL and KEPT_PUBLIC_URL",
        )
    of, who, expires = _hash(company, EMAIL, address), _held(holder), company.clock() + LINK_FOR
    token = company.links.make(_PURPOSE, of.hex(), expires)
    link = company.links.read(token, _PURPOSE)
    text = (
        "Hello,\n\nsomebody, we think you, gave us this address. Open this page and press the button on it, so that we "
        f"know it is yours. The link works once, for a day:\n\n{company.public_url}/email/{token}\n\n"
        f"If it wasn't you, you need do nothing.\n\n{company.policy.name}\n{contact(company)}\n"
    )
    letter = Letter(address.strip(), f"{company.policy.name}: is this your address?", text)
    with company.state.write() as connection:
        if _count(company, connection, of) > LETTERS_A_DAY:
            raise Refused("too-often", "we have written to this address several times today")
        number, _ = subjects.number(company, connection, [who])[who]
        older = (links.c.purpose == _PURPOSE) & (links.c.request == str(number)) & links.c.used.is_(None)
        connection.execute(update(links).where(older).values(used=company.clock().isoformat()))
        row = {
            "id": link.id,
            "request": str(number),
            "purpose": _PURPOSE,
            "expires": link.expires.isoformat(),
        }
        connection.execute(links.insert().values(row))
        company.outbox.put("verify-email", letter, connection=connection)


def read_link(company: Company, token: str) -> tuple[Link, int]:
    """The link of a letter, if it counts now, and the number of its subject; else LinkWrong."""
    link = company.links.read(token, _PURPOSE)
    with company.state.read() as connection:
        row = connection.execute(select(links.c.request, links.c.used).where(links.c.id == link.id)).first()
        if row is None:
            raise LinkWrong("forged")
        known = select(subjects_table.c.number).where(
            subjects_table.c.number == int(row.request), subjects_table.c.person.is_not(None)
        )
        if row.used is not None or connection.scalar(known) is None:
            raise LinkWrong("used", link.subject)
    return link, int(row.request)


def follow(company: Company, token: str) -> None:
    """The button was pressed: the address is verified, once; LinkWrong where the link doesn't count."""
    link, number = read_link(company, token)
    with company.state.write() as connection:
        used = update(links).where(links.c.id == link.id, links.c.used.is_(None))
        if connection.execute(used.values(used=company.clock().isoformat())).rowcount != 1:
            raise LinkWrong("used", link.subject)
        person = select(subjects_table.c.pseudonym).where(
            subjects_table.c.number == number, subjects_table.c.person.is_not(None)
        )
        row = connection.execute(person).first()
        if row is None:
            raise LinkWrong("used", link.subject)
        _note(company, connection, number, EMAIL, bytes.fromhex(link.subject), BY_LETTER, None)
    _on_ledger(company, EMAIL, BY_LETTER, row.pseudonym, None)


# A number: a code that the company's sender brings there.


def ask_phone(company: Company, holder: Holder, number: str, send: Sender) -> None:
    """Hand a code of six digits to the company's sender; it counts for ten minutes and five tries, the newest alone.

    Refused("not-a-number") for what is no number in international form; "too-often" after three codes in a day.
    """
    of, code = _hash(company, PHONE, number), f"{secrets.randbelow(10**6):06}"
    who, until = _held(holder), (company.clock() + CODE_FOR).isoformat()
    with company.state.write() as connection:
        if _count(company, connection, of) > LETTERS_A_DAY:
            raise Refused("too-often", "we have sent several codes to this number today")
        subjects.number(company, connection, [who])
        part = _part(company, who, of)
        counts = json.dumps({"code": _code(company, part, code), "tries": 0, "until": until})
        statement = insert(connection, notes).values(act=_CODES, part=part, counts=counts)
        again = statement.on_conflict_do_update(index_elements=["act", "part"], set_={"counts": counts})
        connection.execute(again)
    send(_number(number), f"{company.policy.name}: your code is {code}. It works for ten minutes.")


def enter(company: Company, holder: Holder, number: str, code: str) -> bool:
    """Whether a code is the one that was sent; the number is verified then. After five wrong ones none is."""
    of, who = _hash(company, PHONE, number), _held(holder)
    part = _part(company, who, of)
    chosen = (notes.c.act == _CODES) & (notes.c.part == part)
    with company.state.write() as connection:
        held = connection.execute(select(notes.c.counts).where(chosen).with_for_update()).scalar()
        sent = json.loads(held) if held is not None else None
        if sent is None or company.clock() >= datetime.fromisoformat(sent["until"]) or sent["tries"] >= TRIES:
            connection.execute(delete(notes).where(chosen))
            return False
        right = hmac.compare_digest(sent["code"], _code(company, part, code.strip()))
        if not right:
            tried = json.dumps(sent | {"tries": sent["tries"] + 1})
            connection.execute(update(notes).where(chosen).values(counts=tried))
            return False
        connection.execute(delete(notes).where(chosen))
        subject, pseudonym = subjects.number(company, connection, [who])[who]
        _note(company, connection, subject, PHONE, of, BY_CODE, None)
    _on_ledger(company, PHONE, BY_CODE, pseudonym, None)
    return True


# Who somebody is.


def identify(
    company: Company,
    holder: Holder,
    document: bytes | bytearray,
    claims: Mapping[str, str],
    verifier: Verifier,
) -> Verdict:
    """Have a verifier look at a document; only their verdict is kept, who they are, when, and until when it counts.

    The document is handed on and let go: it reaches no disk, state or log of Kept's. A `bytearray` is overwritten
    afterwards. A no takes back an earlier yes. Refused("unverified") where the verifier fails.
    """
    try:
        verdict = verifier.check(document, claims)
    except Exception:  # noqa: BLE001  whatever it is, its text may quote the document
        raise Refused("unverified", "the verifier could not say who they are") from None
    finally:
        if isinstance(document, bytearray):
            document[:] = bytes(len(document))
    if verdict.verified:
        note(company, holder, IDENTITY, verifier.name, until=verdict.until)
    else:
        _take_back(company, holder, IDENTITY)
    return verdict


def note_age(company: Company, holder: Holder, age: Age) -> None:
    """Put on record that somebody was asked how old they are, and speaks for themselves or has a guardian; no date."""
    if age.band != "under":  # nothing of them is kept, not even that
        note(company, holder, AGE, age.band)


def tidy(company: Company) -> int:
    """Let go of claims, codes and permissions whose time is over; how many claims.

    To be run once a day: it reads every subject. Whatever it removes counted for nothing any more.
    """
    now = company.clock()
    young = (now - CLAIM_FOR).isoformat()
    waiting = select(links.c.request).where(links.c.purpose == _PURPOSE, links.c.expires > now.isoformat())
    with company.state.write() as connection:
        recent = select(verifications.c.subject).where(verifications.c.at > young)
        known = set(connection.scalars(recent)) | {int(one) for one in connection.scalars(waiting)}
        claims = select(subjects_table.c.number, subjects_table.c.who).where(
            subjects_table.c.kind == NOBODY_YET, subjects_table.c.who.is_not(None)
        )
        over = [sealed for number, sealed in connection.execute(claims) if number not in known]
        unused = (verifications.c.what == WARD) & (verifications.c.until <= now.isoformat())
        connection.execute(delete(verifications).where(unused))
        codes = connection.execute(select(notes.c.part, notes.c.counts).where(notes.c.act == _CODES)).all()
        for part, counts in codes:
            if json.loads(counts)["until"] <= now.isoformat():
                connection.execute(delete(notes).where(notes.c.act == _CODES, notes.c.part == part))
    holders = [company.keys.unseal("subject", sealed).decode().partition(":")[2] for sealed in over]
    forget(company, [Person(NOBODY_YET, (claim,)) for claim in holders])
    return len(holders)


def _take_back(company: Company, holder: Holder, what: str) -> None:
    with company.state.write() as connection:
        number = subjects.find(company, [_held(holder)], connection).get(_held(holder))
        if number is not None:
            gone = (verifications.c.subject == number) & (verifications.c.what == what)
            connection.execute(delete(verifications).where(gone))


def _held(holder: Holder) -> Person:
    if isinstance(holder, Person):
        return holder
    if not _CLAIM.fullmatch(holder):
        raise Refused("not-a-claim", "a claim has 32 hex digits", help="make one with `new_claim`")
    return Person(NOBODY_YET, (holder,))


def _note(
    company: Company,
    connection: Connection,
    number: int,
    what: str,
    of: bytes,
    by: str,
    until: datetime | None,
) -> None:
    now = company.clock()
    row = {"subject": number, "what": what, "of": of, "at": now.isoformat(), "by": by}
    _put(connection, row | {"until": until.isoformat() if until is not None else None})


def _put(connection: Connection, row: Mapping[str, object]) -> None:
    statement = insert(connection, verifications).values(dict(row))
    changed = {name: statement.excluded[name] for name in ("at", "until", "by")}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["subject", "what", "of"], set_=changed)
    )


def _on_ledger(company: Company, what: str, by: str, pseudonym: str, until: str | None) -> None:
    entry = {"act": "verify", "what": what, "by": by, "person": pseudonym}
    ends = {"until": until} if until is not None else {}
    company.ledger.append(entry | ends, key=f"verify {secrets.token_hex(16)}")


def _hash(company: Company, what: str, value: str) -> bytes:
    """Where a value is known again, under a key of Kept's: 32 bytes that can't be turned back."""
    plain = _number(value) if what == PHONE else value.strip().casefold()
    return company.keys.mac(f"verified {what}", plain.encode())


def _number(number: str) -> str:
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        raise Refused("not-a-number", "this is no telephone number", help="write it as +40 …") from None
    return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))


def _part(company: Company, who: Person, of: bytes) -> str:
    return company.keys.mac("phone code", str(who).encode() + b" " + of).hex()


def _code(company: Company, part: str, code: str) -> str:
    return company.keys.mac("phone code entered", f"{part} {code}".encode()).hex()


def _count(company: Company, connection: Connection, of: bytes) -> int:
    """How often today something was sent there, this time included. Counts of other days go."""
    day = f"{company.clock():%Y-%m-%d}"
    part = f"{day} {of.hex()[:32]}"
    chosen = (notes.c.act == _COUNTS) & (notes.c.part == part)
    made = insert(connection, notes).values(act=_COUNTS, part=part, counts='{"number": 0}')
    if connection.execute(made.on_conflict_do_nothing()).rowcount:
        connection.execute(delete(notes).where(notes.c.act == _COUNTS, notes.c.part < day))
    held = connection.execute(select(notes.c.counts).where(chosen).with_for_update()).scalar_one()
    number: int = json.loads(held)["number"] + 1
    connection.execute(update(notes).where(chosen).values(counts=json.dumps({"number": number})))
    return number
