"""The zips that answer a batch of people: fed table by table, never a person's rows nor a zip in memory."""

from __future__ import annotations

import os
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from ahocorasick_rs import BytesAhoCorasick

from kept.controls.rights.answers.forms import (
    ON_PAGE,
    Row,
    Slot,
    as_json,
    csv_rows,
    json_rows,
    page_rows,
    texts,
)
from kept.controls.rights.answers.spool import BLOCK, Piece, Spool, size
from kept.controls.rights.uploads import FOLDER, File, files_json, files_page
from kept.errors import TransientError
from kept.stores.records.files import FileStore
from kept.stores.walk import Key

MEMORY = 24 << 20  # bytes of a batch's answers held in memory before they go to a file
_SMALL = (
    1024  # a file below this many bytes is put into the zip as it is: packing it costs more than it saves
)
_LEVEL = 1  # of packing: more takes longer than it saves
_SYNCING = 32  # files made durable at once: the file system then writes its journal once for several


@dataclass(frozen=True)
class Around:
    """What stands around the rows of one form: before everything, around the rows of each data, after all of them.

    In JSON the foot closes the data; what else there is, and the end of the whole, come behind it.
    """

    head: bytes
    data: Mapping[str, tuple[bytes, bytes]]
    foot: bytes


@dataclass(frozen=True)
class Frame:
    """What is the same in every answer of a batch: its words, made once.

    `always` are the data told of even where there is no row; `page_has_rows` says whether the page shows the rows;
    `besides` are further files, by name.
    """

    at: datetime
    slots: Mapping[str, tuple[Slot, ...]]
    page: Around
    json: Around
    always: frozenset[str]
    page_has_rows: bool = True
    besides: Mapping[str, bytes] = field(default_factory=dict)


