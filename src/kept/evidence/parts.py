"""The parts of a bundle, read straight from the file, and what to say when one of them isn't as it was
signed."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kept.errors import KeptError
from kept.evidence.entry import LIMIT
from kept.evidence.merkle import leaf_hash

if TYPE_CHECKING:
    from typing_extensions import Buffer

HASH = 32
"""Bytes of a hash, and of a public key."""
NAMES = ("heads.jsonl", "entries.jsonl", "leaves.bin", "proofs.jsonl", "manifest.json", "key")
_LOCAL = struct.Struct("<4s5H3L2H")  # a zip's local file header (APPNOTE 4.3.7)
_CHUNK = 1 << 16


class Tampered(KeptError):
    """A bundle isn't as it was signed.

    `index` is the first entry (from 0) that is altered, dropped, added or unproven; where only a range can be
    told, the first lies between `index` and `until`. None: no entry is touched, only what stands around them.
    """

    exit_code = 1

    def __init__(
        self, message: str, index: int | None = None, *, until: int | None = None, help: str | None = None
    ) -> None:
        super().__init__(message, help=help)
        self.index = index
        self.until = index if until is None else until


class _Stored(io.RawIOBase):
    """The bytes of one part: a window of the file."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._start, self._size, self._at = start, size, 0
        self._file.seek(start)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Read up to the end of the part."""
        view = memoryview(buffer)[: self._size - self._at]
        count = self._file.readinto(view) if len(view) else 0
        self._at += count
        return count

    def rewind(self) -> None:
        """Go back to the start."""
        self._at = 0
        self._file.seek(self._start)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
        super().close()


class Parts(Mapping[str, io.BufferedReader]):
    """The parts by name, each read forward once; `again` starts one anew."""

    def __init__(self, archive: zipfile.ZipFile, path: Path, stack: ExitStack) -> None:
        self._stack = stack
        self._windows: dict[str, tuple[int, int]] = {}
        self._sums = {info.filename: info.CRC for info in archive.infolist()}
        self._path = path
        with path.open("rb") as file:
            end = 0
            for info in archive.infolist():
                if info.header_offset != end:  # an altered end record moves all of them, also before the file
                    raise Tampered("there are bytes in the bundle that belong to no part of it")
                file.seek(end)
                header = file.read(_LOCAL.size)
                if len(header) < _LOCAL.size or header[:4] != b"PK\x03\x04":
                    raise Tampered("there are bytes in the bundle that belong to no part of it")
                *_, name, extra = _LOCAL.unpack(header)
                if file.read(name) != info.filename.encode():
                    raise Tampered("the bundle names its parts in two ways")
                start = info.header_offset + _LOCAL.size + name + extra
                end = start + info.file_size
                self._windows[info.filename] = (start, info.file_size)
            if end != archive.start_dir:
                raise Tampered("there are bytes in the bundle that belong to no part of it")
        self._open = {name: self.again(name) for name in self._windows}

    def again(self, name: str) -> io.BufferedReader:
        """A part from its beginning."""
        return self._stack.enter_context(io.BufferedReader(_Stored(self._path, *self._windows[name]), _CHUNK))

    def check_sums(self) -> None:
        """Compare the zip's own check sums, so that other tools find the file as sound as we do."""
        for name, expected in self._sums.items():
            part, found = self.again(name), 0
            while chunk := part.read(_CHUNK):
                found = zlib.crc32(chunk, found)
            if found != expected:
                raise Tampered(f"the check sum of {name} in the zip was altered")

    def __getitem__(self, name: str) -> io.BufferedReader:
        return self._open[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)


