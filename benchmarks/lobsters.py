"""One person of a forum erased beside a plain cascade, and put into the waiting room and back, in the same run.

    python -m benchmarks.lobsters [--users 16000] [--seconds 30]

Lobsters' sizes (16,000 users, 120,000 stories, 300,000 comments, 300,000 votes). The cascade is one `DELETE` of a user
in a copy of the tables whose foreign keys cascade, all indexed; an erasure of Kept decides row by row whose it is.
Removing and restoring include sealing the rows under a key of their own and writing both durably. The last figure is
what other clients lose meanwhile: two processes that read and vote, second by second with and without one person going
and coming back.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.peer_shape import postgresql, the_map
from kept.stores.erasing.erase import erase
from kept.stores.erasing.images import remove
from kept.stores.erasing.restore import restore
from kept.stores.opening import open_store

POLICY = """kept: 1
policy: Forum
version: 2026-01-01
laws: [gdpr]
parties:
  us: {role: us}
stores:
  app: {at: $APP, region: eea}
people:
  user: {in: app.users, key: id, known-by: {email: email}}
data:
  account:  {of: user, in: {app.users: {email: email, name: username}}}
  stories:  {of: user, in: {app.stories: {title: free-text, url: behaviour}}}
  comments: {of: user at user_id, in: {app.comments: {comment: free-text}}}
  votes:    {of: user at user_id, in: {app.votes: {vote: behaviour}}}
"""
Count = Any  # a shared number; ctypes' own types have no name for it
PEER = "Edna (SOSP '23), from its paper: remove 9.7–13.4 ms, restore 13.1–17.6 ms, others' throughput −3.7 % at most"
_TABLES = """
CREATE TABLE {s}.users (id integer PRIMARY KEY, email text UNIQUE, name text);
CREATE TABLE {s}.stories (id integer PRIMARY KEY, user_id integer NOT NULL REFERENCES {s}.users {c}, title text,
  url text);
CREATE TABLE {s}.comments (id integer PRIMARY KEY, user_id integer NOT NULL REFERENCES {s}.users {c},
  story_id integer REFERENCES {s}.stories {c}, comment text);
CREATE TABLE {s}.votes (id integer PRIMARY KEY, user_id integer NOT NULL REFERENCES {s}.users {c},
  story_id integer REFERENCES {s}.stories {c}, comment_id integer REFERENCES {s}.comments {c}, vote smallint);
INSERT INTO {s}.users SELECT i, 'u' || i || '@example.org', 'user' || i FROM generate_series(1, {n}) i;
INSERT INTO {s}.stories SELECT i, i % {n} + 1, 'story ' || i, 'https://example.org/' || i
  FROM generate_series(1, {n} * 15 / 2) i;
INSERT INTO {s}.comments SELECT i, (i * 7919::bigint) % {n} + 1, i % ({n} * 15 / 2) + 1, 'comment number ' || i
  FROM generate_series(1, {n} * 75 / 4) i;
INSERT INTO {s}.votes SELECT i, (i * 104729::bigint) % {n} + 1, CASE WHEN i % 2 = 0 THEN i % ({n} * 15 / 2) + 1 END,
  CASE WHEN i % 2 = 1 THEN i % ({n} * 75 / 4) + 1 END, 1 FROM generate_series(1, {n} * 75 / 4) i;
CREATE INDEX ON {s}.stories (user_id);
CREATE INDEX ON {s}.comments (user_id);
CREATE INDEX ON {s}.comments (story_id);
CREATE INDEX ON {s}.votes (user_id);
CREATE INDEX ON {s}.votes (story_id);
CREATE INDEX ON {s}.votes (comment_id)
"""


def build(url: str, users: int) -> None:
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("CREATE SCHEMA plain")
        for schema, cascade in (("public", ""), ("plain", "ON DELETE CASCADE")):
            for statement in _TABLES.format(s=schema, c=cascade, n=users).split(";\n"):
                server.execute(statement)
        server.execute("VACUUM ANALYZE")
        server.execute("CHECKPOINT")


def durably(folder: Path, name: str, content: bytes) -> None:
    with (folder / name).open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


class Room:
    """The least a waiting room does: each person's rows sealed under a key of their own, both on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, person: int, images: bytes) -> None:
        key, nonce = AESGCM.generate_key(256), os.urandom(12)
        durably(self.folder, f"{person}.sealed", nonce + AESGCM(key).encrypt(nonce, images, None))
        durably(self.folder, f"{person}.key", key)

    def open(self, person: int) -> bytes:
        sealed = (self.folder / f"{person}.sealed").read_bytes()
        return AESGCM((self.folder / f"{person}.key").read_bytes()).decrypt(sealed[:12], sealed[12:], None)


