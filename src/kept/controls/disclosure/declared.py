"""Which declared disclosure an act is: to whom, for which purpose; a sale is none, whatever it is called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from kept.controls.disclosure.declare import Disclosure, is_sold
from kept.controls.disclosure.recipients import never
from kept.controls.purposes.declare import Purpose
from kept.controls.refused import Refused
from kept.policy.facts import Party
from kept.policy.policy import Policy
from kept.policy.words import applicable

# A purpose of the file may be called one of these (a marketplace's `selling` is what its sellers do); nothing else is.
SALE: Final = re.compile(
    r"(re)?(sale|sales|sell|sells|selling|sold)|trad(e|es|ed|ing)|broker(s|age|ing)?|rent(s|al|ed|ing)?|leas(e|es|ed|ing)"
    r"|moneti[sz](e|es|ed|ing|ation)|auction(s|ed|ing)?|barter(s|ed|ing)?|purchas(e|es|ed|ing)|buy(s|ing)?"
)
ROLE_NEEDS: Final[Mapping[str, str]] = {
    "authority": "document",  # what asks for it: an order, a warrant, a request with its legal basis
    "rescue": "reason",  # whose life or limb it is about
    "successor": "agreement",  # confidentiality, already while it is negotiated
}
STRICTEST: Final = (
    "consent",
    "vital-interest",
    "legal-claims",
    "legal-duty",
    "public-task",
    "legitimate-interest",
    "contract",
)


def refuse_sale(policy: Policy, purpose: str | None, in_return: str | None) -> None:
    """Refuse whatever is given in return, and a purpose nobody declared that is a word for a sale: always, whether the
    policy says so or not (CCPA §1798.140(ad): for money or another valuable consideration)."""
    declared = purpose in policy.section("purposes")
    words = re.split(r"[\W_]+", (purpose or "").casefold())
    if in_return is not None or (not declared and any(map(SALE.fullmatch, words))):
        raise Refused(
            "sale",
            "personal data is never sold",
            clause=never(policy, "sale"),
            help="nothing may be taken in return for it, and no purpose makes a sale another thing",
        )


def refuse_sold(policy: Policy, promise: Disclosure, party: Party) -> None:
    """Refuse a declared purpose that is a sale by its name, whatever else the file says of it."""
    if is_sold(str(promise.purpose), party):
        clause = (*promise.clause, *never(policy, "sale"))
        help = "give the purpose its own name, if it is none"
        raise Refused(
            "sale",
            f"`{promise.purpose}` is a sale, and personal data is never sold",
            clause=clause,
            help=help,
        )


def declared(policy: Policy, party: Party, purpose: str | None, disclosure: str | None) -> Disclosure:
    """The one disclosure to a party, by the purpose it is for or its own name; Refused where there is none."""
    if purpose is None and disclosure is None:
        raise Refused("purpose", "nobody says what it is for", help="name the purpose")
    to_it = [one for one in disclosures(policy) if party.name in one.to]
    found = [
        one
        for one in to_it
        if (purpose is None or one.purpose == purpose) and (disclosure is None or one.name == disclosure)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise Refused(
            "which",
            f"`{party.name}` gets data by {len(found)} disclosures",
            help=f"say which: {', '.join(str(one.name) for one in found)}",
        )
    what = ", ".join(f"{one.name} (for {one.purpose})" for one in to_it)
    raise Refused(
        "undeclared",
        f"nothing is declared that `{party.name}` gets for this",
        clause=never(policy, "undeclared"),
        help=f"declared: {what}" if what else "the policy gives this party nothing",
    )


def disclosures(policy: Policy) -> tuple[Disclosure, ...]:
    """Every disclosure the policy declares."""
    return tuple(one for one in policy.section("disclosure").values() if isinstance(one, Disclosure))


def data_of(disclosure: Disclosure, data: Sequence[str] | None) -> tuple[str, ...]:
    """The data that is to be given: all that is declared, or those of it that are named."""
    gives = tuple(map(str, disclosure.gives))
    if data is None:
        return gives
    strange = [name for name in data if name not in gives]
    if strange or not data:
        raise Refused(
            "data",
            f"`{disclosure.name}` does not give that",
            clause=disclosure.clause,
            help=f"it gives {', '.join(gives)}",
        )
    return tuple(dict.fromkeys(data))


def needs(disclosure: Disclosure, purpose: Purpose, party: Party) -> tuple[str, ...]:
    """The evidence it takes: what the disclosure and its purpose need, and what the party's role does."""
    of_role = ROLE_NEEDS.get(str(party.role))
    asked = (*map(str, disclosure.needs), *map(str, purpose.needs), *([of_role] if of_role else ()))
    return tuple(dict.fromkeys(asked))


def ground_of(purpose: Purpose, region: str | None) -> str:
    """The legal ground of a purpose where somebody is; of whom nobody knows where they are, the strictest it has."""
    if region is not None:
        return str(applicable(purpose.ground, region))
    grounds = {str(ground) for ground in purpose.ground.values()}
    return next((ground for ground in STRICTEST if ground in grounds), "")