@contextmanager
def opened(path: Path) -> Iterator[Parts]:
    """The parts of the bundle at `path`; Tampered unless it is a zip of exactly these parts, none
    compressed."""
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
        except FileNotFoundError as error:
            raise KeptError("there is no such file", where=str(path)) from error
        except OSError as error:
            raise KeptError(f"the file can't be read: {error.strerror}", where=str(path)) from error
        # NotImplementedError is what zipfile raises of a zip of a kind it doesn't read: several disks, newer versions.
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise Tampered("this isn't a bundle, or it is cut off: it can't be read as a zip") from error
        found = archive.infolist()
        names = [info.filename for info in found]
        if len(set(names)) != len(names):
            raise Tampered("a part stands in the bundle twice, and tools would differ in which they read")
        if extra := sorted(set(names) - set(NAMES)):
            raise Tampered(f"the bundle holds {shown(extra[0])}, which belongs to none")
        if lacking := [name for name in NAMES if name not in names]:
            raise Tampered(f"the bundle lacks {lacking[0]}")
        if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in found):
            raise Tampered(
                "a part of the bundle is compressed or encrypted; Kept writes none, and a small file could "
                "unfold without end"
            )
        if (
            archive.comment
            or not _ends_well(path)
            or any(info.compress_size != info.file_size for info in found)
        ):
            raise Tampered("the zip around the bundle was altered")
        yield Parts(archive, path, stack)


def _ends_well(path: Path) -> bool:
    """Whether nothing follows the zip's end record (APPNOTE 4.3.16), 22 bytes without a comment."""
    with path.open("rb") as file:
        file.seek(-22, io.SEEK_END)
        return file.read(4) == b"PK\x05\x06"


def shown(text: object) -> str:
    """Text from a file nobody vouches for, fit for a terminal: short, and printable ASCII only."""
    clean = "".join(c for c in str(text)[:40] if c.isascii() and c.isprintable())
    return clean or "?"


def how_it_differs(parts: Parts, index: int) -> tuple[str, int]:
    """What became of entry `index`, the first that doesn't have its leaf hash while all leaf hashes are as
    signed."""
    lines = _lines(parts, index, 2)
    here, after = (_hash(line) for line in (*lines, None, None)[:2])
    leaves = _leaves(parts, index, 2)
    name = f"entry {index}"
    if lines and (about := _about(lines[0])):
        name = f"{name} (now {about})"
    if not lines:
        return f"entry {index} was dropped: entries.jsonl ends before it", index
    came_from = _position(parts, here, index)
    if came_from is not None and came_from > index:
        at_its_place = _lines(parts, came_from, 1)
        if at_its_place and _hash(at_its_place[0]) == leaves[0]:
            return f"entries {index} and {came_from} were swapped", index
        following = _leaves(parts, came_from + 1, 1)
        if [after] == following or (after is None and not following):
            gone = came_from - index
            which = f"entry {index} was" if gone == 1 else f"{gone} entries from {index} were"
            return f"{which} dropped", index
        return f"entries were reordered: entry {came_from} stands at {index}", index
    if after == leaves[0]:
        what = "an entry that was never recorded" if came_from is None else f"a copy of entry {came_from}"
        return f"{what} was inserted before entry {index}", index
    if came_from is not None:
        return f"entry {index} was replaced by a copy of entry {came_from}", index
    return f"{name} was altered", index


def _about(line: bytes) -> str | None:
    try:
        entry = json.loads(line)
        return f"“{shown(entry['act'])}”, {shown(entry['at'])}"
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _hash(line: bytes | None) -> bytes | None:
    return leaf_hash(line[:-1]) if line is not None and line.endswith(b"\n") else None


def _lines(parts: Parts, start: int, count: int) -> list[bytes]:
    reader, found = parts.again("entries.jsonl"), []
    for number in range(start + count):
        line = reader.readline(LIMIT + 1)
        if number >= start and line:
            found.append(line)
    return found


def _leaves(parts: Parts, start: int, count: int) -> list[bytes]:
    reader = parts.again("leaves.bin")
    reader.read(0)
    for _ in range(start):
        reader.read(HASH)
    return [leaf for _ in range(count) if (leaf := reader.read(HASH))]


def _position(parts: Parts, leaf: bytes | None, index: int) -> int | None:
    """Where a leaf hash stands: the first place after `index`, else the last before."""
    reader, before, number = parts.again("leaves.bin"), None, 0
    while found := reader.read(HASH):
        if found == leaf:
            if number > index:
                return number
            before = number
        number += 1
    return before
