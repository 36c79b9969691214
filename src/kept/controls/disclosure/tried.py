"""What the way out does with disclosures made up for it; nothing is given or written, and nobody is in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kept.company import Company
from kept.controls.disclosure import declared
from kept.controls.disclosure.declare import Disclosure, is_sold
from kept.controls.disclosure.enforce import Way, planned, trial
from kept.controls.purposes.declare import Purpose
from kept.controls.refused import Refused
from kept.evidence.proof import Measured, Proof
from kept.policy.facts import Party

NOBODY: Final = "kept-probe-nobody-declared"
FIELD: Final = "kept_probe_nobody_declared"
SALES: Final = ("sale", "resale", "data-trading", "sold to a broker", "MONETISATION")
CYRILLIC: Final = str.maketrans("aeopcxyis", "аеорсхуіѕ")


def disclosure(company: Company, promise: Disclosure, parties: list[Party]) -> Proof:
    """An undeclared field must be taken out; data, purposes, recipients that aren't declared, and a sale, refused."""
    trials, wrong = 0, list[str]()
    for party in parties:
        name, evidence = str(party.name), _evidence(company, promise, party)
        usual: dict[str, Any] = {
            "purpose": str(promise.purpose),
            "disclosure": str(promise.name),
            "evidence": evidence,
        }
        tries: list[tuple[str, str, str, dict[str, Any]]] = [
            ("a recipient nobody declared", "recipient", NOBODY, usual),
            ("a name with a dot at its end", "lookalike", f"{name}.", usual),
            ("a name in capitals", "lookalike", name.upper(), usual),
            ("another purpose", "undeclared", name, {"purpose": NOBODY}),
            ("a sale", "sale", name, usual | {"in_return": "anything"}),
        ]
        alike = name.translate(CYRILLIC)
        if alike != name:
            tries.append(("a name in another alphabet", "lookalike", alike, usual))
        way = _way(company, name, usual)
        if way is not None:  # where it is closed now, the rest would be refused for that alone
            tries.append(("data that it doesn't give", "data", name, usual | {"data": [NOBODY]}))
            for need in evidence:
                less = {word: text for word, text in evidence.items() if word != need}
                tries.append((f"it without {need}", need, name, usual | {"evidence": less}))
            trials += 1
            wrong += _stripped(company, way)
        for what, reason, to, asked in tries:
            trials += 1
            if _refusal(company, to, asked) != reason:
                wrong.append(f"{what} was not refused")
    measured: Measured = {"trials": trials, "wrong": len(wrong)}
    if wrong:
        return Proof("probe", "broken", f"On the way out {'; '.join(wrong)}.", measured)
    says = f"{trials} disclosures that nobody declared, made up for it, were refused or stripped to what is declared."
    return Proof("probe", "kept", says, measured)


def sale(company: Company) -> Proof:
    """A sale must be refused, whatever it is called, to every party."""
    policy = company.policy
    tries: list[tuple[str, dict[str, Any]]] = [
        (str(party), {"purpose": word})
        for party in policy.parties
        for word in SALES
        if word not in policy.section("purposes")
    ]
    tries += [
        (str(to), {"purpose": str(one.purpose), "in_return": "anything"})
        for one in declared.disclosures(policy)
        for to in one.to
        if to in policy.parties
    ]
    tries += [
        (
            str(to),
            {
                "purpose": str(one.purpose),
                "disclosure": str(one.name),
                "evidence": _evidence(company, one, party),
            },
        )
        for one in declared.disclosures(policy)
        for to in one.to
        if (party := policy.parties.get(to)) is not None and is_sold(str(one.purpose), party)
    ]
    wrong = list(dict.fromkeys(to for to, asked in tries if _refusal(company, to, asked) != "sale"))
    measured: Measured = {"trials": len(tries), "wrong": len(wrong)}
    if wrong:
        return Proof("probe", "broken", f"A sale to {', '.join(wrong)} was not refused.", measured)
    says = (
        f"A sale was tried {len(tries)} times, under several names and to every party, and refused each time."
    )
    return Proof("probe", "kept", says, measured)


def undeclared(company: Company) -> Proof:
    """A recipient, and a purpose of a recipient, that nobody declared must be refused."""
    tries: list[tuple[str, str, dict[str, Any]]] = [("recipient", NOBODY, {})]
    tries += [("undeclared", str(party), {"purpose": NOBODY}) for party in company.policy.parties]
    wrong = sum(_refusal(company, to, asked) != reason for reason, to, asked in tries)
    measured: Measured = {"trials": len(tries), "wrong": wrong}
    if wrong:
        return Proof(
            "probe", "broken", f"{wrong} disclosures that nobody declared were not refused.", measured
        )
    says = f"{len(tries)} disclosures that nobody declared, made up for it, were refused."
    return Proof("probe", "kept", says, measured)


def _evidence(company: Company, promise: Disclosure, party: Party) -> Mapping[str, str]:
    """Made-up evidence of each sort that is needed in words."""
    purpose = company.policy.section("purposes").get(str(promise.purpose))
    if not isinstance(purpose, Purpose):
        return {}
    needs = declared.needs(promise, purpose, party)
    return {need: "a probe of Kept's" for need in needs if not need.startswith("verified-")}


def _refusal(company: Company, recipient: str, asked: Mapping[str, Any]) -> str | None:
    """The word for why it is refused; None where it isn't."""
    try:
        planned(company, recipient, **asked)
    except Refused as refused:
        return refused.reason
    return None


def _way(company: Company, name: str, asked: Mapping[str, Any]) -> Way | None:
    """The way as it is declared; None where it is closed now, which the papers' proof says."""
    try:
        return planned(company, name, **asked)
    except Refused:
        return None


def _stripped(company: Company, way: Way) -> list[str]:
    given = {
        f"{table}.{column}": "x"
        for name in way.data
        for table, columns in company.policy.data[name].tables.items()
        for column in columns
        if "*" not in column
    }
    left = trial(company, way, {**given, FIELD: "x", "nested": {"a": {"b": "x"}}})
    wrong = []
    if FIELD in left.record or FIELD not in left.taken_out:
        wrong.append("a field that nobody declared was not taken out")
    if "nested" in left.record:
        wrong.append("what stood inside another value was not taken out")
    if not left.columns <= set(given):
        wrong.append("a column that nobody declared was given")
    return wrong
