"""Many workers on one PostgreSQL: each request ends once, a killed worker's too, and nobody takes another's step."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import psycopg
import pytest

from examples.sitelucent.generate import build
from kept.company import opened
from kept.controls.acts import kinds
from kept.controls.registry import load
from kept.controls.rights.desk import Desk
from kept.controls.rights.people import Person
from kept.controls.rights.register import Subject
from tests.acceptance.company import ROOT

PEOPLE = 120
ASKING = 4
LONGEST = 120.0  # seconds


@pytest.fixture
def company(tmp_path: Path, fresh_postgresql: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SiteLucent in PostgreSQL, Kept's own state beside it, and a request of everybody's that is ready."""
    monkeypatch.delenv("APP_DATABASE_URL", raising=False)
    folder = tmp_path / "company"
    build(folder, PEOPLE, 3, url=fresh_postgresql, events_per_person=5)
    with (folder / ".env").open("a") as settings:
        settings.write(f"\nKEPT_STATE_URL={fresh_postgresql}\n")
    policy = load(folder / "policy.yaml")
    with opened(policy, folder) as one:
        desk = Desk(one, kinds(one))
        for verb, first, last in (("restrict", 1, 40), ("access", 41, 100), ("erase", 101, PEOPLE)):
            for key in range(first, last + 1):
                # one after the other: each an act of its own, so that there is something to share out
                desk.carry_out(verb, [Subject(Person("user", (str(key),)))], "tester", confirmed=True)
    return folder


def worker(folder: Path) -> subprocess.Popen[bytes]:
    environment = {k: v for k, v in os.environ.items() if k != "APP_DATABASE_URL"}
    environment |= {"KEPT_DIR": str(folder), "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "kept", "work", "--watch", "1"]
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )


def ask(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


def finished(url: str, workers: list[subprocess.Popen[bytes]]) -> None:
    """Wait until no request is open; the workers go on all the while."""
    until = time.monotonic() + LONGEST
    while ask(url, "SELECT count(*) FROM requests WHERE state = 'open'") != [(0,)]:
        assert time.monotonic() < until, ask(url, "SELECT kind, problem FROM acts WHERE ended IS NULL")
        assert any(one.poll() is None for one in workers), [
            one.stderr and one.stderr.read() for one in workers
        ]
        time.sleep(0.2)


def stop(workers: list[subprocess.Popen[bytes]], how: int = signal.SIGTERM) -> None:
    for one in workers:
        one.send_signal(how)
    for one in workers:
        one.communicate(timeout=30)


def each_once(url: str) -> None:
    """Every request is done and stands on the ledger once."""
    assert ask(url, "SELECT DISTINCT state FROM requests") == [("done",)]
    entries = ask(url, "SELECT convert_from(body, 'UTF8')::json ->> 'request' FROM entries")
    told = [request for (request,) in entries if request is not None]
    assert len(told) == len(set(told)) == PEOPLE


def test_several_workers_share_the_requests_and_do_each_once(company: Path, fresh_postgresql: str) -> None:
    workers = [worker(company) for _ in range(3)]
    try:
        finished(fresh_postgresql, workers)
    finally:
        stop(workers)
    each_once(fresh_postgresql)
    assert len(list((company / "answers").glob("*.zip"))) == 60
    assert list((company / "answers").glob("*.part")) == []
    assert ask(fresh_postgresql, "SELECT count(*) FROM users WHERE id BETWEEN 101 AND 120") == [(0,)]


def test_who_is_asked_for_by_several_at_once_has_one_request(company: Path) -> None:
    """Each asks at the same instant, as two members of staff or a form sent twice do: they join one request."""
    together = Barrier(ASKING)

    def asks(number: int) -> list[str]:
        with opened(load(company / "policy.yaml"), company) as one:
            desk = Desk(one, kinds(one))
            subjects = [Subject(Person("user", (str(key),))) for key in range(1, 11)]
            together.wait(LONGEST)
            return desk.carry_out("export", subjects, f"tester {number}", confirmed=True).ids

    with ThreadPoolExecutor(ASKING) as several:
        first, *others = several.map(asks, range(ASKING))
    assert len(set(first)) == 10 and all(ids == first for ids in others)


def test_what_a_killed_worker_left_is_finished_by_another(company: Path, fresh_postgresql: str) -> None:
    chance = random.Random(7)
    workers = [worker(company), worker(company)]
    try:
        for _ in range(4):
            time.sleep(chance.uniform(0.8, 2.0))
            victim = workers.pop(0)
            stop([victim], signal.SIGKILL)
            workers.append(worker(company))
        finished(fresh_postgresql, workers)
    finally:
        stop(workers)
    each_once(fresh_postgresql)
