"""Everybody who may be written to now, read from the databases: of everybody what `Gate.may` says of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyroaring import BitMap
from sqlalchemy import select

from kept.company import Company
from kept.controls.choices.asking import visitor_kind
from kept.controls.choices.deciding import Decision, Plan, Rulings
from kept.controls.choices.declare import Choice
from kept.controls.choices.grounds import read, unplaced
from kept.controls.choices.messages.roster import PAGE, pages
from kept.controls.choices.records import marks
from kept.controls.choices.records.marks import NO
from kept.controls.rights.people import Person, person_of
from kept.errors import KeptError
from kept.laws.law import law
from kept.policy.policy import Policy
from kept.policy.words import regions
from kept.state.tables import subjects as subjects_table


def audience(company: Company, purpose: str, channel: str | None = None) -> Iterator[Person]:
    """Everybody whose data a purpose may use now, through a channel: of the kinds whose data it uses, each once.

    Read a page at a time, so it takes no more memory for ten million people than for ten; each page is decided by what
    the databases say at that moment. KeptError for a purpose or channel the policy doesn't have, for a purpose that
    more than the person decides (groups, a case, evidence, `during`), and where people can't be listed (`owners`);
    StoreError where it can't be found out of anybody: a list is never short for that.
    """
    rulings = Rulings(company)
    plan = rulings.plan(purpose, channel)
    if isinstance(plan, Decision):
        raise KeptError(plan.reason)
    _refuse_more(plan)
    return _people(company, rulings, plan, channel)


def _refuse_more(plan: Plan) -> None:
    """Refuse a purpose that more than the person decides: a list would name people whom the gate refuses."""
    entry, help = plan.entry, f"ask about each person: `kept may {plan.name} WHO`"
    if entry.groups is not None:
        why, help = "is about groups", "ask for figures: `kept groups`"
    elif entry.case:
        why = "needs a case"
    elif entry.needs:
        why = f"needs evidence ({', '.join(map(str, entry.needs))})"
    elif entry.during is not None:
        why = f"is for while a `{entry.during}` is open"
    else:
        return
    raise KeptError(f"`{plan.name}` {why}, so it has no audience", help=help)


def _people(company: Company, rulings: Rulings, plan: Plan, channel: str | None) -> Iterator[Person]:
    for root, kinds in owners(company, plan).items():
        answered = needs_yes(rulings, plan)
        if not answered and unplaced(company, root):
            raise KeptError(
                f"people of kind `{root}` can't be listed, and `{plan.name}` is open to those who never answered",
                help="ask about each with the gate, or let the choice be asked first (opt-in) everywhere",
            )
        for page in _subjects(company, root, answered) if answered else pages(company, root):
            for who, basis in read(company, page, rulings).items():
                if kinds & basis.facts.kinds and rulings.decide(basis, plan.name, channel).allowed:
                    yield who


def owners(company: Company, plan: Plan) -> dict[str, frozenset[str]]:
    """The kinds whose data a purpose uses, by their root kinds; visitors are nobody that can be written to."""
    policy, found = company.policy, dict[str, set[str]]()
    kinds = [kind for name in plan.entry.uses for kind in policy.owners(policy.data[name])]
    for kind in kinds:
        root = policy.root(kind)
        if root is not None and not root.is_organisation and str(root.name) != visitor_kind(policy):
            found.setdefault(str(root.name), set()).add(kind)
    return {root: frozenset(within) for root, within in found.items()}


def needs_yes(rulings: Rulings, plan: Plan) -> tuple[Choice, str] | None:
    """A choice to which everybody has to have said yes, wherever they are; None where silence may do."""
    for choice, scope in plan.needs:
        if not any(rulings.is_silent(choice, region) for region in _regions(rulings.policy, choice)):
            return choice, scope
    return None


def _regions(policy: Policy, choice: Choice) -> Iterable[str | None]:
    """Every region where a choice may be asked in a way of its own."""
    named = {*choice.ask, *(area for name in policy.laws for area in law(name).regions)}
    for entry in policy.section("purposes").values():
        named |= {*getattr(entry, "ground", ())}
    parted = {area.partition("-")[0] for area in named if "-" in area}
    countries = (region for region in regions() if "-" not in region or region.partition("-")[0] in parted)
    return (None, *sorted({*countries, *named} - {"elsewhere"}))


def _subjects(company: Company, root: str, answered: tuple[Choice, str]) -> Iterator[list[Person]]:
    """Those of a kind who have a yes to a choice, a page at a time."""
    choice, scope = answered
    found = marks.load(company, [str(choice.name)])
    numbers = BitMap.union(
        BitMap(), *(bits for mark, bits in found.items() if mark.scope == scope and mark.meaning != NO)
    )
    for start in range(0, len(numbers), PAGE):
        query = select(subjects_table.c.who).where(
            subjects_table.c.number.in_(list(numbers[start : start + PAGE])),
            subjects_table.c.kind == root,
            subjects_table.c.who.is_not(None),
        )
        with company.state.read() as connection:
            sealed = connection.scalars(query).all()
        yield [person_of(company.policy, company.keys.unseal("subject", who).decode()) for who in sealed]
