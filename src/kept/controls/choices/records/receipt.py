"""A receipt of what somebody chose, which they can keep: signed, and checked by anyone without the company.

It is one JSON object in canonical form (RFC 8785), so that each byte of it counts:

    format     what this is, and its version
    body       the receipt: its id, when it was made, the consent record (ISO/IEC TS 27560), its ledger entries
    key        the company's public key (Ed25519), hex; key_id: the first 16 hex digits of its SHA-256
    signature  over all of the above

The entries are shown to stand on the ledger under a signed head (RFC 6962 inclusion proofs): they were not added later.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from kept.company import Company
from kept.controls.choices.records import book, choosing
from kept.controls.choices.records.dpv import STATES
from kept.controls.choices.records.iso27560 import consent_record, stamped
from kept.errors import KeptError, TransientError
from kept.evidence.heads import TreeHead
from kept.evidence.merkle import leaf_hash, verify_inclusion
from kept.evidence.parts import Tampered, shown

FORMAT: Final = "urn:kept:receipt:1"
PURPOSE: Final = "receipt"  # of the link to its page
KEPT_FOR: Final = timedelta(days=730)  # how long that link works
LIMIT: Final = 4 << 20  # bytes; a receipt of a dozen choices has some tens of thousands
_DOMAIN: Final = b"kept receipt 1\n"
"""Stands before what is signed, so that no other signature by the same key can pass for a receipt's."""

_PARTS: Final = {"format", "body", "key", "key_id", "signature"}
_SHORT: Final = {name: state for state, name in STATES.items()}
_FACTS: Final = ("choice", "way", "record", "person", "chosen", "meaning", "scope", "notice", "took")


class Gone(KeptError):
    """There is no receipt: nothing is on record under this id, or whoever it was about has been erased."""


def token_of(company: Company, record: str) -> str:
    """The last part of the address of a receipt's page; made without asking any database."""
    return company.links.make(PURPOSE, record, company.clock() + KEPT_FOR)


def receipt(company: Company, record: str) -> bytes:
    """The receipt of what was chosen under a record id, as it stands now. Gone where there is none to give."""
    return sealed(company, body_of(company, record))


def body_of(company: Company, record: str) -> dict[str, Any]:
    """What a receipt says, before it is signed."""
    chosen = choosing.of_record(company, record)
    if chosen is None or chosen.person is None:
        raise Gone("there is no receipt: nothing is on record under this id, or its person was erased")
    return {
        "receipt_id": str(uuid.uuid4()),
        "schema_version": FORMAT,
        "created": stamped(company.clock()),
        "record": consent_record(company, chosen),
        "ledger": _on_ledger(company, [event.number for event in chosen.own]),
    }


def sealed(company: Company, body: Mapping[str, Any]) -> bytes:
    """A receipt's bytes, signed with the company's key."""
    public = company.keys.public
    parts: dict[str, Any] = {"format": FORMAT, "body": body, "key": public.hex(), "key_id": key_id(public)}
    return rfc8785.dumps(parts | {"signature": company.keys.sign(_DOMAIN + rfc8785.dumps(parts)).hex()})


def key_id(public: bytes) -> str:
    """A public key in 16 hex digits, short enough to compare by eye."""
    return sha256(public).hexdigest()[:16]


def _on_ledger(company: Company, numbers: Sequence[int]) -> dict[str, Any]:
    """The entries of events with the proof that each stands under the newest head."""
    ledger, keys = company.ledger, [f"choice {number}" for number in numbers]
    entries = ledger.keyed(keys)
    if len(entries) < len(keys):
        book.whole_ledger(company)  # a crash kept some from it
        entries = ledger.keyed(keys)
    if len(entries) < len(keys):
        raise TransientError("what was chosen isn't on the ledger yet", help="try again in a moment")
    # An entry that is appended once more under its own key is not written again, and its place is told.
    written = [(key, {name: value for name, value in entries[key].items() if name != "at"}) for key in keys]
    places = ledger.append_many(written)
    head = ledger.head()
    return {
        "head": head.json(),
        "entries": [
            {
                "index": place,
                "entry": entries[key],
                "path": [hash_.hex() for hash_ in ledger.inclusion(place, head.size)],
            }
            for key, place in zip(keys, places, strict=True)
        ],
    }


@dataclass(frozen=True)
class Answered:
    """One answer in a receipt."""

    choice: str
    scope: str | None
    state: str
    at: str


