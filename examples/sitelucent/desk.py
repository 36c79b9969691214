"""What SiteLucent's own people do in the demo: an engineer looks in a case, an analyst asks about groups, the officer
sees to the guard and vouches by name for what no machine can see.

What is here any company does with `kept case`, `kept look`, `kept groups`, `kept guard` and `kept attest`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from kept.company import Company
from kept.controls.purposes.cases.looks import look
from kept.controls.purposes.groups.asked import answer
from kept.controls.purposes.groups.question import Question
from kept.controls.purposes.guard import applying, plan
from kept.controls.rights.people import Person
from kept.evidence.attestations import attest

OFFICER: Final = "Robin Reed"
MONTHS: Final = timedelta(days=92)
TRY: Final = (
    "look user:1 --for support --by support:1",
    "groups improve-app usage --by page --to analyst",
    "disclosures",
)


def work(company: Company) -> Iterator[str]:
    """A day at the desk; a line for each thing that was done."""
    yield from _looks(company)
    yield from _figures(company)
    for store in plan.guardable(company):
        plan.show(company, plan.make(company, store))
        made = applying.apply(company, store, OFFICER)
        yield f"the guard stands in {store}: {len(made.statements)} statements, one transaction"
    promises = [one for one in company.policy.entries() if one.attest is not None]
    for promise in promises:
        attest(company.state, company.ledger, company.policy, promise.id, OFFICER, company.clock())
    yield f"{OFFICER}, the officer, vouches for {len(promises)} things that no machine can see"


def _looks(company: Company) -> Iterator[str]:
    """The error that is open is somebody's to mend: they look, and somebody without it doesn't."""
    query = "SELECT id, user_id, engineer_id FROM errors WHERE closed_at IS NULL ORDER BY id DESC LIMIT 1"
    with company.stores["app"].read() as connection:
        row = connection.execute(sa.text(query)).first()
    if row is None:
        return
    case, user, engineer = (str(one) for one in row)
    who, other = Person("user", (user,)), str(int(engineer) + 1)
    for by, reason in ((engineer, f"error:{case}"), (engineer, None), (other, f"error:{case}")):
        seen = look(company, "analyse-error", None, who, by=f"engineer:{by}", case=reason)
        said = f"on record as {seen.id}" if seen.decision.allowed else f"refused, {seen.decision.reason}"
        yield f"engineer {by} looks at user {user} with {reason or 'no case'}: {said}"


def _figures(company: Company) -> Iterator[str]:
    """What is looked at most, in whole months, never of fewer than ten people."""
    since = (company.clock() - MONTHS).date().replace(day=1)
    asked = Question(purpose="improve-app", data="usage", measure="people", by=("page",), since=since)
    found = answer(company, asked, "analyst")
    seen = sum(group.value is not None for group in found.groups)
    yield f"the analyst asks how many people look at each page: {seen} groups, {found.small} too small to be told"