def client(url: str, users: int, seed: int, stop: Event, count: Count) -> None:
    """Read stories with their comments and vote, until told to stop; counts how many times."""
    chosen = random.Random(seed)
    with psycopg.connect(url, autocommit=True) as server:
        while not stop.is_set():
            story = chosen.randrange(1, users * 15 // 2)
            server.execute("SELECT * FROM stories WHERE id = %s", (story,)).fetchall()
            server.execute("SELECT * FROM comments WHERE story_id = %s", (story,)).fetchall()
            server.execute("UPDATE votes SET vote = -vote WHERE id = %s", (chosen.randrange(1, users * 18),))
            count.value += 1


def losses(url: str, users: int, seconds: int, meanwhile: Callable[[int], None]) -> list[float]:
    """How much slower two clients are in a second with `meanwhile` than in the seconds before and after it."""
    stop: Event = multiprocessing.Event()
    counts: list[Count] = [multiprocessing.Value("L", 0, lock=False) for _ in range(2)]
    clients = [
        multiprocessing.Process(target=client, args=(url, users, seed, stop, count))
        for seed, count in enumerate(counts)
    ]
    for one in clients:
        one.start()
    time.sleep(1)
    rounds: list[float] = []
    for number in range(2 * seconds + 1):
        began, before = time.perf_counter(), sum(count.value for count in counts)
        if number % 2:
            meanwhile(number)
        time.sleep(max(0.0, began + 1 - time.perf_counter()))
        rounds.append((sum(count.value for count in counts) - before) / (time.perf_counter() - began))
    stop.set()
    for one in clients:
        one.join()
    print(f"  others alone, seconds: {', '.join(f'{rate:,.0f}' for rate in rounds[::2])} rounds", flush=True)
    print(
        f"  others beside one away and back: {', '.join(f'{rate:,.0f}' for rate in rounds[1::2])}", flush=True
    )
    return [1 - rounds[n] / ((rounds[n - 1] + rounds[n + 1]) / 2) for n in range(1, len(rounds) - 1, 2)]


def measure(url: str, users: int, seconds: int, folder: Path) -> None:
    build(url, users)
    store = open_store("app", url)
    found = the_map(store, POLICY)
    erasure, room = found.erasure("user"), Room(folder)
    assert erasure is not None

    def away(person: int) -> None:
        remove(store, erasure, [person], lambda images: room.keep(person, images), lambda counts: None)

    def back(person: int) -> None:
        restore(store, erasure.walk.tables, room.open(person), lambda restored: None)

    times: dict[str, list[float]] = {"erase": [], "cascade": [], "remove": [], "restore": [], "fsync": []}

    def timed(what: str, act: Callable[[], object]) -> None:
        began = time.perf_counter()
        act()
        times[what].append((time.perf_counter() - began) * 1000)

    with psycopg.connect(url, autocommit=True) as server:
        for number in range(60):
            person = 100 + number * 37
            acts: list[tuple[str, Callable[[], object]]] = [
                ("erase", lambda p=person: erase(store, erasure, [p], lambda counts: None)),  # type: ignore[misc]  # a default binds the loop's value
                ("cascade", lambda p=person: server.execute("DELETE FROM plain.users WHERE id = %s", (p,))),  # type: ignore[misc]
            ]
            for what, act in acts if number % 2 else acts[::-1]:
                timed(what, act)
            timed("remove", lambda p=person + 1: away(p))  # type: ignore[misc]
            timed("restore", lambda p=person + 1: back(p))  # type: ignore[misc]
            timed("fsync", lambda: durably(folder, "nothing", b"x" * 4096))
    median = {what: statistics.median(taken[10:]) for what, taken in times.items()}
    ratio = median["erase"] / median["cascade"]
    print(
        f"one erasure {median['erase']:.1f} ms, the plain cascade {median['cascade']:.1f} ms: ratio {ratio:.2f}"
        f" (at most 2): {'met' if ratio <= 2 else 'MISSED'}"
    )
    for what in ("remove", "restore"):
        print(
            f"{what} {median[what]:.1f} ms, median of {len(times[what]) - 10} (at most 8; of a file's fsync"
            f" {median['fsync']:.1f} ms each): {'met' if median[what] <= 8 else 'MISSED'}"
        )

    def both(number: int) -> None:
        away(9_000 + number)
        back(9_000 + number)

    lost = statistics.median(losses(url, users, seconds, both))
    print(f"others lose {lost:.1%}, median of {seconds} (at most 4 %): {'met' if lost <= 0.04 else 'MISSED'}")
    print(PEER)
    store.dispose()


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--users", type=int, default=16_000)
    asked.add_argument("--seconds", type=int, default=30)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="kept-lobsters-") as folder, postgresql() as url:
        measure(url, given.users, given.seconds, Path(folder))


if __name__ == "__main__":
    main()