@dataclass(frozen=True)
class Verified:
    """What a sound receipt proves: these answers were recorded, in these words, no later than `head` was signed.

    `trusted` says whether the key is one the reader knew beforehand; if not, whoever made the receipt may have made
    the key as well. `answers` are those of the receipt's own record; `now` how each choice stood when it was made.
    """

    receipt: str
    record: str
    person: str
    created: str
    key: str
    trusted: bool
    head: TreeHead
    controllers: tuple[str, ...]
    answers: tuple[Answered, ...]
    now: tuple[Answered, ...]

    def __str__(self) -> str:
        who = " and ".join(map(shown, self.controllers)) or "nobody named"
        lines = [
            f"receipt {self.receipt} of {shown(self.created)}, by {who}",
            *(f"  {_said(one)}" for one in self.answers),
            *(f"  since then: {_said(one)}" for one in self.now if one not in self.answers),
            f"on the ledger since {self.head.at} at the latest, among {self.head.size} entries",
        ]
        if self.trusted:
            return "\n".join([*lines, f"signed by the key you named, {self.key}"])
        return "\n".join(
            [*lines, f"signed by key {self.key}: compare it with the one published by {who} (--key)"]
        )


def is_one(data: bytes) -> bool:
    """Whether a file looks like a receipt rather than a bundle: a JSON object, not a zip."""
    return data.lstrip()[:1] == b"{"


def verify(data: bytes, key: str | None = None) -> Verified:
    """Check a receipt from its bytes alone. `key`: the company's public key (hex), known from elsewhere.

    Raises Tampered, which says what isn't as it was signed.
    """
    parts = _parts(data)
    public = _key(parts, key)
    signed = {name: parts[name] for name in _PARTS - {"signature"}}
    try:
        signature = bytes.fromhex(parts["signature"])
        if signature.hex() != parts["signature"]:  # the same bytes have other spellings, and one is ours
            raise ValueError
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _DOMAIN + rfc8785.dumps(signed))
    except (InvalidSignature, ValueError, TypeError) as error:
        raise Tampered("the receipt was altered, or signed by another key: its signature is wrong") from error
    try:
        return _consistent(parts, trusted=key is not None)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise Tampered("the receipt is signed, and yet lacks a part that every receipt has") from error


def _parts(data: bytes) -> dict[str, Any]:
    """The five parts, out of exactly the bytes they were written as."""
    if len(data) > LIMIT:
        raise Tampered(f"the file has more than {LIMIT:,} bytes, and no receipt has")
    try:
        parts = json.loads(data)
        as_written = rfc8785.dumps(parts)
    except (ValueError, RecursionError) as error:
        raise Tampered(
            "this isn't a receipt, or it was altered or cut off: it can't be read as JSON"
        ) from error
    if not isinstance(parts, dict) or not isinstance(parts.get("format"), str):
        raise Tampered("this isn't a receipt: it doesn't say that it is one")
    if parts["format"] != FORMAT:
        raise Tampered(f"this isn't a receipt of the form {FORMAT}: it says {shown(parts['format'])}")
    if set(parts) != _PARTS:
        odd = sorted(set(parts) ^ _PARTS)[0]
        raise Tampered(f"the receipt lacks a part, or has one too many: {shown(odd)}")
    if as_written != data:
        raise Tampered(
            "the receipt isn't written as it was signed: a byte of it was added, removed or changed",
            help="download it again; an editor may have changed its spaces or line ends",
        )
    return parts


def _key(parts: Mapping[str, Any], trusted: str | None) -> bytes:
    try:
        public = bytes.fromhex(parts["key"])
        right = len(public) == 32 and public.hex() == parts["key"]
    except (ValueError, TypeError):
        right = False
    if not right:
        raise Tampered("the public key was altered: it isn't 64 hex digits")
    if parts["key_id"] != key_id(public):
        raise Tampered("the key's id was altered: it isn't that of the key")
    if trusted is not None and parts["key"] != trusted.strip().lower():
        raise Tampered(
            f"the receipt is signed with the key {parts['key'][:16]}…, not with the one you trust",
            help="whoever made it isn't who you think, or the company has a new key: ask it",
        )
    return public


