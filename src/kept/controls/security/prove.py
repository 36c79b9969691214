"""Measures how data is kept safe: connections, the form of hashes and of sealed values, and where stores are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from kept.company import Company
from kept.controls.security import connections, hashes, places
from kept.controls.security.declare import Attesting, Encrypting, Hashing, Placing, Sealing
from kept.controls.security.passwords import Passwords, fingerprint
from kept.controls.security.sealing.columns import SealedColumn, columns_of
from kept.controls.security.sealing.resealing import Place, Unsealable
from kept.controls.security.sealing.sealer import Sealer
from kept.errors import KeptError
from kept.evidence.proof import Measured, Proof
from kept.policy.entry import Promise
from kept.policy.fact_readers import store_of
from kept.policy.facts import Data
from kept.stores.sql import SQLStore

OPENED = 200  # sealed values that are opened, of each column
DRAWN = 200  # hashes that are looked for on the ledger, of each column


def prove(company: Company, promise: Promise) -> list[Proof]:
    """The proofs of one promise; what only a person can confirm is `unseen`, and none where that is all of it."""
    if isinstance(promise, Encrypting):
        return _encrypting(company, promise)
    if isinstance(promise, Hashing):
        return [proof for name in promise.hashes for proof in _hashing(company, promise, str(name))]
    if isinstance(promise, Sealing):
        return [_sealing(company, column) for column in columns_of(company.policy, promise)]
    if isinstance(promise, Placing):
        return _placing(company, promise)
    assert isinstance(promise, Attesting)
    return []


def _encrypting(company: Company, promise: Encrypting) -> list[Proof]:
    proofs = []
    if "connections" in promise.encrypts:
        proofs += list(connections.measure(company))
        outside = connections.unseen(company)
        if outside:
            says = f"Connections to {_named(outside)} are made elsewhere, and can't be seen from here."
            proofs.append(_by_word(promise, says, {"outside": len(outside)}))
    stores = [str(name) for name in promise.encrypts if name != "connections"]
    if stores:
        says = f"No machine can see from here that the disks of {_named(stores)} are encrypted."
        proofs.append(_by_word(promise, says, {"stores": len(stores)}))
    return proofs


def _by_word(promise: Promise, says: str, measured: Measured) -> Proof:
    """What only a person can confirm (`attest`)."""
    advice = "" if promise.attest is not None else " Add `attest:` to the promise, for whoever can."
    return Proof("measure", "unproven", says + advice, measured, unseen=True)


def _named(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _hashing(company: Company, promise: Hashing, name: str) -> list[Proof]:
    """Each value of the data's credentials must be a slow hash; and, for a strength, made by what refuses weak ones."""
    proofs = []
    for place, column in _credentials(company.policy.data[name]):
        store, _, table = place.partition(".")
        field = f"{place}.{column}"
        if store not in company.schemas or column not in company.schemas[store].tables[table].columns:
            why = company.unreachable.get(store, "there is no such column")
            proofs.append(Proof("measure", "unproven", f"`{field}` can't be read: {why}.", {"column": field}))
            continue
        proofs.append(_slow(field, hashes.count(company.stores[store], table, column)))
        if promise.strength is not None:
            proofs.append(_strong(company, promise, store, table, column))
    return proofs or [Proof("measure", "unproven", f"`{name}` has no column of sort credential to look at.")]


def _credentials(data: Data) -> list[tuple[str, str]]:
    found = data.tables.items()
    return [
        (str(t), str(c)) for t, columns in found for c, sort in columns.items() if sort.type == "credential"
    ]


def _slow(field: str, found: hashes.Counted) -> Proof:
    measured: Measured = {
        "column": field,
        "values": found.values,
        "slow": sum(found.slow.values()),
        "too_cheap": found.cheap,
        "no_hash": found.others,
    }
    if found.others or found.cheap:
        says = (
            f"Of {found.values} values of `{field}`, {found.others} aren't slow, salted hashes and {found.cheap} are "
            "hashed at too small a cost."
        )
        return Proof("measure", "broken", says, measured)
    if not found.values:
        return Proof("measure", "unproven", f"`{field}` is empty, so there is nothing to look at.", measured)
    schemes = ", ".join(sorted(found.slow))
    says = f"Each of {found.values} values of `{field}` is a slow, salted hash ({schemes})."
    return Proof("measure", "kept", says, measured)


