"""A bundle: the whole ledger in one file that anyone can check, without the company, its database or its
keys.

It is a zip of six parts, none compressed: so nothing in it can unfold into more than the file itself, and a
flipped bit stays one flipped bit. Entries are checked against leaf hashes, leaf hashes against the roots of
the signed heads.

    manifest.json   the format and its version
    key             the public key, hex
    heads.jsonl     every signed tree head kept, oldest first, one a line
    proofs.jsonl    the consistency proof from each head to the next, one a line
    leaves.bin      the leaf hash of each entry, 32 bytes each
    entries.jsonl   the entries, canonical JSON, one a line
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import rfc8785

from kept.errors import KeptError
from kept.evidence.entry import LIMIT
from kept.evidence.heads import TreeHead
from kept.evidence.merkle import Frontier, leaf_hash, verify_consistency
from kept.evidence.parts import HASH, Parts, Tampered, how_it_differs, opened, shown

VERSION = 1
_MANIFEST: dict[str, Any] = {"format": "kept ledger bundle", "version": VERSION}

_LINE = 16 * 1024
"""Bytes of a head or a proof: a proof has at most two hashes a level, and no ledger has 2⁶⁴ entries."""
_ACTS = 1_000
_ACT = 64
"""Acts counted by name, and characters of a name: a real ledger has some dozens of short ones, and neither memory
nor the reader's terminal may be at the mercy of what a forger writes."""


@dataclass(frozen=True)
class Verified:
    """What a sound bundle proves: the entries under `head` are all there and unaltered since it was signed.

    `trusted` says whether the key is one the reader knew beforehand; if not, whoever made the bundle may have
    made the key as well. `heads` counts signed heads, `acts` the entries by act.
    """

    head: TreeHead
    trusted: bool
    heads: int
    acts: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self.head.size

    def __str__(self) -> str:
        head = self.head
        lines = [f"{head.size} entries, unaltered since {head.at}", f"root {head.root}", f"key  {head.key}"]
        if not self.trusted:
            lines.append(
                "nothing shows whose key that is: compare it with the one the company published (--key)"
            )
        return "\n".join(lines)


