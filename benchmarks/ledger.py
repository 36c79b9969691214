"""Durable appends a second on SQLite, beside what the disk itself can do and what others make of it.

    python -m benchmarks.ledger [--seconds 3] [--dir FOLDER]

Targets: 1,500 a second from one caller, 5,000 from eight threads, on a disk that syncs fast enough; where it
doesn't, the share of fdatasync's own rate says whether the ledger or the disk is slow.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "src")]

from kept.evidence.bundle import verify_bundle  # noqa: E402  # the line above makes it run from a checkout
from kept.evidence.entry import Entry  # noqa: E402
from kept.evidence.keys import Keys  # noqa: E402
from kept.evidence.ledger import Ledger  # noqa: E402

ENTRY: Entry = {"act": "erase", "who": "5f" * 32, "rows": {"users": 1, "usage_events": 20, "errors": 2}}
TARGETS = {1: 1_500, 8: 5_000}
BATCH = 50_000


def rate(seconds: float, act: Callable[[str], object], threads: int = 1) -> float:
    """How often a second `act` (given a text of its own each time) returns, over all threads."""
    counts = [0] * threads
    until = time.perf_counter() + seconds

    def run(thread: int) -> None:
        while time.perf_counter() < until:
            act(f"{threads}-{thread}-{counts[thread]}")
            counts[thread] += 1

    started = time.perf_counter()
    running = [threading.Thread(target=run, args=(thread,)) for thread in range(1, threads)]
    for one in running:
        one.start()
    run(0)
    for one in running:
        one.join()
    return sum(counts) / (time.perf_counter() - started)


def disk(folder: Path, seconds: float) -> float:
    """200 bytes appended to a file, then fdatasync; fsync where there is no fdatasync."""
    descriptor = os.open(folder / "disk", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sync = getattr(os, "fdatasync", os.fsync)
    try:
        return rate(seconds, lambda _: (os.write(descriptor, b"x" * 200), sync(descriptor)))
    finally:
        os.close(descriptor)


def bare_sqlite(folder: Path, seconds: float) -> float:
    """The same rows through sqlite3 alone: no tree, no idempotency, no other process considered."""
    connection = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE entries (position INTEGER PRIMARY KEY, key TEXT UNIQUE, body BLOB)")
    try:
        return rate(
            seconds,
            lambda key: connection.execute(
                "INSERT INTO entries (key, body) VALUES (?, ?)", (key, b"x" * 200)
            ),
        )
    finally:
        connection.close()


def others(folder: Path, seconds: float) -> float | None:
    """pymerkle's SQLite tree, which commits (and syncs) each entry; None where it isn't installed."""
    try:
        from pymerkle import SqliteTree
    except ImportError:
        return None
    with SqliteTree(str(folder / "pymerkle.sqlite"), algorithm="sha256") as tree:
        return rate(seconds, lambda key: tree.append_entry(key.encode() + b"x" * 200))


def main() -> None:
    """Measure, print, and end with 1 when a target is missed on a disk that would allow it."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--seconds", type=float, default=3.0, help="how long each measurement runs")
    options.add_argument("--dir", help="a folder on the disk to measure")
    chosen = options.parse_args()
    missed = False
    with tempfile.TemporaryDirectory(dir=chosen.dir) as name:
        folder = Path(name)
        seconds = chosen.seconds
        synced = disk(folder, seconds)
        print(f"{'fdatasync after 200 bytes':<44}{synced:>10,.0f} /s")
        print(f"{'sqlite3 alone, one caller':<44}{bare_sqlite(folder, seconds):>10,.0f} /s")
        theirs = others(folder, seconds)
        print(
            f"{'pymerkle SqliteTree, one caller':<44}{f'{theirs:>10,.0f} /s' if theirs else 'not installed'}"
        )
        with Ledger.open(folder / "ledger.sqlite", Keys.open(folder / "keys")) as ledger:
            for threads, target in TARGETS.items():
                found = rate(seconds, lambda key: ledger.append(ENTRY, key), threads)
                enough = found >= target
                missed = missed or (not enough and synced > 2 * TARGETS[1])
                label = f"ledger, {threads} caller{'s' if threads > 1 else ''}"
                print(
                    f"{label:<44}{found:>10,.0f} /s   {found / synced:.2f} × fdatasync   "
                    f"target {target:,}: {'met' if enough else 'MISSED'}"
                )
            started = time.perf_counter()
            ledger.append_many([(f"batch-{n}", ENTRY) for n in range(BATCH)])
            print(
                f"{f'ledger, one batch of {BATCH:,}':<44}{BATCH / (time.perf_counter() - started):>10,.0f} /s"
            )
            size = ledger.size
            started = time.perf_counter()
            ledger.inclusion(size // 3, size)
            ledger.consistency(size // 3, size)
            took = 1000 * (time.perf_counter() - started)
            print(f"{f'two proofs among {size:,} entries':<44}{took:>10,.1f} ms")
            started = time.perf_counter()
            ledger.export(folder / "bundle.zip")
            print(f"{'export':<44}{size / (time.perf_counter() - started):>10,.0f} entries/s")
            started = time.perf_counter()
            verify_bundle(folder / "bundle.zip")
            print(f"{'verify':<44}{size / (time.perf_counter() - started):>10,.0f} entries/s")
    sys.exit(missed)


if __name__ == "__main__":
    main()