def _strong(company: Company, promise: Hashing, store: str, table: str, column: str) -> Proof:
    """The check must refuse weak passwords, and stored hashes must have come through it."""
    field = f"{store}.{table}.{column}"
    strength = promise.strength or 0
    check = Passwords(strength)
    weak = [word for word in ("password", "12345678", "qwertyuiop") if check.weak(word) is None]
    if weak:  # zxcvbn itself would have to be broken, or the strength 0
        says = f"{len(weak)} of the commonest passwords are taken at strength {strength}."
        return Proof("probe", "broken", says, {"taken": len(weak)})
    drawn = _drawn(company, store, table, column)
    noted = company.ledger.keyed([fingerprint(company, text) for text in drawn]).values()
    passed = sum(int(entry.get("strength", 0)) >= strength for entry in noted)
    measured: Measured = {"column": field, "looked_for": len(drawn), "checked": passed}
    if drawn and passed == len(drawn):
        says = f"Each of {len(drawn)} hashes looked at came through the check that refuses weak passwords."
        return Proof("measure", "kept", says, measured)
    says = (
        f"Of {len(drawn)} hashes looked at, {len(drawn) - passed} were not made by Kept's check, so nobody can tell "
        "whether those passwords were weak."
    )
    return _by_word(promise, says, measured)


def _drawn(company: Company, store: str, table: str, column: str) -> list[str]:
    """Some values of a column, drawn at random."""
    value = company.stores[store].table(table).c[column]
    chosen = sa.select(value).where(value.is_not(None), value != "")
    chosen = chosen.order_by(_random(company.stores[store])).limit(DRAWN)
    with company.stores[store].read() as connection:
        return [str(text) for text in connection.scalars(chosen)]


def _random(store: SQLStore) -> sa.ColumnElement[Any]:
    return sa.func.rand() if store.dialect == "mariadb" else sa.func.random()


def _sealing(company: Company, column: SealedColumn) -> Proof:
    """Every value must be sealed, by a key that stands; of each column some are opened."""
    field = column.field
    try:
        place = Place.of(company, column)
    except Unsealable as wrong:
        return Proof("measure", "broken", f"`{field}` stands open: {wrong.message}.", {"column": field})
    except KeptError as wrong:
        return Proof("measure", "unproven", f"`{field}` is not measured: {wrong.message}.", {"column": field})
    sealer = Sealer.of(company)
    living = [key.generation for key in sealer.keys(column.store).living()]
    table = sa.select(sa.func.count()).select_from(place.table).where(place.full)
    with place.store.read() as connection:
        values = connection.execute(table).scalar_one()
        sealed = connection.execute(table.where(place.sealed())).scalar_one()
        by_key = sum(connection.execute(table.where(place.sealed(one))).scalar_one() for one in living)
        some = sa.select(*place.keys, place.value.label("sealed")).where(place.full, place.sealed())
        drawn = some.order_by(_random(place.store)).limit(OPENED)
        rows = [tuple(row) for row in connection.execute(drawn)]
    spoilt = sum(not _opens(sealer, column, row) for row in rows)
    measured: Measured = {
        "column": field,
        "values": values,
        "open": values - sealed,
        "without_key": sealed - by_key,
        "opened": len(rows),
        "spoilt": spoilt,
        "keys": len(living),
    }
    if values - sealed:
        says = (
            f"{values - sealed} of {values} values of `{field}` stand open: `kept seal apply {column.store}`."
        )
        return Proof("measure", "broken", says, measured)
    if sealed - by_key or spoilt:
        says = (
            f"Of {values} values of `{field}`, {sealed - by_key} are sealed with a key that doesn't stand, and of "
            f"{len(rows)} that were opened {spoilt} are no sealed values of their rows."
        )
        return Proof("measure", "broken", says, measured)
    if not values:
        return Proof("measure", "unproven", f"`{field}` is empty, so there is nothing to look at.", measured)
    says = f"Each of {values} values of `{field}` is written as a sealed one is; "
    says += (
        f"{len(rows)}, drawn at random, were opened to see."
        if len(rows) < values
        else "each was opened to see."
    )
    return Proof("measure", "kept", says, measured)


def _opens(sealer: Sealer, column: SealedColumn, row: tuple[object, ...]) -> bool:
    *key, text = row
    try:
        sealer.opened(column, tuple(key), str(text))
    except KeptError:
        return False
    return True


def _placing(company: Company, promise: Placing) -> list[Proof]:
    """Where each store is that holds some of the data; what people's own browsers hold is where they are."""
    policy, regions = company.policy, tuple(map(str, promise.regions))
    tables = [table for name in promise.places if name in policy.data for table in policy.data[name].tables]
    stores = dict.fromkeys(str(store_of(table)) for table in tables)
    proofs, unknown = [], []
    for name in stores:
        declared = policy.stores.get(name)
        if declared is None or declared.sort == "browser":
            continue
        found = places.where(company, name, declared)
        if found.region is None:
            unknown.append((name, found.by))
            continue
        measured: Measured = {"store": name, "region": found.region, "by": found.by}
        if places.fits(regions, found.region):
            says = f"`{name}` is in {found.region.upper()}, by {found.by}."
            proofs.append(Proof("measure", "kept", says, measured))
        else:
            says = f"`{name}` is in {found.region.upper()}, by {found.by}, and not in {' or '.join(regions)}."
            proofs.append(Proof("measure", "broken", says, measured))
    for name, why in unknown:
        says = f"Where `{name}` is can't be measured: {why}."
        proofs.append(_by_word(promise, says, {"store": name}))
    return proofs