def write(
    path: Path,
    heads: Iterable[TreeHead],
    stored: Iterable[tuple[bytes, bytes]],
    consistency: Callable[[int, int], list[bytes]],
) -> None:
    """Write a bundle of the entries (canonical bytes, leaf hash) and heads; it appears whole or not at
    all."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with (
            open(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file,
            zipfile.ZipFile(file, "w") as archive,
            tempfile.TemporaryFile(dir=path.parent) as leaves,
            tempfile.TemporaryFile(dir=path.parent) as proofs,
        ):
            key = None
            with _part(archive, "heads.jsonl") as part:
                before: TreeHead | None = None
                for head in heads:
                    part.write(head.written() + b"\n")
                    if before is not None:
                        hashes = consistency(before.size, head.size)
                        proofs.write(_proof(before.size, head.size, hashes) + b"\n")
                    before, key = head, head.key
            with _part(archive, "entries.jsonl") as part:
                for body, leaf in stored:
                    part.write(body + b"\n")
                    leaves.write(leaf)
            for name, spooled in (("leaves.bin", leaves), ("proofs.jsonl", proofs)):
                spooled.seek(0)
                with _part(archive, name) as part:
                    shutil.copyfileobj(spooled, part)
            with _part(archive, "manifest.json") as part:
                part.write(rfc8785.dumps(_MANIFEST))
            with _part(archive, "key") as part:
                part.write(f"{key}\n".encode())
            archive.close()
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise KeptError(f"the bundle can't be written: {error.strerror}", where=path.name) from error
    finally:
        draft.unlink(missing_ok=True)


def verify_bundle(
    path: Path, *, trusted_key: str | None = None, known_head: TreeHead | None = None
) -> Verified:
    """Check a bundle from its bytes alone, reading it once, in memory that doesn't grow with it.

    `trusted_key` is the company's public key (hex) from elsewhere; without it a wholly forged ledger passes,
    signed with the forger's own key. `known_head` is a head kept from earlier: without one, nobody can see
    that the holder of the key cut off the newest entries, or signed another history from the start.

    Raises Tampered, which names the first entry that is not as it was signed.
    """
    with opened(path) as parts:
        _check_manifest(parts)
        key = _check_key(parts, trusted_key)
        if known_head is not None and not (known_head.key == key and known_head.is_signed()):
            raise Tampered("the head you hold was not signed with the key of this bundle")
        reading = _Reading(parts, key, known_head)
        head = reading.run()
        parts.check_sums()
    return Verified(head, trusted=trusted_key is not None, heads=reading.heads, acts=dict(reading.acts))


class _Reading:
    """One pass over heads, leaves and entries side by side.

    `tree` grows with the leaf hashes; `other` with the hashes of the entries themselves, from the first that
    differs (`differs`) on, so that at each head one can tell which of the two is as signed.
    """

    def __init__(self, parts: Parts, key: str, known: TreeHead | None) -> None:
        self.parts = parts
        self.key = key
        self.known = known
        self.tree = Frontier()
        self.other: Frontier | None = None
        self.differs: int | None = None
        self.heads = 0
        self.before: TreeHead | None = None
        self.sound: TreeHead | None = None
        self.suspect: TreeHead | None = None
        self.linked = False
        self.as_known = True
        self.acts: Counter[str] = Counter()

    def run(self) -> TreeHead:
        """Read to the end; the last head, when everything under it is sound."""
        while (line := self.parts["heads.jsonl"].readline(_LINE)) != b"":
            head = self._next_head(line)
            linked = self._linked(head)
            self._grow(head)
            self._judge(head, linked)
            self.before = head
        if self.suspect is not None:
            raise self._altered(self.suspect)
        if self.sound is None:
            raise Tampered("the bundle holds no signed head, so it proves nothing")
        size = self.tree.size
        if self.parts["leaves.bin"].read(1) or self.parts["entries.jsonl"].read(1):
            raise Tampered(
                f"entry {size} and what follows were added: no signed head covers them", index=size
            )
        if self.parts["proofs.jsonl"].read(1):
            raise Tampered("there are more consistency proofs than heads")
        if self.known is not None and self.known.size > size:
            raise Tampered(
                f"entry {size} is missing: the head you hold covers {self.known.size} entries", index=size
            )
        if self.known is not None and not self.as_known:
            raise Tampered(
                f"history forked: its first {self.known.size} entries aren't those of the head you hold"
            )
        return self.sound

    @property
    def start(self) -> int:
        """Entries before this one are proven."""
        return self.sound.size if self.sound else 0

    def _next_head(self, line: bytes) -> TreeHead:
        name, rest = f"head {self.heads}", f"nothing from entry {self.start} on is proven"
        self.heads += 1
        try:
            head = TreeHead.read(line.removesuffix(b"\n"))
        except ValueError as error:
            raise Tampered(f"{name} was altered: it isn't a tree head; {rest}", index=self.start) from error
        name = f"{name} (over {head.size} entries, {shown(head.at)})"
        if head.key != self.key:
            raise Tampered(f"{name} names another key than the bundle; {rest}", index=self.start)
        if not head.is_signed():
            raise Tampered(f"{name} was altered: its signature is wrong; {rest}", index=self.start)
        before = self.before
        if before is not None and head.size == before.size and head.root != before.root:
            raise Tampered(
                f"history forked: {name} and the one before cover as many entries, are both signed, "
                "and differ"
            )
        if before is not None and head.size <= before.size:
            raise Tampered(f"{name} stands after one over {before.size}: heads were repeated or reordered")
        return head

    def _linked(self, head: TreeHead) -> bool:
        """Whether the next proof shows that `head` continues the one before it."""
        before = self.before
        if before is None:
            return True
        line = self.parts["proofs.jsonl"].readline(_LINE).removesuffix(b"\n")
        try:
            proof = json.loads(line)
            path = [bytes.fromhex(text) for text in proof["path"]]
            expected = _proof(before.size, head.size, path)
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        roots = bytes.fromhex(before.root), bytes.fromhex(head.root)
        return line == expected and verify_consistency(before.size, head.size, path, *roots)

    def _grow(self, head: TreeHead) -> None:
        """Take in leaves and entries up to the size the head says."""
        leaves, lines = self.parts["leaves.bin"], self.parts["entries.jsonl"]
        while self.tree.size < head.size:
            index = self.tree.size
            leaf, line = leaves.read(HASH), lines.readline(LIMIT + 1)
            if len(leaf) < HASH:
                raise self._missing(head, index)
            hashed = leaf_hash(line[:-1]) if line.endswith(b"\n") else None
            if self.differs is None and hashed != leaf:
                self.differs = index
                self.other = self.tree.copy()
            self.tree.push(leaf)
            if self.differs is None:
                self._count(line, index)
            elif self.other is not None and hashed is not None:
                self.other.push(hashed)
            else:
                self.other = None
            if self.known is not None and self.known.size == self.tree.size:
                self.as_known = self.tree.root().hex() == self.known.root

    def _judge(self, head: TreeHead, linked: bool) -> None:
        """Compare what was read with the root that was signed."""
        if self.tree.root().hex() == head.root:
            if self.suspect is not None:
                raise self._forked(self.suspect, head)
            if self.differs is not None:
                raise Tampered(*how_it_differs(self.parts, self.differs))
            if not linked:
                raise Tampered(
                    f"the consistency proof up to the head over {head.size} entries doesn't fit: it was altered, "
                    "or a head before was dropped or moved"
                )
            self.sound = head
        elif self.other is not None and self.differs is not None and self.other.root().hex() == head.root:
            message = (
                f"the leaf hash of entry {self.differs} was altered (the entry itself is as it was signed)"
            )
            raise Tampered(message, index=self.differs)
        elif self.suspect is None:
            self.suspect, self.linked = head, linked

    def _count(self, line: bytes, index: int) -> None:
        try:
            act = json.loads(line)["act"]
            if not isinstance(act, str):
                raise TypeError
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise Tampered(f"entry {index} isn't a ledger entry: it has no act", index=index) from error
        plain = len(act) <= _ACT and act.isascii() and act.isprintable()
        self.acts[act if plain and (act in self.acts or len(self.acts) < _ACTS) else "(others)"] += 1

    def _altered(self, head: TreeHead) -> Tampered:
        last = head.size - 1 if self.differs is None else min(head.size - 1, self.differs)
        which = f"entry {last}" if last == self.start else f"one of the entries {self.start} to {last}"
        fork = "" if self.linked else "; or that head is of another history (a fork)"
        return Tampered(
            f"{which} was altered, dropped or moved, and its leaf hash with it: the head over {head.size} "
            f"entries ({shown(head.at)}) has another root{fork}",
            index=self.start,
            until=last,
        )

    def _missing(self, head: TreeHead, there: int) -> Tampered:
        if self.suspect is not None:
            return self._altered(self.suspect)
        if self.differs is not None:  # with leaf hashes missing as well, no root vouches for those before it
            message, _ = how_it_differs(self.parts, self.differs)
            return Tampered(message, index=self.start, until=self.differs)
        which = f"entry {there}" if there == self.start else f"entry {there}, or one from {self.start} on"
        message = (
            f"{which} was dropped: the head of {shown(head.at)} covers {head.size} entries, here are {there}"
        )
        return Tampered(message, index=self.start, until=there)

    def _forked(self, odd: TreeHead, good: TreeHead) -> Tampered:
        return Tampered(
            f"history forked: the head over {odd.size} entries ({shown(odd.at)}) and the one over "
            f"{good.size} ({shown(good.at)}) are both signed, and only the latter is of these entries",
            index=self.start,
            until=odd.size - 1,
        )


def _check_manifest(parts: Parts) -> None:
    data = parts["manifest.json"].read(_LINE)
    if data == rfc8785.dumps(_MANIFEST):
        return
    try:
        version = json.loads(data)["version"]
    except (ValueError, TypeError, KeyError, RecursionError):
        version = None
    if type(version) is int and version > VERSION:
        raise KeptError(f"the bundle has format version {version}, newer than this Kept knows ({VERSION})")
    raise Tampered("manifest.json was altered: it doesn't say that this is a bundle")


def _check_key(parts: Parts, trusted: str | None) -> str:
    try:
        key = parts["key"].read(66).decode("ascii").removesuffix("\n")
        right = len(bytes.fromhex(key)) == HASH and key == key.lower() and len(key) == 2 * HASH
    except ValueError:
        right = False
    if not right:
        raise Tampered("the public key was altered: it isn't 64 hex digits")
    if trusted is not None and key != trusted.strip().lower():
        raise Tampered(
            f"the bundle is signed with the key {key[:16]}…, not with the one you trust",
            help="whoever made it isn't who you think, or the company has a new key: ask it",
        )
    return key


def _proof(old: int, new: int, path: Sequence[bytes]) -> bytes:
    return rfc8785.dumps({"old": old, "new": new, "path": [hash_.hex() for hash_ in path]})


def _part(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    return archive.open(zipfile.ZipInfo(name), "w", force_zip64=True)