class _Told:
    """What was found for one person in one slot, in three forms."""

    __slots__ = ("csv", "json", "page", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self.json: list[Piece] = []
        self.csv: list[Piece] = []
        self.page: list[Piece] = []


class Archives:
    """The answers of a batch, `people` by their request: `take` rows as they come, then `write` all zips.

    What stands in files comes along (`attach`): `stores` are the folders they are in. Each zip is `REQUEST.zip` in the
    folder, readable by its owner only; it stands there whole or not at all. After a crash there may be `REQUEST.part`,
    which the next attempt writes anew.
    """

    def __init__(
        self,
        frame: Frame,
        folder: Path,
        people: Mapping[Key, str],
        *,
        memory: int = MEMORY,
        stores: Mapping[str, FileStore] | None = None,
    ) -> None:
        self.frame = frame
        self.folder = folder
        self.people = people
        self._spool = Spool(folder, memory)
        self._stores = stores or {}
        self._files: dict[Key, dict[tuple[str, str], None]] = defaultdict(dict)
        self._told: dict[Key, dict[Slot, _Told]] = defaultdict(dict)
        self._shapes: dict[tuple[str, tuple[str, ...]], list[tuple[Slot, tuple[str, ...]]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._spool.close()
        if kind is not None:
            for request in self.people.values():
                self._part(request).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise TransientError(
                f"the answers can't be written: {error.strerror or type(error).__name__}",
                help="see that the folder `answers` can be written to and its disk has room; nothing was given out",
            ) from None

    def take(self, place: str, rows: Sequence[tuple[Key, Row]]) -> None:
        """Add rows of a table (`store.table`), those of one person together, in any order of the tables."""
        for (key, shape), together in groupby(rows, lambda one: (one[0], tuple(one[1]))):
            slots = self._slots(place, shape)
            for some in _weighed(row for _, row in together):
                for slot, present in slots:
                    self._add(self._told[key], slot, present, shape, some)

    def attach(self, key: Key, store: str, path: str) -> None:
        """A file of a person's, by its store and the path a row of theirs has; named twice it comes once."""
        self._files[key][store, path] = None

    def _slots(self, place: str, shape: tuple[str, ...]) -> list[tuple[Slot, tuple[str, ...]]]:
        """The slots that a row with these columns belongs to, each with those of its columns that the row has."""
        found = self._shapes.get((place, shape))
        if found is None:
            there = set(shape)
            slots = [(slot, tuple(c for c in slot.columns if c in there)) for slot in self.frame.slots[place]]
            found = self._shapes[place, shape] = [(slot, present) for slot, present in slots if present]
        return found

    def _add(
        self,
        told: dict[Slot, _Told],
        slot: Slot,
        present: tuple[str, ...],
        shape: tuple[str, ...],
        rows: Sequence[Row],
    ) -> None:
        ours = told.get(slot)
        if ours is None:
            ours = told[slot] = _Told()
        plain = rows if present == shape else [{column: row[column] for column in present} for row in rows]
        add = self._spool.add
        separated = b",\n" if ours.rows else b""
        add(ours.json, separated + json_rows(plain))
        cells = texts(plain, slot.columns)
        add(ours.csv, csv_rows(cells))
        if self.frame.page_has_rows and ours.rows < ON_PAGE:
            add(ours.page, page_rows(cells[: ON_PAGE - ours.rows]))
        ours.rows += len(rows)

    def write(self) -> dict[str, dict[str, int]]:
        """Write every zip, and return once all of them would survive a power cut; the rows of each, by data.

        A person nothing was found for has a zip that says so. Files are made durable while others are written, many at
        once, which costs a fraction of doing so one by one; until all are, no name ends in `.zip`.
        """
        counts = {}
        with ThreadPoolExecutor(_SYNCING) as syncing:
            under_way: list[Future[None]] = []
            for key, request in self.people.items():
                told, part = self._told.pop(key, {}), self._part(request)
                self._write(told, self._files.pop(key, {}), part)
                counts[request] = self._counts(told)
                if len(self.people) == 1:  # a thread for one file costs more than the file
                    _durable(part)
                else:
                    under_way.append(syncing.submit(_durable, part))
            for one in under_way:
                one.result()
        for request in self.people.values():
            self._part(request).replace(self.folder / f"{request}.zip")
        _durable(self.folder)
        return counts

    def _part(self, request: str) -> Path:
        return self.folder / f"{request}.part"

    def _counts(self, told: Mapping[Slot, _Told]) -> dict[str, int]:
        counts = {data: 0 for data in self.frame.json.data if data in self.frame.always}
        for slot, found in told.items():
            counts[slot.data] = counts.get(slot.data, 0) + found.rows
        return counts

    def _write(self, told: Mapping[Slot, _Told], attached: Iterable[tuple[str, str]], path: Path) -> None:
        by_data: dict[str, list[tuple[Slot, _Told]]] = defaultdict(list)
        for slot, found in told.items():
            by_data[slot.data].append((slot, found))
        shown = [data for data in self.frame.json.data if data in self.frame.always or data in by_data]
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            # The files first: only then can the rest say which of them were there.
            files = self._copied(archive, attached)
            self._file(archive, "index.html", self._page(shown, by_data, files))
            self._file(archive, "data.json", self._json(shown, by_data, files))
            for data in shown:
                for slot, found in by_data.get(data, ()):
                    self._file(archive, slot.csv_name, [slot.csv_header, *found.csv])
            for name, content in self.frame.besides.items():
                self._file(archive, name, [content])

    def _copied(self, archive: zipfile.ZipFile, attached: Iterable[tuple[str, str]]) -> list[File]:
        """Copy files into a zip, block by block and as they are: most are packed already."""
        files: list[File] = []
        taken: set[str] = set()
        for store, path in attached:
            file = File.named(store, path, taken)
            if file.name is not None:
                with self._stores[store].open(path) as content:
                    if content is not None:
                        info = self._info(f"{FOLDER}/{file.name}")
                        # The size may change while it is read, so the longer numbers of zip64 in any case.
                        with archive.open(info, "w", force_zip64=True) as copy:
                            while block := content.read(BLOCK):
                                copy.write(block)
                        file = file.found(info.file_size)
            files.append(file)
        return files

    def _page(
        self,
        shown: Iterable[str],
        by_data: Mapping[str, Sequence[tuple[Slot, _Told]]],
        files: Sequence[File],
    ) -> list[Piece]:
        page = self.frame.page
        pieces: list[Piece] = [page.head]
        for data in shown:
            before, after = page.data[data]
            pieces.append(before)
            if self.frame.page_has_rows:
                for slot, found in by_data.get(data, ()):
                    pieces += [slot.page_head(found.rows), *found.page, slot.page_foot(found.rows)]
                if data not in by_data:
                    pieces.append(b"<p>Nothing.</p>\n")
            pieces.append(after)
        return [*pieces, files_page(files), page.foot]

    def _json(
        self,
        shown: Iterable[str],
        by_data: Mapping[str, Sequence[tuple[Slot, _Told]]],
        files: Sequence[File],
    ) -> list[Piece]:
        around = self.frame.json
        pieces: list[Piece] = [around.head]
        for number, data in enumerate(shown):
            before, after = around.data[data]
            pieces += [b",\n" if number else b"", before]
            for place, (slot, found) in enumerate(by_data.get(data, ())):
                pieces += [b",\n" if place else b"", slot.json_name, b": [\n", *found.json, b"\n]"]
            pieces.append(after)
        return [*pieces, around.foot, files_json(files), b"\n}\n"]

    def _file(self, archive: zipfile.ZipFile, name: str, pieces: Sequence[Piece]) -> None:
        info = self._info(name)
        length = size(pieces)
        if length <= BLOCK:
            packed = zipfile.ZIP_STORED if length < _SMALL else zipfile.ZIP_DEFLATED
            archive.writestr(info, b"".join(self._spool.read(pieces)), packed, _LEVEL)
            return
        info.compress_type = zipfile.ZIP_DEFLATED
        info._compresslevel = _LEVEL  # type: ignore[attr-defined]  # has no public name before Python 3.13
        info.file_size = (
            length  # so that a file that is too large for a plain zip gets the longer numbers of zip64
        )
        with archive.open(info, "w") as file:
            for block in self._spool.read(pieces):
                file.write(block)

    def _info(self, name: str) -> zipfile.ZipInfo:
        at = self.frame.at
        info = zipfile.ZipInfo(name, (at.year, at.month, at.day, at.hour, at.minute, at.second))
        info.external_attr = 0o600 << 16
        return info


def _weighed(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in groups whose long values are about 1 MiB together, for each form of a group is made at once."""
    group: list[Row] = []
    weight = 0
    for row in rows:
        group.append(row)
        for value in row.values():
            if type(value) is str or type(value) is bytes:
                weight += len(value)
        if weight > BLOCK:
            yield group
            group, weight = [], 0
    if group:
        yield group


def _durable(path: Path) -> None:
    """Have a file, or a folder with its names, written to the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Sought:
    """Values that are looked for in answers, as text or as JSON writes it; a part of one holds nothing."""

    def __init__(self, values: Iterable[str]) -> None:
        forms = {form: value for value in values for form in (value.encode(), as_json(value)[1:-1]) if form}
        self._values = list(forms.values())
        self._finder = BytesAhoCorasick(list(forms)) if forms else None
        self._overlap = max(map(len, forms), default=1) - 1

    def inside(self, path: Path) -> frozenset[str]:
        """Which of the values an answer has in it; one that is gone has none.

        Its files are packed, so that a search of the zip itself would find nothing; they are read block by block.
        """
        if self._finder is None:
            return frozenset()
        found: set[int] = set()
        try:
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    with archive.open(name) as file:
                        found |= self._numbers(file)
        except FileNotFoundError:
            return frozenset()
        return frozenset(self._values[number] for number in found)

    def _numbers(self, file: IO[bytes]) -> set[int]:
        assert self._finder is not None
        found: set[int] = set()
        last = b""
        while block := file.read(BLOCK):
            window = last + block
            found.update(hit[0] for hit in self._finder.find_matches_as_indexes(window, overlapping=True))
            last = window[-self._overlap :] if self._overlap else b""
        return found


def slots_of(names: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, tuple[Slot, ...]]:
    """The slots of each table, from the data names of its columns: one for each data, in the order they come."""
    found: dict[str, tuple[Slot, ...]] = {}
    for place, columns in names.items():
        data = dict.fromkeys(name for held in columns.values() for name in held)
        found[place] = tuple(
            Slot(name, place, tuple(column for column, held in columns.items() if name in held))
            for name in data
        )
    return found
