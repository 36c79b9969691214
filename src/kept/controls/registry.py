"""The eight sections of promises, in the order of a privacy policy; the only list of controls there is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from kept.controls.choices import declare as choices
from kept.controls.collection import declare as collection
from kept.controls.disclosure import declare as disclosure
from kept.controls.notices import declare as notices
from kept.controls.purposes import declare as purposes
from kept.controls.retention import declare as retention
from kept.controls.rights import declare as rights
from kept.controls.security import declare as security
from kept.errors import KeptError
from kept.policy.checks import facts
from kept.policy.entry import Entry, Promise
from kept.policy.facts import Party, PersonKind
from kept.policy.page import Page, page
from kept.policy.policy import Policy
from kept.policy.read import read
from kept.policy.report import PolicyError
from kept.policy.source import Problems, Source
from kept.policy.wording import people_words, region_words


class Declaration(Protocol):
    """What the `declare.py` of a control says: its entries, its checks, its sentences."""

    @property
    def BRANCHES(self) -> tuple[type[Promise], ...]:  # noqa: N802 a module's constant
        """The sorts of entry its section has."""

    def check(self, policy: Policy, problems: Problems, today: date) -> None:
        """Report contradictions and gaps of this section."""

    def sentence(self, policy: Policy, promise: Any) -> str:
        """The promise as the policy page says it."""


DECLARATIONS: Mapping[str, Declaration] = {
    "collection": collection,
    "choices": choices,
    "purposes": purposes,
    "disclosure": disclosure,
    "retention": retention,
    "rights": rights,
    "security": security,
    "notices": notices,
}

SECTIONS: tuple[tuple[str, tuple[type[Promise], ...]], ...] = tuple(
    (name, declaration.BRANCHES) for name, declaration in DECLARATIONS.items()
)


def load(path: Path | str) -> Policy:
    """The policy in a file. Raises PolicyError when it can't be read as one, KeptError when the file can't be read."""
    policy, problems = read(source_of(path), SECTIONS)
    if policy is None or problems.errors:
        raise PolicyError(policy.source if policy else source_of(path), problems)
    return policy


def source_of(path: Path | str) -> Source:
    """The text of a policy file; raises KeptError when there is none to read."""
    try:
        return Source.read(path)
    except UnicodeDecodeError:
        raise KeptError("the file is not UTF-8 text", help="save it as UTF-8", where=str(path)) from None
    except OSError as wrong:
        reason = wrong.strerror or "it cannot be read"
        raise KeptError(
            f"cannot read the policy: {reason}", help="name a policy file", where=str(path)
        ) from None


def examine(path: Path | str, *, today: date) -> tuple[Policy | None, Source, Problems]:
    """What `kept check` tells offline: the policy if there is one, and every problem of reading and of checking."""
    source = source_of(path)
    policy, problems = read(source, SECTIONS)
    if policy is not None:
        problems.found.extend(check(policy, today=today).found)
    return policy, source, problems


def check(policy: Policy, *, today: date) -> Problems:
    """Everything a lawyer would say about a policy that reads: contradictions, gaps, and what law asks."""
    problems = Problems()
    facts.check(policy, problems, today)
    for declaration in DECLARATIONS.values():
        declaration.check(policy, problems, today)
    return problems


def promised_facts(policy: Policy) -> list[tuple[Entry, str]]:
    """The facts that answer to a clause of the published text, each with the section whose control it concerns."""
    found: list[tuple[Entry, str]] = []
    for entry in policy.entries():
        if entry.clause and not isinstance(entry, Promise):
            if isinstance(entry, Party):
                found.append((entry, "notices" if entry.role == "us" else "disclosure"))
            else:
                found.append((entry, "rights" if isinstance(entry, PersonKind) else "collection"))
    return found


def fact_sentence(policy: Policy, entry: Entry) -> str:
    """A fact with a clause, as a sentence (its `says` is what it is called)."""
    if isinstance(entry, Party) and entry.role == "us":
        where = region_words(entry.serves) if entry.serves else ""
        return f"{entry.label} answers for your data" + (f" in {where}." if where else ".")
    if isinstance(entry, Party) and entry.agreement is not None:
        return f"{entry.label} is bound by an agreement, {entry.agreement}."
    if isinstance(entry, PersonKind) and entry.controller is not None:
        whose = policy.parties[entry.controller].label
        return f"What we hold about {people_words(policy, entry.name)} belongs to {whose}: their instructions rule."
    return f"{entry.name.replace('-', ' ').capitalize()}: as declared."


def sentence(policy: Policy, promise: Promise) -> str:
    """A promise as the policy page says it: the file's own words where it has `says`, else a sentence made of it."""
    own = promise.says.get("en")
    return own if own is not None else DECLARATIONS[promise.section].sentence(policy, promise)


def policy_page(policy: Policy, *, today: date, region: str | None = None) -> Page:
    """The policy page with every promise in words; `region` leaves the rules of other regions out."""
    return page(policy, lambda promise: sentence(policy, promise), today, region)
