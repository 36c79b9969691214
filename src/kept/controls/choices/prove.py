"""Proves choices: what the gate decides is tried, what is on record is counted anew, what a browser sees is compared.

A choice is `kept` only where something real was looked at: messages that were let through, people's rows, or the site
in a browser. That the gate would decide rightly proves nothing where nobody asks it.
"""

from __future__ import annotations

from datetime import timedelta

from kept.company import Company
from kept.controls.choices import measured as measure
from kept.controls.choices import tried
from kept.controls.choices.asking import ASKED, ask_of, in_browser, served
from kept.controls.choices.declare import Choice
from kept.controls.choices.measured import LOOKED_BACK
from kept.controls.collection import rows
from kept.controls.collection.browser import seen
from kept.controls.collection.declare import Collecting
from kept.controls.collection.persons import wards
from kept.controls.disclosure import measured as register
from kept.controls.disclosure.declare import Disclosure
from kept.controls.disclosure.visibility import measured as visibility
from kept.controls.purposes.declare import Purpose
from kept.evidence.proof import Measured, Proof
from kept.policy.entry import Promise
from kept.policy.fact_readers import store_of

DAYS = LOOKED_BACK.days


def prove(company: Company, promise: Promise) -> list[Proof]:
    """The proofs of one choice: two of decisions and records, and one for each use that waits for it."""
    assert isinstance(promise, Choice)
    proofs = [_decisions(company, promise), _record(company, promise)]
    effect = _effect(company, promise)
    return [*proofs, *([effect] if effect is not None else []), *_uses(company, promise)]


def _decisions(company: Company, choice: Choice) -> Proof:
    """Try what must be allowed and what must be refused."""
    made_up, real = tried.trials(company, choice), tried.sampled(company, choice)
    wrong = [one for one in (*made_up, *real) if one.wrong]
    measured: Measured = {
        "trials": len(made_up),
        "of_real_people": len(real),
        "wrong": len(wrong),
        "uses": len({one.use for one in made_up}),
    }
    if wrong:
        first = "; ".join(dict.fromkeys(map(str, wrong[:3])))
        return Proof("probe", "broken", f"The gate decided wrongly {len(wrong)} times: {first}.", measured)
    if not made_up:
        return Proof("probe", "unproven", "Nothing could be tried of it.", measured)
    every = [*made_up, *real]
    refused = sum(not one.must for one in every)
    own = f", {len(real)} of them by people's own answers" if real else ""
    says = f"Of {len(every)} uses tried at the gate{own}, {refused} had to be refused and were; the others weren't."
    return Proof("probe", "kept", says, measured)


def _record(company: Company, choice: Choice) -> Proof:
    """What the gate goes by must be what people answered, each answer on the ledger, each yes to something shown."""
    stands, ledger = measure.standing(company, choice), measure.on_ledger(company, choice)
    asked = any(
        ask_of(company.policy, choice, region) in ASKED for region in tried.regions(company.policy, choice)
    )
    measured: Measured = {
        "answers": ledger.events,
        "yes": stands.yes,
        "no": stands.no,
        "lists_that_differ": stands.differing,
        "looked_for_on_ledger": ledger.looked,
        "not_on_ledger": ledger.missing,
        "without_what_was_shown": stands.unshown,
    }
    if stands.differing:
        says = f"{stands.differing} lists of who said yes or no don't agree with what people answered."
        return Proof("measure", "broken", says, measured)
    if ledger.missing:
        says = f"{ledger.missing} of {ledger.looked} answers are not on the ledger."
        return Proof("measure", "broken", says, measured)
    if stands.unshown and asked:
        says = f"Of {stands.yes} yeses, nobody can say for {stands.unshown} what was asked."
        return Proof("measure", "unproven", says, measured)
    looked = "each" if ledger.looked == ledger.events else f"each of {ledger.looked} drawn at random"
    says = f"{stands.yes} yeses and {stands.no} noes stand, as {ledger.events} answers say; {looked} is on the ledger."
    return Proof("measure", "kept", says, measured)


def _effect(company: Company, choice: Choice) -> Proof | None:
    """How soon a change is everywhere; nothing to measure where no process learned of any from another."""
    found = measure.effect(company, choice)
    measured: Measured = {
        "processes": found.heard,
        "at_work": found.readers,
        "behind": found.behind,
        "changes": found.learned,
        "longest_seconds": round(found.longest.total_seconds(), 3),
        "within": str(choice.takes_effect),
    }
    if found.behind or found.longest > found.within:
        says = (
            f"A change took {_seconds(found.longest)} to reach a process that asks, and {found.behind} haven't "
            f"learned of a withdrawal; declared is: {choice.takes_effect}."
        )
        return Proof("measure", "broken", says, measured)
    if not found.learned:
        return None
    says = (
        f"Since yesterday {found.learned} changes reached the processes that ask, the slowest in "
        f"{_seconds(found.longest)}; declared is: {choice.takes_effect}."
    )
    return Proof("measure", "kept", says, measured)


