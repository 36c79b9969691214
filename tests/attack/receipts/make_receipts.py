"""Tampered receipts, made from a good one: what somebody might try who wants it to say something else.

`TAMPERS` names what can be done to the file alone. `LIES` need the company's own keys: it is the company that lies.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import rfc8785

from kept.controls.choices.records.receipt import key_id
from kept.evidence.heads import TreeHead
from kept.evidence.keys import Keys
from kept.evidence.merkle import leaf_hash, node_hash

FORGER = Keys(bytes(32), bytes(32), bytes(32))
_DOMAIN = b"kept receipt 1\n"

Receipt = dict[str, Any]


def signed(receipt: Receipt, keys: Keys) -> bytes:
    """The receipt's bytes as whoever holds these keys signs them."""
    parts = {name: receipt[name] for name in ("format", "body")}
    parts |= {"key": keys.public.hex(), "key_id": key_id(keys.public)}
    return rfc8785.dumps(parts | {"signature": keys.sign(_DOMAIN + rfc8785.dumps(parts)).hex()})


def _written(change: Callable[[Receipt], object]) -> Callable[[bytes], bytes]:
    """A change of the value, written as a receipt is."""

    def tamper(good: bytes) -> bytes:
        receipt = json.loads(good)
        change(receipt)
        return rfc8785.dumps(receipt)

    return tamper


def _own(receipt: Receipt) -> dict[str, Any]:
    """The newest event of the receipt's record."""
    record = receipt["body"]["record"]
    event: dict[str, Any] = [e for e in record["events"] if e["record_id"] == record["record_id"]][-1]
    return event


def _notice(receipt: Receipt) -> dict[str, Any]:
    found: dict[str, Any] = receipt["body"]["record"]["pii_processing"]["privacy_notice"][0]
    return found


def _meaning(receipt: Receipt) -> dict[str, Any]:
    found: dict[str, Any] = receipt["body"]["record"]["pii_processing"]["meanings"][0]
    return found


def _by_another_key(good: bytes) -> bytes:
    receipt = json.loads(good)
    _own(receipt)["event_state"] = "ConsentRefused"
    return signed(receipt, FORGER)


def _key_only(receipt: Receipt) -> None:
    receipt["key"], receipt["key_id"] = FORGER.public.hex(), key_id(FORGER.public)


def _twice(good: bytes) -> bytes:
    """A key that stands twice: readers differ in which they take."""
    return good.replace(
        b'"event_state":"ConsentGiven"', b'"event_state":"ConsentGiven","event_state":"ConsentGiven"'
    )


TAMPERS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "answer-turned-round": (
        _written(lambda r: _own(r).update(event_state="ConsentRefused", answer="no")),
        "signature is wrong",
    ),
    "words-replaced": (
        _written(lambda r: _notice(r)["shown"]["words"].update(text="Hello")),
        "signature is wrong",
    ),
    "time-moved": (
        _written(lambda r: _own(r).update(event_time="2020-01-01T00:00:00+00:00")),
        "signature is wrong",
    ),
    "history-cut": (_written(lambda r: r["body"]["record"]["events"].pop()), "signature is wrong"),
    "proof-altered": (
        _written(lambda r: r["body"]["ledger"]["entries"][0].update(index=5)),
        "signature is wrong",
    ),
    "head-altered": (_written(lambda r: r["body"]["ledger"]["head"].update(size=7)), "signature is wrong"),
    "signature-replaced": (_written(lambda r: r.update(signature="00" * 64)), "signature is wrong"),
    "signature-garbled": (_written(lambda r: r.update(signature="zz")), "signature is wrong"),
    "signature-no-text": (_written(lambda r: r.update(signature=5)), "signature is wrong"),
    "key-replaced": (_written(_key_only), "signature is wrong|not with the one you trust"),
    "key-garbled": (_written(lambda r: r.update(key="not a key")), "key was altered"),
    "key-in-capitals": (_written(lambda r: r.update(key=r["key"].upper())), "key was altered"),
    "key-id-altered": (_written(lambda r: r.update(key_id="0" * 16)), "key's id was altered"),
    "part-dropped": (_written(lambda r: r.pop("body")), "lacks a part"),
    "part-added": (_written(lambda r: r.update(note="trust me")), "lacks a part, or has one too many"),
    "format-of-another-kind": (
        _written(lambda r: r.update(format="urn:other:1")),
        "isn't a receipt of the form",
    ),
    "format-newer": (
        _written(lambda r: r.update(format="urn:kept:receipt:2")),
        "isn't a receipt of the form",
    ),
    "space-added": (lambda good: good.replace(b'{"body"', b'{ "body"', 1), "isn't written as it was signed"),
    "line-end-added": (lambda good: good + b"\n", "isn't written as it was signed"),
    "reformatted": (
        lambda good: json.dumps(json.loads(good), indent=2).encode(),
        "isn't written as it was signed",
    ),
    "key-twice": (_twice, "isn't written as it was signed"),
    "cut-off": (lambda good: good[:-20], "altered or cut off"),
    "something-appended": (lambda good: good + b"{}", "altered or cut off"),
    "not-a-number": (lambda good: good.replace(b'"index":', b'"index":NaN,"was":', 1), "altered or cut off"),
    "huge-number": (
        lambda good: good.replace(b'"index":', b'"index":1' + b"0" * 40 + b',"was":', 1),
        "altered",
    ),
    "too-deep": (lambda good: b'{"format":' + b"[" * 100_000, "altered or cut off"),
    "not-text": (lambda good: good.replace(b'"body"', b'"bod\xff"', 1), "altered or cut off"),
    "half-a-character": (
        lambda good: good.replace(b'"format":"', b'"format":"\\ud800', 1),
        "altered or cut off",
    ),
    "no-object": (lambda good: b"[]", "isn't a receipt"),
    "empty-object": (lambda good: b"{}", "isn't a receipt"),
    "oversized": (lambda good: good + b" " * (5 << 20), "no receipt has"),
    "signed-by-another-key": (
        _by_another_key,
        "the ledger isn't signed by the key|not with the one you trust",
    ),
}


