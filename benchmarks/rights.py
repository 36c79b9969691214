"""Access and erasure on the peer's own sample, beside hand-written set-based SQL doing the same in the same run.

    python -m benchmarks.rights [--customers 1000 100000] [--only one|batch|shapes]

For one person: medians over people asked for in turn, theirs and ours. For batches of 100, 1,000 and 10,000: on other
people of the same tables. Then the same with people who have 100,000 rows each, after both sides have erased others,
and with indexes missing on the referencing columns. Statements are those sent to the company's database, transaction
control not counted.
An erasure is what the whole of it takes in the store: whether they are there, what identifies them, erasing, looking
for remains. Both sides look for the same. Last, the figures of the peer, as measured on the same kind of machine.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Sequence

import psycopg
import sqlalchemy as sa

from benchmarks.peer_shape import build, postgresql
from kept.datamap.graph import DataMap
from kept.stores.collect import collect, existing
from kept.stores.erasing.erase import erase
from kept.stores.erasing.remains import fingerprint, look
from kept.stores.opening import open_store
from kept.stores.sql import SQLStore
from kept.stores.walk import Erasure, Walk

PEER = """the peer (ethyca-fides 2.78.2; web, worker, PostgreSQL and Redis), as measured before on such a machine:
  access 0.8–0.9 s, 100 at once 62 s (96 a minute); erasure 1.4–1.7 s, 100 at once 137 s (44 a minute), no row deleted;
  with 100,000 customers an access is 1.2–1.35 s, 0.8–1.0 s with indexes for its joins"""
MOST = 1.5  # times hand-written SQL

_READ = (
    "SELECT id, email, name, created FROM customers WHERE id = ANY({k})",
    "SELECT customer_id, ccn, name, code FROM payment_cards WHERE customer_id = ANY({k})",
    "SELECT customer_id, at FROM orders WHERE customer_id = ANY({k})",
    "SELECT o.customer_id, i.quantity FROM order_items i JOIN orders o ON o.id = i.order_id"
    " WHERE o.customer_id = ANY({k})",
    "SELECT customer_id, page, at FROM visits WHERE customer_id = ANY({k})",
    "SELECT customer_id, ip, at FROM logins WHERE customer_id = ANY({k})",
    "SELECT customer_id, alt_email, wish, opened FROM service_requests WHERE customer_id = ANY({k})",
    "SELECT p.customer_id, house, street, city, zip FROM addresses a JOIN (SELECT id AS customer_id, address_id"
    " FROM customers WHERE id = ANY({k}) UNION SELECT customer_id, billing_address_id FROM payment_cards"
    " WHERE customer_id = ANY({k}) UNION SELECT customer_id, shipping_address_id FROM orders"
    " WHERE customer_id = ANY({k})) p ON p.address_id = a.id",
)
_IDENTIFYING = (
    "SELECT email, name FROM customers WHERE id = ANY({k})",
    "SELECT ccn, name, code FROM payment_cards WHERE customer_id = ANY({k})",
    "SELECT ip FROM logins WHERE customer_id = ANY({k})",
    "SELECT alt_email FROM service_requests WHERE customer_id = ANY({k})",
)
_OWNED = ("visits", "logins", "service_requests", "orders", "payment_cards")


class ByHand:
    """What somebody who knows these tables would write, for any number of people: keys as one array or one table."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url)
        self.sent = 0

    def run(
        self, statement: str, keys: Sequence[int], **values: object
    ) -> psycopg.Cursor[tuple[object, ...]]:
        self.sent += 1
        batch = len(keys) > 20
        text = statement.replace("ANY({k})", "ANY(SELECT id FROM batch)" if batch else "ANY(%(k)s)")
        return self.connection.execute(text, {"k": keys, **values} if not batch or values else None)

    def start(self, keys: Sequence[int], *, snapshot: bool = False) -> None:
        level = "REPEATABLE READ" if snapshot else "READ COMMITTED"
        self.connection.execute(f"SET TRANSACTION ISOLATION LEVEL {level}; SET LOCAL random_page_cost = 1.1")
        if len(keys) > 20:
            self.connection.execute("CREATE TEMPORARY TABLE batch (id integer PRIMARY KEY) ON COMMIT DROP")
            self.connection.execute("INSERT INTO batch SELECT unnest(%s::integer[])", (list(keys),))
            self.connection.execute("ANALYZE batch")

    def access(self, keys: Sequence[int]) -> int:
        self.start(keys, snapshot=True)
        self.run("SELECT id FROM customers WHERE id = ANY({k})", keys).fetchall()
        rows = 0
        for query in _READ:
            cursor = self.run(query, keys)
            names = [column.name for column in cursor.description or ()][1:]
            found = [(row[0], dict(zip(names, row[1:], strict=True))) for row in cursor.fetchall()]
            rows += len(found)
        self.connection.rollback()
        return rows

    def erase(self, keys: Sequence[int]) -> None:
        self.start(keys)
        self.run("SELECT id FROM customers WHERE id = ANY({k})", keys).fetchall()
        found = [row for query in _IDENTIFYING for row in self.run(query, keys).fetchall()]
        texts = sorted({str(value) for row in found for value in row if value is not None})
        run, candidates = (
            self.run,
            (
                "SELECT address_id AS id FROM customers WHERE id = ANY({k}) UNION SELECT billing_address_id"
                " FROM payment_cards WHERE customer_id = ANY({k}) UNION SELECT shipping_address_id FROM orders"
                " WHERE customer_id = ANY({k})"
            ),
        )
        run(f"CREATE TEMPORARY TABLE shared ON COMMIT DROP AS {candidates}", keys) if len(keys) > 20 else None
        addresses = [] if len(keys) > 20 else [row[0] for row in run(candidates, keys).fetchall()]
        run(
            "UPDATE orders SET payment_card_id = NULL WHERE payment_card_id IN (SELECT id FROM payment_cards"
            " WHERE customer_id = ANY({k})) AND NOT customer_id = ANY({k})",
            keys,
        )
        run(
            "DELETE FROM order_items WHERE order_id IN (SELECT id FROM orders WHERE customer_id = ANY({k}))",
            keys,
        )
        for table in _OWNED:
            run(f"DELETE FROM {table} WHERE customer_id = ANY({{k}})", keys)
        run("DELETE FROM customers WHERE id = ANY({k})", keys)
        run(
            "DELETE FROM addresses a WHERE id "
            + ("IN (SELECT id FROM shared)" if len(keys) > 20 else "= ANY(%(a)s)")
            + " AND NOT EXISTS (SELECT 1 FROM customers WHERE address_id = a.id)"
            " AND NOT EXISTS (SELECT 1 FROM payment_cards WHERE billing_address_id = a.id)"
            " AND NOT EXISTS (SELECT 1 FROM orders WHERE shipping_address_id = a.id)",
            keys,
            a=addresses,
        )
        self.connection.commit()
        self.start(keys, snapshot=True)
        left = [run(f"SELECT count(*) FROM {table} WHERE customer_id = ANY({{k}})", keys) for table in _OWNED]
        left.append(run("SELECT count(*) FROM customers WHERE id = ANY({k})", keys))
        for table, column in (
            ("customers", "email"),
            ("payment_cards", "ccn"),
            ("service_requests", "alt_email"),
        ):
            self.sent += 1
            query = f"SELECT count(*) FROM {table} WHERE {column} = ANY(%s)"
            left.append(self.connection.execute(query, (texts,)))
        counts = [cursor.fetchall() for cursor in left]
        assert not any(row[0] for rows in counts for row in rows), counts
        self.connection.rollback()


