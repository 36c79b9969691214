"""Making an erasure clean in PostgreSQL's files, beside VACUUM FULL and CHECKPOINT of the same tables by hand.

    python -m benchmarks.clean [--customers 30000 100000] [--erased 1 1000 10000]

The peer's own sample. Each time the sample is made anew, customers are erased and their tables scrubbed: everything the
scrub looks for is then found nowhere in tables, indexes, samples and log. It is timed by part as the server's
statements are, the rest is looking at what was read. Then the same tables are scrubbed again, of which nothing was
deleted since. By hand nobody looks: the tables are rewritten, the rest of what remains (samples, log) stays.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from benchmarks.peer_shape import build, postgresql
from kept.datamap.graph import DataMap
from kept.stores.erasing.erase import erase
from kept.stores.opening import open_store
from kept.stores.physical.files import scrub
from kept.stores.sql import SQLStore

TABLES = [
    "customers",
    "addresses",
    "payment_cards",
    "orders",
    "order_items",
    "visits",
    "logins",
    "service_requests",
]
_PARTS = {
    "VACUUM (FULL": "rewriting",
    "VACUUM": "VACUUM",
    "CHECKPOINT": "checkpoints",
    "SELECT pg_switch": "log",
}


def erased(found: DataMap, store: SQLStore, many: int) -> list[str]:
    """Erase customers; the values by which they were known."""
    keys = list(range(100, 100 + many))
    erasure = found.erasure("customer")
    assert erasure is not None
    erase(store, erasure, keys, lambda counts: None)
    ends = ("@example.org", "@example.net")
    return [f"c{key}{end}" for key in keys for end in ends] + [str(4 * 10**15 + key) for key in keys]


@contextmanager
def parts(store: SQLStore) -> Iterator[dict[str, float]]:
    """Seconds of the server's statements by kind."""
    spent: dict[str, float] = defaultdict(float)
    began = [0.0]

    def before(*_: object) -> None:
        began[0] = time.perf_counter()

    def after(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        part = next((name for start, name in _PARTS.items() if statement.startswith(start)), "questions")
        spent[part] += time.perf_counter() - began[0]

    sa.event.listen(store.engine, "before_cursor_execute", before)
    sa.event.listen(store.engine, "after_cursor_execute", after)
    try:
        yield spent
    finally:
        sa.event.remove(store.engine, "before_cursor_execute", before)
        sa.event.remove(store.engine, "after_cursor_execute", after)


def scrubbed(store: SQLStore, values: list[str]) -> tuple[float, str]:
    """Scrub once: seconds, and in words what they were spent on."""
    with parts(store) as spent:
        started = time.perf_counter()
        found = scrub(store, TABLES, values)
        took = time.perf_counter() - started
    assert found == [], found
    spent["reading and looking"] = took - sum(spent.values())
    ordered = sorted(spent.items(), key=lambda part: -part[1])
    return took, ", ".join(f"{name} {seconds:.2f}" for name, seconds in ordered)


def by_hand(store: SQLStore) -> float:
    with store.alone() as connection:
        started = time.perf_counter()
        for table in TABLES:
            connection.exec_driver_sql(f"VACUUM (FULL, ANALYZE) {table}")
        connection.exec_driver_sql("CHECKPOINT")
        return time.perf_counter() - started


def measure(url: str, customers: int, many: int) -> None:
    """Twice, each side once first: whoever comes second finds the log longer and memory warmer."""
    ours: list[float] = []
    theirs: list[float] = []
    spent = ""
    store = open_store("app", url)
    try:
        for ours_first in (True, False):
            values = erased(build(store, customers), store, many)
            if ours_first:
                took, spent = scrubbed(store, values)
                again, _ = scrubbed(store, values)
                values = erased(build(store, customers), store, many)
                theirs.append(by_hand(store))
            else:
                theirs.append(by_hand(store))
                values = erased(build(store, customers), store, many)
                took, _ = scrubbed(store, values)
            ours.append(took)
    finally:
        store.dispose()
    print(
        f"{customers:,} customers, {many:,} erased: {ours[0]:.2f} and {ours[1]:.2f} s, by hand {theirs[0]:.2f} and"
        f" {theirs[1]:.2f}, ratio {ours[0] / theirs[0]:.2f} and {ours[1] / theirs[1]:.2f};"
        f" with nothing deleted {again:.2f} s\n  of the first: {spent}",
        flush=True,
    )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--customers", type=int, nargs="+", default=[30_000, 100_000])
    asked.add_argument("--erased", type=int, nargs="+", default=[1, 1_000, 10_000])
    given = asked.parse_args()
    for customers in given.customers:
        with postgresql() as url:
            for many in given.erased:
                measure(url, customers, many)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process: {peak:.0f} MiB (at most 300): {'met' if peak <= 300 else 'MISSED'}")


if __name__ == "__main__":
    main()