def _with_leaf(receipt: Receipt, keys: Keys) -> None:
    """The entry is made to fit the answer, and a head signed over it alone: the proof holds, and says so."""
    event = _own(receipt)
    event.update(event_state="ConsentRefused", answer="no")


def _other_words(receipt: Receipt, keys: Keys) -> None:
    _notice(receipt)["shown"]["words"] = {"text": "Something nobody ever saw"}


def _words_left_out(receipt: Receipt, keys: Keys) -> None:
    receipt["body"]["record"]["pii_processing"]["privacy_notice"] = []


def _words_about_something_else(receipt: Receipt, keys: Keys) -> None:
    notice = _notice(receipt)
    for one in notice["shown"]["choices"].values():
        one["meaning"] = "0" * 64
    digest = sha256(rfc8785.dumps(notice["shown"])).hexdigest()
    notice["sha256"] = digest
    _own(receipt)["privacy_notice"] = digest


def _other_meaning(receipt: Receipt, keys: Keys) -> None:
    _meaning(receipt)["meaning"]["purposes"] = {}


def _meaning_left_out(receipt: Receipt, keys: Keys) -> None:
    receipt["body"]["record"]["pii_processing"]["meanings"] = []


def _answers_left_out(receipt: Receipt, keys: Keys) -> None:
    receipt["body"]["record"]["events"] = []


def _entries_left_out(receipt: Receipt, keys: Keys) -> None:
    receipt["body"]["ledger"]["entries"] = []


def _entry_of_somebody_else(receipt: Receipt, keys: Keys) -> None:
    receipt["body"]["record"]["pii_principal_id"] = "f" * 64


def _entry_made_up(receipt: Receipt, keys: Keys) -> None:
    """The entry fits the false answer, and isn't on the ledger."""
    _with_leaf(receipt, keys)
    for one in receipt["body"]["ledger"]["entries"]:
        one["entry"]["state"] = "Refused"


def _head_of_others(receipt: Receipt, keys: Keys) -> None:
    head = receipt["body"]["ledger"]["head"]
    made = TreeHead.signed(
        head["size"], bytes.fromhex(head["root"]), datetime(2026, 1, 1, tzinfo=UTC), FORGER
    )
    receipt["body"]["ledger"]["head"] = made.json()


def _head_garbled(receipt: Receipt, keys: Keys) -> None:
    receipt["body"]["ledger"]["head"] = {"size": 1}


def _record_dropped(receipt: Receipt, keys: Keys) -> None:
    del receipt["body"]["record"]


def _record_of_another_shape(receipt: Receipt, keys: Keys) -> None:
    receipt["body"]["record"]["events"] = "none"


LIES: dict[str, tuple[Callable[[Receipt, Keys], None], str]] = {
    "answer-turned-round-and-signed": (_with_leaf, "the ledger says something else"),
    "other-words-and-signed": (_other_words, "what was shown isn't what was answered to"),
    "words-left-out-and-signed": (_words_left_out, "aren't in the receipt"),
    "words-about-something-else-and-signed": (_words_about_something_else, "asked about something else"),
    "other-meaning-and-signed": (_other_meaning, "what it was about isn't what was answered to"),
    "meaning-left-out-and-signed": (_meaning_left_out, "isn't in the receipt"),
    "answers-left-out-and-signed": (_answers_left_out, "no answer of the record"),
    "entries-left-out-and-signed": (_entries_left_out, "the ledger says something else"),
    "somebody-elses-and-signed": (_entry_of_somebody_else, "the ledger says something else"),
    "entry-made-up-and-signed": (_entry_made_up, "isn't on the ledger under the head"),
    "head-by-another-key": (_head_of_others, "isn't signed by the key of the receipt"),
    "head-garbled": (_head_garbled, "head of the ledger was altered"),
    "record-dropped-and-signed": (_record_dropped, "lacks a part that every receipt has"),
    "record-of-another-shape-and-signed": (_record_of_another_shape, "lacks a part that every receipt has"),
}


def rewritten(good: bytes, keys: Keys) -> bytes:
    """What nobody can tell from a true one but who knows the company's ledger: a history made up whole and signed."""
    receipt = json.loads(good)
    _with_leaf(receipt, keys)
    ledger = receipt["body"]["ledger"]
    entry = ledger["entries"][-1]["entry"] | {"state": "Refused"}
    leaf = leaf_hash(rfc8785.dumps(entry))
    root, size = node_hash(bytes(32), leaf), 2
    ledger["head"] = TreeHead.signed(size, root, datetime(2026, 1, 1, tzinfo=UTC), keys).json()
    ledger["entries"] = [{"index": 1, "entry": entry, "path": [bytes(32).hex()]}]
    return signed(receipt, keys)