class Ours:
    def __init__(self, store: SQLStore, found: DataMap) -> None:
        walk, erasure = found.walk("customer"), found.erasure("customer")
        assert walk is not None and erasure is not None
        self.store, self.sent = store, 0
        self.walk: Walk = walk
        self.erasure: Erasure = erasure
        sa.event.listen(store.engine, "before_cursor_execute", self._count)

    def _count(self, *_: object) -> None:
        self.sent += 1

    def access(self, keys: Sequence[int]) -> int:
        assert len(existing(self.store, self.walk, keys)) == len(keys)
        return sum(len(portion.rows) for portion in collect(self.store, self.walk, keys))

    def erase(self, keys: Sequence[int]) -> None:
        assert len(existing(self.store, self.walk, keys)) == len(keys)
        taken = fingerprint(self.store, self.walk, keys)
        assert erase(self.store, self.erasure, keys, lambda counts: None).tables["customers"].deleted == len(
            keys
        )
        assert look(self.store, self.erasure, keys, taken) == []


def timed(act: Callable[[Sequence[int]], object], keys: Sequence[int]) -> float:
    started = time.perf_counter()
    act(keys)
    return time.perf_counter() - started


def compare(
    what: str,
    ours: Ours,
    theirs: ByHand,
    verb: str,
    keys: Callable[[int], tuple[Sequence[int], Sequence[int]]],
    rounds: int,
    target: float | None,
) -> None:
    """Take turns; print both, their ratio, and whether the target (seconds) and MOST times by hand are met."""
    mine: list[float] = []
    other: list[float] = []
    for number in range(rounds):
        a, b = keys(number)
        both: list[tuple[list[float], ByHand | Ours, Sequence[int]]] = [(mine, ours, a), (other, theirs, b)]
        for times, who, people in both if number % 2 else both[::-1]:
            who.sent = 0
            times.append(timed(getattr(who, verb), people))
    took, hand = statistics.median(mine), statistics.median(other)
    ratio = took / hand
    met = (target is None or took <= target) and ratio <= MOST
    bound = f" (at most {target * 1000:,.0f})" if target is not None else ""
    print(
        f"  {what}: {took * 1000:,.1f} ms{bound}, by hand {hand * 1000:,.1f} ms, ratio {ratio:.2f} (at most {MOST}),"
        f" {ours.sent} statements, by hand {theirs.sent}: {'met' if met else 'MISSED'}",
        flush=True,
    )


