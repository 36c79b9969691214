"""`kept prove` on SiteLucent with 100,000 people and 2,000,000 usage events in SQLite: seconds and peak memory.

Beside it, in the same run, what the measuring costs at the least: SQLite's own command over the same file, counting
rows past their limit and rows without a source, as hand-written SQL.
"""

from __future__ import annotations

import argparse
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from examples.sitelucent.generate import build, plant

ROOT = Path(__file__).parents[1]
BY_HAND = (
    "SELECT count(*), min(at) FROM usage_events WHERE at < datetime('now', '-24 months')",
    "SELECT count(*), min(deactivated_at) FROM users WHERE deactivated_at < datetime('now', '-24 months')",
    "SELECT count(*) FROM usage_events WHERE at NOT GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*'",
    "SELECT count(*) FROM users WHERE source IS NULL OR source NOT IN ('user', 'administers.admin')",
    "SELECT count(*) FROM users WHERE birth_date IS NOT NULL",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        company = Path(folder) / "company"
        build(company, given.people, 7, 20)
        plant(company, 7)
        environment = {**os.environ, "KEPT_DIR": str(company), "PYTHONPATH": f"{ROOT / 'src'}"}
        times, hands = [], []
        for _ in range(given.runs):
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "kept", "prove", "--format", "json"],
                env=environment,
                stdout=subprocess.DEVNULL,
                check=False,
            )
            times.append(time.perf_counter() - began)
            began = time.perf_counter()
            with sqlite3.connect(company / "app.sqlite") as database:
                for query in BY_HAND:
                    database.execute(query).fetchall()
            hands.append(time.perf_counter() - began)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (
            1 if sys.platform == "darwin" else 1024
        )
    if sys.platform == "darwin":
        peak /= 1024 * 1024
    middle, by_hand = sorted(times)[len(times) // 2], sorted(hands)[len(hands) // 2]
    print(
        f"kept prove, {given.people:,} people, {given.people * 20:,} events, SQLite: {middle:.2f} s (limit 5 s)"
    )
    print(f"peak memory of the process: {peak:.0f} MiB (limit 300 MiB)")
    print(
        f"the same counts as hand-written SQL: {by_hand:.2f} s; ratio {middle / by_hand:.1f}, start of Python included"
    )


if __name__ == "__main__":
    main()
