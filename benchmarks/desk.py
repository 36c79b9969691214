"""The whole way of a request through the desk: register, DBOS, stores, zips or files made clean, ledger.

    python -m benchmarks.desk [--customers 30000] [--many 1000 10000] [--state sqlite|postgresql]

The company is the peer's own sample in PostgreSQL; Kept's state is files, or stands in the same PostgreSQL. Shown for
each: how long it took, how much of that went where, and how many statements each database got (transaction control not
counted). `clean` is making what was deleted unreadable in files, which rewrites tables and reads the log; the peer does
no such thing, and the targets don't count it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.peer_shape import build, policy_text, postgresql
from kept.company import Company, opened
from kept.controls.acts import kinds
from kept.controls.registry import load
from kept.controls.rights.answers.archives import Archives
from kept.controls.rights.desk import Desk
from kept.controls.rights.erasing.cleaning import Cleaning
from kept.controls.rights.people import Person
from kept.controls.rights.register import Subject
from kept.evidence.ledger import Ledger
from kept.state import workflows
from kept.state.database import State
from kept.stores.opening import open_store

OWN = 20  # statements on Kept's own database for one request, at most
ROW = 50  # erasures one after the other
COMPANYS = 15  # on the company's, for 1,000 accesses
PEER = """the peer (ethyca-fides 2.78.2), as measured before on such a machine: one access 0.8–0.9 s and 1,263
  statements on its own database, one erasure 1.4–1.7 s and 2,560; web 348 MiB, worker 565 MiB"""


class Meter:
    """Where time and statements go, by the name of the part."""

    def __init__(self, company: Company) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.sent: Counter[str] = Counter()
        self.processor = (
            0.0  # seconds of the last measurement in which this thread computed, and waited for nobody
        )
        self._engines = {company.state.engine: "own", company.ledger._engine: "ledger"}
        self._engines |= {store.engine: "company" for store in company.stores.values()}
        sa.event.listen(sa.Engine, "before_cursor_execute", self._count)
        for owner, name, part in (
            (State, "write", "state"),
            (State, "read", "state"),
            (Ledger, "append_many", "ledger"),
            (Archives, "write", "zips"),
            (Cleaning, "run", "clean"),
        ):
            setattr(owner, name, self._timed(getattr(owner, name), part))

    def _count(self, connection: sa.Connection, _: object, statement: str, *__: object) -> None:
        if statement.startswith(("BEGIN", "PRAGMA")):
            return
        self.sent[self._engines.get(connection.engine, self._of(connection))] += 1

    def _of(self, connection: sa.Connection) -> str:
        """An engine with options of its own is another object over the same pool."""
        same = (part for engine, part in self._engines.items() if engine.pool is connection.engine.pool)
        return next(same, "DBOS")

    def _timed(self, done: Callable[..., Any], part: str) -> Callable[..., Any]:
        def timed(*given: Any, **named: Any) -> Any:
            began = time.perf_counter()
            found = done(*given, **named)
            if not isinstance(found, contextlib.AbstractContextManager):
                self.seconds[part] += time.perf_counter() - began
                return found
            return self._block(found, part)

        return timed

    @contextmanager
    def _block(self, block: Any, part: str) -> Iterator[Any]:
        began = time.perf_counter()
        with block as inside:
            yield inside
        self.seconds[part] += time.perf_counter() - began

    def start(self) -> None:
        self.seconds.clear()
        self.sent.clear()


def carried_out(desk: Desk, meter: Meter, verb: str, people: range) -> float:
    """Carry out one right for these people in one go; the seconds it took."""
    subjects = [Subject(Person("customer", (str(number),))) for number in people]
    meter.start()
    began, busy = time.perf_counter(), time.thread_time()
    result = desk.carry_out(verb, subjects, "benchmark", confirmed=True)
    took, meter.processor = time.perf_counter() - began, time.thread_time() - busy
    assert result.done, result.problem
    return took


def one_after_the_other(counter: Desk, desk: Desk, meter: Meter, people: range) -> float:
    """Receive an erasure of each, and have them carried out as a worker does; the seconds of work for one."""
    meter.start()
    began = time.perf_counter()
    for number in people:
        subject = Subject(Person("customer", (str(number),)))
        counter.carry_out("erase", [subject], "benchmark", confirmed=True)
    result = desk.work()
    assert result.done, result.problem
    return (time.perf_counter() - began - meter.seconds["clean"]) / len(people)


def told(what: str, took: float, meter: Meter, bounds: dict[str, float]) -> None:
    """Print one measurement, and whether it is within its bounds: `seconds` without cleaning, `own`, `company`."""
    work = took - meter.seconds["clean"]
    parts = ", ".join(f"{part} {seconds * 1000:,.1f}" for part, seconds in sorted(meter.seconds.items()))
    sent = ", ".join(f"{part} {number:,}" for part, number in sorted(meter.sent.items()))
    found = {"seconds": work, "own": float(meter.sent["own"]), "company": float(meter.sent["company"])}
    missed = [
        f"{name} {found[name]:,.3f} > {bound:,}" for name, bound in bounds.items() if found[name] > bound
    ]
    print(f"  {what}: {work * 1000:,.1f} ms of work, {took * 1000:,.1f} ms with cleaning; ms in {parts}")
    print(f"    statements: {sent}: {'MISSED ' + '; '.join(missed) if missed else 'met'}", flush=True)


def measure(url: str, folder: Path, customers: int, many: list[int], state: str) -> None:
    store = open_store("app", url)
    build(store, customers)
    store.dispose()
    folder.mkdir()
    (folder / "policy.yaml").write_text(policy_text())
    (folder / ".env").write_text(
        f"APP={url}\n" + (f"KEPT_STATE_URL={url}\n" if state == "postgresql" else "")
    )
    os.environ.pop("APP", None)
    with (
        opened(load(folder / "policy.yaml"), folder) as company,
        workflows.opened(company.workflows, kinds(company)) as running,
    ):
        desk, meter, at = Desk.at_work(company, running), Meter(company), 1
        for verb, limit, rounds in (("access", 0.010, 20), ("erase", 0.015, 5)):
            carried_out(desk, meter, verb, range(at, at + 1))
            times: list[float] = []
            busy: list[float] = []
            for number in range(at + 1, at + 1 + rounds):
                took = carried_out(desk, meter, verb, range(number, number + 1))
                times.append(took - meter.seconds["clean"])
                busy.append(meter.processor)
            at += rounds + 1
            work = statistics.median(times)
            told(
                f"one {verb}, median of {rounds}",
                work + meter.seconds["clean"],
                meter,
                {"seconds": limit, "own": OWN},
            )
            print(
                f"    the parts are of the last one; least work {min(times) * 1000:,.1f} ms;"
                f" computing, with cleaning, {statistics.median(busy) * 1000:,.1f} ms"
            )
        each = one_after_the_other(Desk(company, kinds(company)), desk, meter, range(at, at + ROW))
        met = "met" if each <= 0.015 else "MISSED"
        print(
            f"  {ROW} erasures in acts of their own, and one pass for all: {each * 1000:,.1f} ms of work each: {met}"
        )
        at += ROW
        for size in many:
            if size <= 1_000:
                took = carried_out(desk, meter, "access", range(at, at + size))
                told(f"{size:,} accesses with their zips", took, meter, {"seconds": 2.0, "company": COMPANYS})
                at += size
            if at + size > customers:
                break
            took = carried_out(desk, meter, "erase", range(at, at + size))
            told(f"{size:,} erasures", took, meter, {"seconds": 1.5 if size <= 1_000 else 8.0})
            at += size


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--customers", type=int, default=30_000)
    asked.add_argument("--many", type=int, nargs="*", default=[1_000, 10_000])
    asked.add_argument("--state", choices=["sqlite", "postgresql"], default="sqlite")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="kept-desk-") as folder, postgresql() as url:
        print(f"{given.customers:,} customers in PostgreSQL, Kept's state in {given.state}")
        measure(url, Path(folder) / "company", given.customers, given.many, given.state)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process: {peak:.0f} MiB (at most 300): {'met' if peak <= 300 else 'MISSED'}")
    print(PEER)


if __name__ == "__main__":
    main()