def measure(url: str, customers: int, only: str | None, *, shapes: bool) -> None:
    store = open_store("app", url)
    hand = ByHand(url)
    started = time.perf_counter()
    if only in (None, "one", "batch"):
        ours = Ours(store, build(store, customers))
        print(f"{customers:,} customers (made in {time.perf_counter() - started:.0f} s)")
        for warm in range(1, 4):
            ours.access([warm]), hand.access([warm])
    if only in (None, "one"):
        compare("one access", ours, hand, "access", lambda i: ([10 + i], [40 + i]), 30, 0.010)
        compare("one erasure", ours, hand, "erase", lambda i: ([100 + 2 * i], [101 + 2 * i]), 30, 0.015)
    if only in (None, "batch"):
        at = 400
        for size, read, gone in ((100, None, None), (1_000, 2.0, 1.5), (10_000, None, 8.0)):
            if at + size * 2 * (3 if size < 10_000 else 1) > customers:
                break
            rounds = 3 if size < 10_000 else 1
            chosen = [
                (
                    range(at + 2 * r * size, at + (2 * r + 1) * size),
                    range(at + (2 * r + 1) * size, at + (2 * r + 2) * size),
                )
                for r in range(rounds)
            ]
            pairs = [(list(a), list(b)) for a, b in chosen]
            if size <= 1_000:
                compare(f"{size:,} accesses", ours, hand, "access", lambda i, p=pairs: p[i], rounds, read)  # type: ignore[misc]  # a default binds the loop's value
            compare(f"{size:,} erasures", ours, hand, "erase", lambda i, p=pairs: p[i], rounds, gone)  # type: ignore[misc]
            at += 2 * rounds * size
    if shapes and only in (None, "shapes"):
        few = min(customers, 10_000)
        ours = Ours(store, build(store, few, heavy=100_000))
        heavy = [few, 7, 8, 9, 10, 11]
        with store.alone() as connection:
            for person in heavy[1:]:
                connection.exec_driver_sql(
                    f"INSERT INTO visits SELECT {person}0000000 + i, {person}, 1, '/', now()"
                    " FROM generate_series(1, 100000) i"
                )
            connection.exec_driver_sql("VACUUM ANALYZE")
            connection.exec_driver_sql("CHECKPOINT")
        print(f"{few:,} customers, {len(heavy)} of them with 100,000 rows each")
        for warm in range(12, 16, 2):  # neither side erases for the first time
            ours.erase([warm])
            hand.erase([warm + 1])
        turns = [([one], [other]) for one, other in zip(heavy[::2], heavy[1::2], strict=True)]
        compare("access of 100,000 rows", ours, hand, "access", lambda i: turns[i], 3, None)
        compare("erasure of 100,000 rows", ours, hand, "erase", lambda i: turns[i], 3, None)
        missing = (
            ("orders", "payment_card_id"),
            ("payment_cards", "billing_address_id"),
            ("visits", "customer_id"),
        )
        ours = Ours(store, build(store, few, without=missing))
        print(f"{few:,} customers, no index on {', '.join('.'.join(place) for place in missing)}")
        compare("one access", ours, hand, "access", lambda i: ([10 + i], [40 + i]), 10, None)
        compare("one erasure", ours, hand, "erase", lambda i: ([100 + 2 * i], [101 + 2 * i]), 10, None)
        compare(
            "100 erasures",
            ours,
            hand,
            "erase",
            lambda i: (list(range(200, 300)), list(range(300, 400))),
            1,
            None,
        )
    hand.connection.close()
    store.dispose()


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--customers", type=int, nargs="+", default=[1_000, 100_000])
    asked.add_argument("--only", choices=["one", "batch", "shapes"])
    given = asked.parse_args()
    for number, customers in enumerate(given.customers):
        with postgresql() as url:
            measure(url, customers, given.only, shapes=number == len(given.customers) - 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"peak memory of this process, both sides: {peak:.0f} MiB (at most 300): {'met' if peak <= 300 else 'MISSED'}"
    )
    print(PEER)


if __name__ == "__main__":
    main()
