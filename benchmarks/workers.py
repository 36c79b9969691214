"""10,000 requests and 8 workers on one PostgreSQL: none lost, none doubled; how many a second, beside the peer.

    python -m benchmarks.workers [--requests 10000] [--workers 8] [--a-call 50]

Half are accesses, a quarter restrictions, a quarter erasures, of different people, on the peer's own sample. They are
received at the desk so many in a call, as a form of a call centre or an import does, each call an act of its own, and
carried out by worker processes that share nothing but the database. The clock runs from the first worker's start to
the last request's end; receiving is shown apart.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import psycopg

from benchmarks.peer_shape import build, policy_text, postgresql
from kept.cli.main import main as kept
from kept.company import opened
from kept.controls.acts import kinds
from kept.controls.registry import load
from kept.controls.rights.desk import Desk
from kept.controls.rights.people import Person
from kept.controls.rights.register import Subject
from kept.stores.opening import open_store

PEER = """the peer (ethyca-fides 2.78.2; web, one worker, PostgreSQL and Redis), as measured before on such a machine:
  96 accesses a minute, 44 erasures a minute (100 at once); 42 of 100 healthy requests were cancelled by a watchdog;
  worker 565 MiB, web 348 MiB"""
MIX = ("access", "erase", "access", "restrict")
LONGEST = 3600.0  # seconds


def folder_of(url: str, folder: Path) -> Path:
    """A company's folder for the sample in the database at `url`, with Kept's state beside it."""
    folder.mkdir()
    (folder / "policy.yaml").write_text(policy_text())
    settings = folder / ".env"
    settings.touch(mode=0o600)
    settings.write_text(f"APP={url}\nKEPT_STATE_URL={url}\n")
    return folder


def received(folder: Path, requests: int, a_call: int) -> float:
    """Put requests into the register; the seconds it took."""
    began = time.perf_counter()
    with opened(load(folder / "policy.yaml"), folder) as company:
        desk = Desk(company, kinds(company))
        for start in range(0, requests, a_call):
            verb = MIX[start // a_call % len(MIX)]
            people = [Person("customer", (str(1 + n),)) for n in range(start, min(requests, start + a_call))]
            desk.carry_out(verb, [Subject(person) for person in people], "benchmark", confirmed=True)
    return time.perf_counter() - began


def work(folder: str) -> None:
    """One worker, until it is stopped."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.environ["KEPT_DIR"] = folder
    sys.argv = ["kept", "work", "--watch", "1"]
    kept()


def peak(process: ForkServerProcess) -> float:
    """The most memory a process has had, MiB; nan where the system doesn't say."""
    status = Path(f"/proc/{process.pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return max(
        (int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), default=float("nan")
    )


def finished(url: str, workers: Sequence[ForkServerProcess], requests: int) -> None:
    until = time.monotonic() + LONGEST
    with psycopg.connect(url, autocommit=True) as server:
        while True:
            row = server.execute("SELECT count(*) FROM requests WHERE state = 'open'").fetchone()
            if row == (0,):
                return
            assert all(one.is_alive() for one in workers), "a worker ended"
            if time.monotonic() > until:
                acts = server.execute("SELECT DISTINCT problem FROM acts WHERE ended IS NULL").fetchall()
                raise AssertionError(f"{row} of {requests} requests are still open: {acts}")
            time.sleep(0.5)


def checked(url: str, folder: Path, requests: int) -> str:
    """None lost, none doubled: by the register, the ledger, the answers and the rows."""
    with psycopg.connect(url) as server:
        done = server.execute("SELECT id, verb, state FROM requests").fetchall()
        bodies = server.execute("SELECT body FROM entries").fetchall()
        left = server.execute("SELECT count(*) FROM customers").fetchone()
        told = server.execute("SELECT count(*) FROM instructions").fetchone()
    verbs = Counter(verb for _, verb, _ in done)
    assert len(done) == requests and {state for _, _, state in done} == {"done"}
    entries = [json.loads(bytes(body)) for (body,) in bodies]
    once = Counter((one["request"], one["act"]) for one in entries if "request" in one)
    assert once == Counter((id, verb) for id, verb, _ in done)
    answers = [path.name for path in (folder / "answers").iterdir()]
    # an erasure removes answers given before of its own people only, and each person asks for one thing here
    assert Counter(answers) == Counter(f"{id}.zip" for id, verb, _ in done if verb == "access")
    assert left == (requests - verbs["erase"],) and told == (verbs["restrict"],)
    return ", ".join(f"{number:,} {verb}" for verb, number in sorted(verbs.items()))


def measure(url: str, folder: Path, requests: int, number: int, a_call: int) -> None:
    store = open_store("app", url)
    build(store, requests)
    store.dispose()
    took = received(folder_of(url, folder), requests, a_call)
    print(
        f"{requests:,} requests received in {took:.1f} s, {a_call} in a call: {requests / took:,.0f} a second",
        flush=True,
    )
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kept.cli.main", "kept.state.migrations.upgrade"])
    workers = [context.Process(target=work, args=(str(folder),), daemon=True) for _ in range(number)]
    began = time.perf_counter()
    try:
        for one in workers:
            one.start()
        finished(url, workers, requests)
        took = time.perf_counter() - began
        memory = [peak(one) for one in workers]
    finally:
        for one in workers:
            one.kill()
            one.join()
    print(
        f"{number} workers ended all in {took:.1f} s: {requests / took:,.1f} a second, {requests * 60 / took:,.0f} a"
        " minute"
    )
    print(f"  {checked(url, folder, requests)}; each stands once on the ledger, none lost, none doubled: met")
    met = "met" if max(memory) <= 300 else "MISSED"
    print(
        f"  memory of a worker at most {max(memory):.0f} MiB, on average {sum(memory) / number:.0f} (at most 300):"
        f" {met}"
    )
    print(PEER)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--requests", type=int, default=10_000)
    asked.add_argument("--workers", type=int, default=8)
    asked.add_argument("--a-call", type=int, default=50)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="kept-workers-") as folder, postgresql() as url:
        measure(url, Path(folder) / "company", given.requests, given.workers, given.a_call)


if __name__ == "__main__":
    main()