def _uses(company: Company, choice: Choice) -> list[Proof]:
    """What really happens under a choice, use by use."""
    policy, waiting, name = company.policy, served(company.policy, choice), str(choice.name)
    if choice.covers is not None:
        return [_closed(company, choice)]
    browsing = bool(in_browser(policy, choice))
    proofs, sites = list[Proof](), seen.stores_of(policy, choice)
    if browsing:
        proofs.append(seen.of_choice(company, choice, sites))
    for purpose in waiting.purposes:
        if name in purpose.choice and purpose.sends:
            proofs.append(_messages(company, choice, purpose))
        elif not (browsing and _comes_by_browser(company, choice, purpose)):
            proofs.append(_unasked(company, purpose))
    for collection in waiting.collections:
        if not seen.is_in_browser(policy, collection):
            proofs.append(_rows(company, choice, collection))
    for disclosure in waiting.disclosures:
        if not (browsing and _by_browser(company, disclosure)):
            proofs += _given(company, disclosure)
    if not proofs:
        proofs.append(Proof("measure", "unproven", "Nothing waits for it, so there is nothing to measure."))
    return proofs


def _messages(company: Company, choice: Choice, purpose: Purpose) -> Proof:
    """The messages that were let through, against the answers of then. What is sent without a note nobody can see."""
    found = measure.sent(company, choice, purpose)
    measured: Measured = {
        "purpose": str(purpose.name),
        "messages": found.messages,
        "after_a_no": found.after_no,
        "without_a_yes": found.without_yes,
        "for_more_than_the_yes": found.uncovered,
        "while_a_change_was_under_way": found.under_way,
    }
    if found.unsure is not None:
        says = f"Whether messages of `{purpose.name}` needed a yes can't be told: {found.unsure}"
        return Proof("measure", "unproven", says, measured)
    if found.wrong:
        says = (
            f"{found.wrong} of {found.messages} messages of `{purpose.name}` in {DAYS} days went to people who "
            f"had not said yes to it or had said no."
        )
        return Proof("measure", "broken", says, measured)
    if not found.messages or found.last is None:
        says = f"No message of `{purpose.name}` was noted in {DAYS} days: nothing shows that Kept is asked before."
        return Proof("measure", "unproven", says, measured)
    says = (
        f"Of {found.messages} messages of `{purpose.name}` noted in {DAYS} days, the last on {found.last:%Y-%m-%d}, "
        "none went to anybody whose choice then forbade it."
    )
    return Proof("measure", "kept", says, measured)


def _rows(company: Company, choice: Choice, collection: Collecting) -> Proof:
    """What stands in the databases of people who never said yes; positions, of whoever hasn't a yes now."""
    found = rows.without_yes(company, choice, collection)
    measured: Measured = {
        "collection": str(collection.name),
        "people": found.people,
        "without_a_yes": found.without,
        "tables": found.tables,
    }
    if found.without:
        says = f"{found.without} of {found.people} people with rows of `{collection.name}` have not said yes to it."
        return Proof("measure", "broken", says, measured)
    if found.gaps:
        return Proof("measure", "unproven", "; ".join(found.gaps) + ".", measured)
    says = f"{found.people} people have rows of `{collection.name}`, each with a yes."
    return Proof("measure", "kept", says, measured)


def _closed(company: Company, choice: Choice) -> Proof:
    """Those for whom a permission must stand before anything, and doesn't: they are refused wherever Kept is asked."""
    closed = sum(one.choice == choice.name for one in wards.closed(company))
    says = (
        f"{closed} people have no permission that stands, so the gate refuses all of theirs; nothing measures whether"
        " it is asked before every use."
    )
    return Proof("measure", "unproven", says, {"without_permission": closed})


def _given(company: Company, disclosure: Disclosure) -> list[Proof]:
    """What left under a choice, by the register; what people see of each other, by real pairs of them."""
    if any(to in company.policy.parties for to in disclosure.to):
        return [register.of_register(company, [disclosure])]
    says = f"Nothing measures whether Kept is asked before `{disclosure.id}`."
    return visibility.measure(company, disclosure) or [Proof("measure", "unproven", says)]


def _unasked(company: Company, purpose: Purpose) -> Proof:
    """What is used in somebody else's tool, nobody here can see."""
    policy = company.policy
    tables = [table for name in purpose.uses if name in policy.data for table in policy.data[name].tables]
    elsewhere = not any(policy.stores[store_of(table)].is_sql for table in tables)
    says = f"Nothing measures whether Kept is asked before `{purpose.name}` uses data."
    return Proof("measure", "unproven", says, unseen=elsewhere)


def _comes_by_browser(company: Company, choice: Choice, purpose: Purpose) -> bool:
    """Whether all that a purpose uses comes from browsers under the same choice: what isn't taken can't be used."""
    collections = [
        one
        for one in company.policy.section("collection").values()
        if isinstance(one, Collecting)
        for name in purpose.uses
        if name in (*one.takes, *one.optional)
    ]
    return bool(collections) and all(
        choice.name in one.choice and seen.is_in_browser(company.policy, one) for one in collections
    )


def _by_browser(company: Company, disclosure: Disclosure) -> bool:
    """Whether what is disclosed leaves from the browser: all its data is kept there, and the party has a host."""
    policy = company.policy
    gives = [policy.data[name] for name in disclosure.gives if name in policy.data]
    return (
        bool(gives)
        and all(
            any(policy.stores[store_of(table)].sort == "browser" for table in data.tables) for data in gives
        )
        and all(to in policy.parties and policy.parties[to].hosts for to in disclosure.to)
    )


def _seconds(length: timedelta) -> str:
    seconds = length.total_seconds()
    return f"{seconds:.2g} s" if seconds < 120 else f"{seconds / 3600:.1f} hours"
