"""Measures disclosure on what is there: the register, agreements and safeguards, browsers, the stores of partners.

What a partner does with data, only the partner sees: nothing here speaks of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from fnmatch import fnmatchcase
from typing import Any

from kept.company import Company
from kept.controls.choices.floor import in_browsers
from kept.controls.collection.browser import seen
from kept.controls.collection.browser.scan import newest
from kept.controls.disclosure import register
from kept.controls.disclosure.compared import compared
from kept.controls.disclosure.declare import Disclosure
from kept.controls.disclosure.declared import disclosures
from kept.controls.disclosure.outgoing.destination import is_declared
from kept.controls.disclosure.papers import lacking
from kept.controls.purposes.declare import Purpose
from kept.errors import KeptError
from kept.evidence.proof import Measured, Proof
from kept.laws.law import safeguard
from kept.policy.fact_readers import store_of
from kept.policy.facts import DeclaredStore, Party
from kept.policy.policy import Policy


def of_register(company: Company, promises: Sequence[Disclosure], *, whole: bool = False) -> Proof:
    """What stands on the register is what the ledger has, and is declared: recipient, purpose, columns, ground, and a
    safeguard that is the party's and stood then.

    Rows of these promises, or the `whole` register, in which there may be no others. Of rows from under another version
    of the policy only the safeguard's life is measured: what that version declared isn't in this file.
    """
    policy = company.policy
    mine = {str(one.name): one for one in promises}
    rows = earlier = people = 0
    wrong: dict[str, int] = {}
    for number, row in register.sorts(company):
        name = str(row["disclosure"])
        if not whole and name not in mine:
            continue
        rows += number
        people += number if row["named"] else 0
        faults = _stood(row)
        if row["policy"] != policy.source.digest:
            earlier += number
        elif name not in mine:
            faults.append(f"by `{name}`, which isn't declared")
        else:
            faults += _undeclared(policy, mine[name], row)
        for fault in faults:
            wrong[fault] = wrong.get(fault, 0) + number
    ledger = compared(company, None if whole else mine)
    measured: Measured = {
        "rows": rows,
        "of_named_people": people,
        "undeclared": sum(wrong.values()),
        "earlier": earlier,
        "altered": ledger.altered,
        "gone": ledger.gone,
        "not_on_ledger": ledger.alone,
        "late_on_ledger": ledger.late,
    }
    changed = (
        [f"{ledger.altered} rows of the register say something else than the ledger"]
        if ledger.altered
        else []
    )
    changed += (
        [f"{ledger.gone} disclosures on the ledger aren't on the register any more"] if ledger.gone else []
    )
    if wrong:
        listed = "; ".join(f"{number} {fault}" for fault, number in list(wrong.items())[:5])
        changed.insert(0, f"Data was given {listed}")
    if changed:
        return Proof("measure", "broken", f"{'; '.join(changed)}.", measured)
    if ledger.alone:
        says = f"{ledger.alone} rows of the register aren't on the ledger: put in, or Kept was killed between the two."
        return Proof("measure", "unproven", says, measured)
    if not rows:
        says = "Nothing was given through Kept so far, and what leaves without it isn't seen: so nothing shows it."
        return Proof("measure", "unproven", says, measured)
    if rows == earlier:
        says = f"Nothing was given under this version so far, and what {rows} earlier rows rest on isn't in this file."
        return Proof("measure", "unproven", says, measured)
    before = f"; of {earlier} more, the version that declared them isn't this one" if earlier else ""
    before += (
        f"; {ledger.late} came onto the ledger late, after a crash or from a row put in"
        if ledger.late
        else ""
    )
    says = (
        f"Each of {rows - earlier} disclosures on the register, and on the ledger, went where it is declared, with"
        f" declared columns only{before}."
    )
    return Proof("measure", "kept", says, measured)


def _stood(row: Mapping[str, Any]) -> list[str]:
    """What is wrong with the safeguard under which something was given, by its life."""
    under = row["safeguard"]
    if under is None:
        return []
    try:
        known = safeguard(under)
    except KeyError:
        return ["on a safeguard that no law knows"]
    days = [str(row[time])[:10] for time in ("first", "last")]
    return [
        f"on {known.name}, which didn't stand on {day}"
        for day in days
        if not known.stands(date.fromisoformat(day))
    ][:1]


def declared_columns(policy: Policy, promise: Disclosure) -> frozenset[str]:
    """The columns (`store.table.column`) of the data that a disclosure gives."""
    return frozenset(
        f"{table}.{column}"
        for name in promise.gives
        if name in policy.data
        for table, columns in policy.data[name].tables.items()
        for column in columns
    )


def of_papers(company: Company, promise: Disclosure | None, parties: Sequence[Party]) -> list[Proof]:
    """The agreement with each party, and what protects data where it is, stand today; none where none is needed."""
    policy = company.policy
    today = company.clock().astimezone(policy.timezone).date()
    proofs = []
    for party in parties:
        lacks = lacking(policy, party, today)
        measured: Measured = {
            "party": str(party.name),
            "agreement": str(party.agreement) if party.agreement else None,
            "certified": str(party.certified) if party.certified else None,
            "safeguard": str(party.safeguard) if party.safeguard else None,
        }
        dead = [lack for lack in lacks if lack.state == "dead"]
        if dead:
            says = "; ".join(f"{lack.says}{f' ({lack.law})' if lack.law else ''}" for lack in dead)
            proofs.append(Proof("measure", "broken", f"{_capital(says)}.", measured))
        elif lacks:
            if promise is None or promise.attest is None:
                says = "; ".join(lack.says for lack in lacks)
                proofs.append(Proof("measure", "unproven", f"{_capital(says)}.", measured))
        elif party.agreement is not None or party.safeguard is not None:
            said = [f"the agreement with {party.label} is dated {party.agreement}"] if party.agreement else []
            said += [f"{safeguard(party.safeguard).name} stands"] if party.safeguard else []
            said += [f"it is certified {party.certified}"] if party.certified and party.safeguard else []
            proofs.append(Proof("measure", "kept", f"{_capital(', '.join(said))}.", measured))
    return proofs


def of_browsers(company: Company, promise: Disclosure, parties: Sequence[Party]) -> list[Proof]:
    """What a browser reaches is declared, and the hosts of a party that gets data from browsers are among it."""
    policy = company.policy
    stores = dict.fromkeys(
        str(store_of(table))
        for name in promise.gives
        if name in policy.data
        for table in in_browsers(policy, policy.data[name])
    )
    if not stores:
        return []
    proof = seen.of_undeclared(company, list(stores))
    if proof.verdict != "kept":
        return [proof]
    met = {host for store in stores for host in _met(company, store)}
    unmet = [
        party.label for party in parties if party.hosts and not any(is_declared(party.hosts, h) for h in met)
    ]
    if unmet:
        says = f"Nothing was seen to leave a browser for {', '.join(unmet)}."
        return [Proof("measure", "unproven", says, {**proof.measured, "hosts": len(met)})]
    hosts = ", ".join(
        sorted(host for host in met if any(is_declared(party.hosts, host) for party in parties))
    )
    return [
        proof,
        Proof("measure", "kept", f"A browser reached {hosts}, which is declared.", {"hosts": len(met)}),
    ]


def every_browser(company: Company) -> list[Proof]:
    """No browser met a host, a cookie or anything stored that nobody declared; none where there is no site."""
    stores = [str(name) for name, store in company.policy.stores.items() if store.sort == "browser"]
    return [seen.of_undeclared(company, stores)] if stores else []


def of_stores(company: Company, parties: Iterable[str]) -> list[Proof]:
    """The stores that parties keep hold what they are given and nothing else, as far as it can be asked."""
    policy, names = company.policy, set(parties)
    stores = [
        store for store in policy.stores.values() if store.party is not None and str(store.party) in names
    ]
    return [proof for store in stores if (proof := _of_store(company, store)) is not None]


def _of_store(company: Company, store: DeclaredStore) -> Proof | None:
    policy, name = company.policy, str(store.name)
    given = {str(data) for one in disclosures(policy) if store.party in one.to for data in one.gives}
    there = {
        str(data.name): [str(table) for table in data.tables if str(store_of(table)) == name]
        for data in policy.data.values()
    }
    there = {data: tables for data, tables in there.items() if tables}
    beyond = sorted(there.keys() - given)
    measured: Measured = {"store": name, "data": len(there), "not_given": len(beyond)}
    party = policy.parties[str(store.party)].label
    if beyond:
        says = f"`{', '.join(beyond)}` stands with {party} in `{name}`, and no disclosure gives it that."
        return Proof("measure", "broken", says, measured)
    behind = company.records.get(name)
    if behind is None:
        why = company.unreachable.get(name, "its kind of store can't be asked")
        if store.sort == "outside" and policy.parties[str(store.party)].hosts:
            return None  # nobody can ask it; what leaves for it, a browser shows
        return Proof(
            "measure", "unproven", f"What {party} has in `{name}` can't be looked at: {why}.", measured
        )
    rows, missing, silent = 0, [], []
    try:
        for table in sorted({table for tables in there.values() for table in tables}):
            plain = table.partition(".")[2]
            held = {str(c) for data in there for c in _columns(policy, data, table)}
            known = behind.columns(plain)
            missing += [f"{table}.{column}" for column in sorted(held - known)] if known else []
            silent += [] if known else [table]
            rows += behind.count(plain)
    except KeptError as wrong:
        says = f"What {party} has in `{name}` could not be looked at: {wrong.message}."
        return Proof("measure", "unproven", says, measured)
    measured = {**measured, "records": rows, "columns_missing": len(missing)}
    if missing:
        says = f"`{name}` doesn't have {', '.join(missing)}, which the file declares there."
        return Proof("measure", "unproven", says, measured)
    if silent:
        says = (
            f"{party} has {rows} records in `{name}`, and doesn't list what it keeps in {', '.join(silent)}."
        )
        return Proof("measure", "unproven", says, measured, unseen=True)
    says = (
        f"{party} has {rows} records in `{name}`; every declared column there is one that it is given. What else it has"
        " noted in fields nobody declared is for the collection's proof."
    )
    return Proof("measure", "kept", says, measured)


def _columns(policy: Policy, data: str, table: str) -> list[str]:
    tables = policy.data[data].tables
    return [str(column) for name, columns in tables.items() if name == table for column in columns]


def _undeclared(policy: Policy, promise: Disclosure, row: Mapping[str, Any]) -> list[str]:
    recipient, fields, columns = row["recipient"], row["fields"].split(), declared_columns(policy, promise)
    party, purpose = policy.parties.get(recipient), policy.section("purposes").get(str(promise.purpose))
    faults = []
    if recipient not in map(str, promise.to):
        faults.append(f"to `{recipient}`, which `{promise.name}` doesn't name")
    if row["purpose"] != promise.purpose:
        faults.append(f"for `{row['purpose']}`, which `{promise.name}` isn't for")
    elif isinstance(purpose, Purpose) and row["ground"] not in map(str, purpose.ground.values()):
        faults.append(f"on a ground that `{promise.purpose}` doesn't have")
    if row["safeguard"] != (str(party.safeguard) if party is not None and party.safeguard else None):
        faults.append(f"under another safeguard than that of `{recipient}`")
    patterns = [column for column in columns if "*" in column]  # cookies whose names end in a number
    beyond = [one for one in sorted(set(fields) - columns) if not any(fnmatchcase(one, p) for p in patterns)]
    if beyond:
        faults.append(f"with {', '.join(beyond[:3])}, which `{promise.name}` doesn't give")
    return faults


def _met(company: Company, store: str) -> set[str]:
    last = newest(company, store)
    return {host for visit in last.visits for host in visit.hosts} if last is not None else set()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
