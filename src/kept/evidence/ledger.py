"""The ledger: what was done, appended for good, so that nobody (the company included) can change it unseen.

Entries are canonical JSON (RFC 8785), hashed into a Merkle tree (RFC 6962), whose heads are signed (Ed25519).
It stands in SQLite (a file of its own) or PostgreSQL; threads and processes may append at the same time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    SmallInteger,
    String,
    Table,
    bindparam,
    insert,
    select,
)

from kept.errors import KeptError, TerminalError
from kept.evidence import bundle, merkle
from kept.evidence.database import create, now, open_engine, said, writer
from kept.evidence.entry import KEY_LIMIT, Entry, written
from kept.evidence.group_commit import GroupCommit
from kept.evidence.heads import TreeHead
from kept.evidence.keys import Keys
from kept.evidence.merkle import STRIDE, Frontier, fold, leaf_hash

Clock = Callable[[], datetime]
Item = tuple[str | None, Entry]
_Written = tuple[str | None, bytes]

metadata = MetaData()

_Position = BigInteger().with_variant(Integer, "sqlite")

entries = Table(
    "entries",
    metadata,
    Column("position", _Position, primary_key=True, autoincrement=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("key", String(KEY_LIMIT), unique=True),
    Column("body", LargeBinary, nullable=False),
)
subtrees = Table(
    "subtrees",
    metadata,
    Column("height", SmallInteger, primary_key=True),
    Column("position", _Position, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
)
heads = Table(
    "heads",
    metadata,
    Column("size", _Position, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)

HEAD_ENTRIES = 256
HEAD_AGE = timedelta(minutes=1)
"""A commit signs a head when this many entries, or this much time, came since the last: often enough to say
where history was changed, and few enough that the heads stay a small part of it."""

_NEAR = 256
"""Entries another process may have added before the frontier is read anew rather than extended by their
leaves."""
_KEYS = 10_000
_PAGE = 2_000

_SIZE = "SELECT max(position) + 1 FROM entries"  # asked in every commit; as text it costs half
_LAST_HEAD = select(heads.c.body).order_by(heads.c.size.desc()).limit(1)
_KNOWN = select(entries.c.key, entries.c.position).where(entries.c.key.in_(bindparam("keys", expanding=True)))
_KEYED = select(entries.c.key, entries.c.body).where(entries.c.key.in_(bindparam("keys", expanding=True)))
_LEAVES = (
    select(entries.c.leaf)
    .where(entries.c.position >= bindparam("start"), entries.c.position < bindparam("stop"))
    .order_by(entries.c.position)
)
_SUBTREES = (
    select(subtrees.c.hash)
    .where(
        subtrees.c.height == bindparam("height"),
        subtrees.c.position >= bindparam("start"),
        subtrees.c.position < bindparam("stop"),
    )
    .order_by(subtrees.c.position)
)


class Ledger:
    """An append-only list of entries, counted from 0; open it with `Ledger.open`, after any fork of the
    process."""

    def __init__(self, engine: Engine, keys: Keys, clock: Clock, where: str) -> None:
        self._engine = engine
        self._keys = keys
        self._clock = clock
        self._where = where
        self._writer: Connection | None = None
        self._frontier = Frontier()
        self._last: TreeHead | None = None
        self._commits: GroupCommit[Sequence[_Written], list[int]] = GroupCommit(self._commit)

    @classmethod
    def open(cls, place: str | Path, keys: Keys, clock: Clock = now) -> Ledger:
        """Open the ledger at a path or URL (sqlite:///… or postgresql://…), and make its tables on first use.

        Raises TransientError when it can't be reached now, TerminalError when it is damaged, was changed
        behind Kept's back, or belongs to other keys.
        """
        where = Path(place).name if isinstance(place, Path) or "://" not in place else "ledger"
        ledger = cls(open_engine(place), keys, clock, where)
        try:
            with said(where):
                create(ledger._engine, metadata)
            with ledger._reading() as connection:
                ledger._catch_up(connection)
        except BaseException:  # whatever it is: nobody gets this object, so its connections go with it
            ledger.close()
            raise
        return ledger

    def close(self) -> None:
        """Let go of the database."""
        self._drop_writer()
        self._engine.dispose()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, entry: Entry, key: str | None = None) -> int:
        """Append an entry and return its index; on return it is on disk.

        `entry` holds JSON values and at least "act"; "at" is set here. With a `key` that was used before
        nothing is written, and the index of then returned, so that a repeated step records its act once.
        """
        return self.append_many([(key, entry)])[0]

    def append_many(self, items: Sequence[Item]) -> list[int]:
        """Append several entries, all or none, in one commit; each as `append` does."""
        at = self._clock()
        ready = [(_sound(key), written(entry, at)) for key, entry in items]
        return self._commits.submit(ready) if ready else []

    @property
    def size(self) -> int:
        """How many entries there are."""
        with self._reading() as connection:
            return _size(connection)

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[dict[str, Any]]:
        """The entries from `start` up to `stop` (not included), oldest first."""
        return (json.loads(body) for body, _ in self.stored(start, stop))

    def keyed(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The entries appended under these keys, by key; a key that was never used is missing."""
        with self._reading() as connection:
            return {key: json.loads(body) for key, body in _by_key(connection, _KEYED, keys).items()}

    def stored(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[bytes, bytes]]:
        """The entries as stored: canonical bytes, and leaf hash; a page of them in memory at a time."""
        stop = self.size if stop is None else stop
        columns = select(entries.c.position, entries.c.body, entries.c.leaf).order_by(entries.c.position)
        for begin in range(start, stop, _PAGE):
            end = min(begin + _PAGE, stop)
            with self._reading() as connection:
                page = columns.where(entries.c.position >= begin, entries.c.position < end)
                rows = connection.execute(page).all()
            for expected, (position, body, leaf) in zip(range(begin, end), rows, strict=False):
                if position != expected:
                    raise self._damaged(f"entry {expected} is gone")
                yield _raw(body), _raw(leaf)
            if len(rows) < end - begin:
                raise self._damaged(f"entry {begin + len(rows)} is gone")

    def head(self) -> TreeHead:
        """The signed head over all entries there are; kept, so that the same size is never signed twice."""
        self._commits.submit([])
        with self._reading() as connection:
            return self._last_head(connection)

    def heads(self) -> Iterator[TreeHead]:
        """All signed heads kept, oldest first."""
        last = -1
        while True:
            page = select(heads.c.body).where(heads.c.size > last).order_by(heads.c.size).limit(_PAGE)
            with self._reading() as connection:
                bodies = connection.scalars(page).all()
            if not bodies:
                return
            for body in bodies:
                head = self._read_head(body)
                yield head
            last = head.size

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The audit path of an entry in the tree of the first `size`; see merkle.verify_inclusion."""
        with self._proving(size) as subtree:
            return merkle.inclusion(index, size, subtree)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof that the first `old` entries stand unchanged before the first `new`; see merkle."""
        with self._proving(new) as subtree:
            return merkle.consistency(old, new, subtree)

    def export(self, path: Path) -> TreeHead:
        """Write all of it as one file that anyone can check with `kept verify`; returns the head it ends
        with."""
        head = self.head()
        kept = (known for known in self.heads() if known.size <= head.size)
        bundle.write(path, kept, self.stored(0, head.size), self.consistency)
        return head

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with said(self._where), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _proving(self, size: int) -> Iterator[merkle.Subtree]:
        with self._reading() as connection:
            if size > (there := _size(connection)):
                raise KeptError(f"the ledger has {there} entries, not {size}", where=self._where)
            yield lambda height, position: self._subtree(connection, height, position)

    def _commit(self, groups: Sequence[Sequence[_Written]]) -> list[list[int]]:
        """Write all groups in one transaction; an empty group asks for a head over everything."""
        try:
            with said(self._where):
                connection = self._writer = self._writer or writer(self._engine)
                with connection.begin():
                    if connection.dialect.name == "postgresql":
                        connection.exec_driver_sql("LOCK TABLE entries IN SHARE ROW EXCLUSIVE MODE")
                    self._catch_up(connection)
                    frontier = self._frontier.copy()
                    indexes = _append(connection, frontier, [item for group in groups for item in group])
                    last = self._sign(connection, frontier, wanted=not all(groups))
        except BaseException:  # a connection that failed once, for whatever reason, isn't used again
            self._drop_writer()
            raise
        self._frontier, self._last = frontier, last
        taken = iter(indexes)
        return [[next(taken) for _ in group] for group in groups]

    def _catch_up(self, connection: Connection) -> None:
        """Take in what other processes appended since; refuse a ledger that isn't the one we knew."""
        size = _size(connection)
        known = self._frontier.size
        if size == known and self._last is not None:
            return
        if size < known:
            raise TerminalError(
                f"the ledger has {size} entries, but had {known}: it was cut or replaced",
                help="put back the newest copy",
                where=self._where,
            )
        if known and size - known <= _NEAR:
            for leaf in connection.scalars(_LEAVES, {"start": known, "stop": size}):
                self._frontier.push(_raw(leaf))
        else:
            self._frontier = self._frontier_at(connection, size)
        body = connection.scalar(_LAST_HEAD)
        if body is not None:
            self._last = self._trusted(connection, body)

    def _trusted(self, connection: Connection, body: bytes) -> TreeHead:
        head = self._read_head(body)
        if head.key != self._keys.public.hex():
            raise TerminalError(
                "the ledger was signed with another key",
                help="put back the keys that belong to it, or start a new ledger",
                where=self._where,
            )
        if not head.is_signed() or self._frontier_at(connection, head.size).root().hex() != head.root:
            raise self._damaged(f"its head over {head.size} entries does not fit them")
        return head

    def _frontier_at(self, connection: Connection, size: int) -> Frontier:
        peaks = merkle.peaks(0, size)
        return Frontier(size, [self._subtree(connection, height, position) for height, position in peaks])

    def _subtree(self, connection: Connection, height: int, position: int) -> bytes:
        """A perfect subtree from at most 128 stored hashes: leaves, or subtrees of the next lower stored
        height."""
        up = height % STRIDE
        span = {"start": position << up, "stop": (position + 1) << up}
        if height < STRIDE:
            found = connection.scalars(_LEAVES, span).all()
        else:
            found = connection.scalars(_SUBTREES, {"height": height - up, **span}).all()
        if len(found) != 1 << up:
            raise self._damaged("entries are missing from its middle")
        return fold([_raw(hash_) for hash_ in found])

    def _sign(self, connection: Connection, frontier: Frontier, wanted: bool) -> TreeHead | None:
        """Sign and keep a head where one is wanted or due; gives the last there is."""
        last, at = self._last, self._clock()
        if last is not None and last.size == frontier.size:
            return last
        due = last is None or frontier.size - last.size >= HEAD_ENTRIES or _age(last, at) >= HEAD_AGE
        if not (wanted or due):
            return last
        body = connection.scalar(_LAST_HEAD)
        if body is not None and (other := self._read_head(body)).size == frontier.size:
            return other  # another process signed it meanwhile
        head = TreeHead.signed(frontier.size, frontier.root(), at, self._keys)
        connection.execute(insert(heads), {"size": head.size, "body": head.written()})
        return head

    def _last_head(self, connection: Connection) -> TreeHead:
        body = connection.scalar(_LAST_HEAD)
        if body is None:
            raise self._damaged("its heads are gone")
        return self._read_head(body)

    def _read_head(self, body: bytes) -> TreeHead:
        try:
            return TreeHead.read(_raw(body))
        except ValueError as error:
            raise self._damaged("one of its heads can't be read") from error

    def _damaged(self, what: str) -> TerminalError:
        return TerminalError(
            f"the ledger was damaged, or changed behind Kept's back: {what}",
            help="put back the newest copy, and compare it with a bundle you gave away",
            where=self._where,
        )

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.invalidate()
            writer.close()


def _append(connection: Connection, frontier: Frontier, items: Sequence[_Written]) -> list[int]:
    """Insert what isn't known by its key yet, grow the frontier, and give the index of every item."""
    known: dict[str, int] = _by_key(connection, _KNOWN, [key for key, _ in items if key is not None])
    indexes: list[int] = []
    rows: list[dict[str, Any]] = []
    complete: list[merkle.Complete] = []
    for key, body in items:
        if key is not None and key in known:
            indexes.append(known[key])
            continue
        position, leaf = frontier.size, leaf_hash(body)
        complete.extend(frontier.push(leaf))
        rows.append({"position": position, "leaf": leaf, "key": key, "body": body})
        indexes.append(position)
        if key is not None:
            known[key] = position
    if rows:
        connection.execute(insert(entries), rows)
    if complete:
        values = [{"height": c.height, "position": c.position, "hash": c.hash} for c in complete]
        connection.execute(insert(subtrees), values)
    return indexes


def _by_key(connection: Connection, query: Select[Any], keys: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for start in range(0, len(keys), _KEYS):
        rows = connection.execute(query, {"keys": keys[start : start + _KEYS]})
        found.update((key, value) for key, value in rows)
    return found


def _raw(value: bytes | str) -> bytes:
    """The bytes of a column; SQLite gives text where somebody changed a value with a tool of theirs."""
    return value.encode() if isinstance(value, str) else value


def _size(connection: Connection) -> int:
    return int(connection.exec_driver_sql(_SIZE).scalar() or 0)


def _age(head: TreeHead, at: datetime) -> timedelta:
    return abs(at - datetime.fromisoformat(head.at))


def _sound(key: str | None) -> str | None:
    if key is not None and not 0 < len(key) <= KEY_LIMIT:
        raise KeptError(f"a ledger entry's key has {len(key)} characters, not 1 to {KEY_LIMIT}")
    return key