def _consistent(parts: Mapping[str, Any], trusted: bool) -> Verified:
    """What a signature alone doesn't show: that words, meanings and ledger entries are those the answers name."""
    body = parts["body"]
    record, ledger = body["record"], body["ledger"]
    processing = record["pii_processing"]
    notices = {one["sha256"]: one["shown"] for one in processing["privacy_notice"]}
    meanings = {one["sha256"]: one["meaning"] for one in processing["meanings"]}
    for name, bodies in (("what was shown", notices), ("what it was about", meanings)):
        for digest, inner in bodies.items():
            if sha256(rfc8785.dumps(inner)).hexdigest() != digest:
                raise Tampered(f"{name} isn't what was answered to: its SHA-256 is not {shown(digest)[:16]}…")
    own = [event for event in record["events"] if event["record_id"] == record["record_id"]]
    if not own:
        raise Tampered("the receipt holds no answer of the record it is about")
    for event in own:
        _words(event, notices, meanings)
    head = _head(parts, ledger)
    _entries(record, own, ledger["entries"], head)
    last = {(event["choice"], event["scope"]): event for event in record["events"] if event["took_effect"]}
    return Verified(
        receipt=str(uuid.UUID(body["receipt_id"])),
        record=str(record["record_id"]),
        person=str(record["pii_principal_id"]),
        created=str(body["created"]),
        key=parts["key"],
        trusted=trusted,
        head=head,
        controllers=tuple(
            str(one["party_name"])
            for one in record["party_identification"]
            if one["party_role"] == "controller"
        ),
        answers=tuple(map(_answered, own)),
        now=tuple(map(_answered, last.values())),
    )


def _words(event: Mapping[str, Any], notices: Mapping[str, Any], meanings: Mapping[str, Any]) -> None:
    if event["meaning"] not in meanings:
        raise Tampered(f"what `{shown(event['choice'])}` was about isn't in the receipt")
    if event["privacy_notice"] is None:
        return
    if event["privacy_notice"] not in notices:
        raise Tampered(f"the words beside the answer to `{shown(event['choice'])}` aren't in the receipt")
    asked = notices[event["privacy_notice"]]["choices"].get(event["choice"])
    if asked is None or asked["meaning"] != event["meaning"]:
        raise Tampered(f"the words in the receipt asked about something else than `{shown(event['choice'])}`")


def _head(parts: Mapping[str, Any], ledger: Mapping[str, Any]) -> TreeHead:
    try:
        head = TreeHead.read(rfc8785.dumps(ledger["head"]))
    except ValueError as error:
        raise Tampered("the head of the ledger was altered: it isn't one") from error
    if head.key != parts["key"] or not head.is_signed():
        raise Tampered("the head of the ledger isn't signed by the key of the receipt")
    return head


def _entries(
    record: Mapping[str, Any],
    own: Sequence[Mapping[str, Any]],
    entries: Sequence[Mapping[str, Any]],
    head: TreeHead,
) -> None:
    """Each answer has its entry, that says the same, under the head."""
    expected = [_facts(record, event) for event in own]
    found = []
    for one in entries:
        leaf, path = leaf_hash(rfc8785.dumps(one["entry"])), [bytes.fromhex(step) for step in one["path"]]
        if not verify_inclusion(leaf, one["index"], head.size, path, bytes.fromhex(head.root)):
            raise Tampered(
                f"entry {shown(one['index'])} isn't on the ledger under the head of {shown(head.at)}"
            )
        said = {name: one["entry"].get(name) for name in (*_FACTS, "act", "state")}
        found.append(said | {"chosen": stamped(datetime.fromisoformat(said["chosen"]))})
    if sorted(map(rfc8785.dumps, found)) != sorted(map(rfc8785.dumps, expected)):
        raise Tampered("the ledger says something else of these answers than the receipt does")


def _facts(record: Mapping[str, Any], event: Mapping[str, Any]) -> dict[str, Any]:
    """What the ledger's entry of an answer says (`book`)."""
    return {
        "act": "choose",
        "state": _SHORT[event["event_state"]],
        "choice": event["choice"],
        "way": event["way"],
        "record": event["record_id"],
        "person": record["pii_principal_id"],
        "chosen": stamped(datetime.fromisoformat(event["event_time"])),
        "meaning": event["meaning"],
        "scope": event["scope"],
        "notice": event["privacy_notice"],
        "took": None if event["took_effect"] else False,
    }


def _answered(event: Mapping[str, Any]) -> Answered:
    return Answered(str(event["choice"]), event["scope"], str(event["event_state"]), str(event["event_time"]))


def _said(answer: Answered) -> str:
    scope = f" ({shown(answer.scope)})" if answer.scope else ""
    return f"{shown(answer.choice)}{scope}: {shown(answer.state)}, {shown(answer.at)}"
