"""What was shown to somebody who was asked: the exact words, language, layout and script, kept once by their SHA-256.

That consent was given knowingly has to be shown (GDPR Art. 7(1)), so each answer names what it answered to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import rfc8785
from sqlalchemy import Connection, select

from kept.company import Company
from kept.controls.choices.asking import ask_of
from kept.controls.choices.declare import Choice, sentence
from kept.controls.choices.meaning import digest, meaning
from kept.policy.policy import Policy
from kept.state.database import insert
from kept.state.tables import meanings, notices

Shown = Mapping[str, Any]


def describe(
    policy: Policy, names: Sequence[str], *, language: str, region: str | None
) -> dict[str, dict[str, str]]:
    """What a notice says of each choice: how it is asked there, its title, its text, and the digest of its meaning."""
    found = {}
    for name in names:
        choice = policy.section("choices")[name]
        assert isinstance(choice, Choice)
        found[name] = {
            "ask": ask_of(policy, choice, region),
            "title": name.replace("-", " ").capitalize(),
            "text": choice.says.get(language) or choice.says.get("en") or sentence(policy, choice),
            "meaning": digest(meaning(policy, choice)),
        }
    return found


def of_words(
    policy: Policy,
    words: str,
    *,
    choices: Sequence[str],
    language: str = "en",
    kind: str = "form",
    region: str | None = None,
) -> dict[str, Any]:
    """What was shown where a company asks in words of its own: in a form, a letter, on the telephone."""
    return {
        "kind": kind,
        "language": language,
        "region": region,
        "words": {"text": words},
        "layout": None,
        "script": None,
        "policy": policy.source.digest,
        "version": policy.version.isoformat(),
        "controllers": [party.label for party in policy.us()],
        "choices": describe(policy, choices, language=language, region=region),
    }


def identify(shown: Shown) -> tuple[str, bytes]:
    """The SHA-256 (hex) of what was shown, and its canonical JSON (RFC 8785)."""
    body = rfc8785.dumps(dict(shown))
    return sha256(body).hexdigest(), body


def keep(company: Company, shown: Shown) -> str:
    """Keep what is shown, once, with the meaning of each choice in it; its SHA-256 (hex)."""
    id, body = identify(shown)
    with company.state.read() as connection:
        if connection.scalar(select(notices.c.id).where(notices.c.id == id)) is not None:
            return id
    now = company.clock().isoformat()
    with company.state.write() as connection:
        keep_meanings(company, connection, list(shown["choices"]))
        row = {"id": id, "body": body, "since": now}
        connection.execute(insert(connection, notices).values(row).on_conflict_do_nothing())
    return id


def keep_meanings(company: Company, connection: Connection, names: Sequence[str]) -> dict[str, str]:
    """Keep what each choice is about now; the digest of each."""
    policy, now = company.policy, company.clock().isoformat()
    found: dict[str, str] = {}
    for name in names:
        choice = policy.section("choices")[name]
        assert isinstance(choice, Choice)
        body = rfc8785.dumps(dict(meaning(policy, choice)))
        found[name] = sha256(body).hexdigest()
        row = {"id": found[name], "body": body, "since": now}
        connection.execute(insert(connection, meanings).values(row).on_conflict_do_nothing())
    return found


def shown(company: Company, notice: str) -> dict[str, Any] | None:
    """What was shown, by its SHA-256; None where it was never kept."""
    with company.state.read() as connection:
        body = connection.scalar(select(notices.c.body).where(notices.c.id == notice))
    return None if body is None else dict(json.loads(body))
