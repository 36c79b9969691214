"""Tampered bundles, made from a good one: what somebody might try who wants a ledger to say something else.

`TAMPERS` names what can be done to the file alone. `FORKS` need the company's own keys: it is the company
that lies.
"""

from __future__ import annotations

import json
import sys
import warnings
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import rfc8785

from kept.evidence.heads import TreeHead
from kept.evidence.keys import Keys
from kept.evidence.ledger import Ledger
from kept.evidence.merkle import Frontier, consistency, leaf_hash, subtrees

Tamper = Callable[["Bundle"], None]


class Bundle:
    """The parts of a bundle in memory, to be changed and written again."""

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            self.parts = {name: archive.read(name) for name in archive.namelist()}
        self.entries = self.parts["entries.jsonl"].splitlines(keepends=True)
        leaves = self.parts["leaves.bin"]
        self.leaves = [leaves[start : start + 32] for start in range(0, len(leaves), 32)]
        self.heads = [TreeHead.read(line) for line in self.parts["heads.jsonl"].splitlines()]
        self.proofs = self.parts["proofs.jsonl"].splitlines(keepends=True)
        self.compressed: set[str] = set()
        self.twice: set[str] = set()

    def write(self, path: Path) -> None:
        """Write the bundle as it is now."""
        self.parts["entries.jsonl"] = b"".join(self.entries)
        self.parts["leaves.bin"] = b"".join(self.leaves)
        self.parts["heads.jsonl"] = b"".join(head.written() + b"\n" for head in self.heads)
        self.parts["proofs.jsonl"] = b"".join(self.proofs)
        with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile warns of a name that stands twice
            for name, data in self.parts.items():
                for _ in range(2 if name in self.twice else 1):
                    method = zipfile.ZIP_DEFLATED if name in self.compressed else zipfile.ZIP_STORED
                    archive.writestr(zipfile.ZipInfo(name), data, method)

    def changed(self, index: int) -> bytes:
        """The line of an entry, with one fact of it changed."""
        return rfc8785.dumps(json.loads(self.entries[index]) | {"rows": 0}) + b"\n"

    def rehash(self) -> None:
        """Make every leaf hash fit its entry."""
        self.leaves = [leaf_hash(line[:-1]) for line in self.entries]

    def resign(self, keys: Keys, start: int = 0, sizes: list[int] | None = None) -> None:
        """Sign heads over the entries as they are now, from the `start`th head on, and prove them
        consistent."""
        self.rehash()
        for number in range(start, len(self.heads)):
            size = sizes[number] if sizes else self.heads[number].size
            frontier = Frontier()
            for leaf in self.leaves[:size]:
                frontier.push(leaf)
            at = datetime.fromisoformat(self.heads[number].at)
            self.heads[number] = TreeHead.signed(size, frontier.root(), at, keys)
        self.prove()

    def prove(self) -> None:
        """Consistency proofs from each head to the next, over the entries as they are now."""
        subtree = subtrees(self.leaves)
        self.proofs = []
        for old, new in zip(self.heads, self.heads[1:], strict=False):
            path = [hash_.hex() for hash_ in consistency(old.size, new.size, subtree)]
            self.proofs.append(rfc8785.dumps({"old": old.size, "new": new.size, "path": path}) + b"\n")


def _altered(bundle: Bundle) -> None:
    bundle.entries[17] = bundle.changed(17)


def _altered_with_leaf(bundle: Bundle) -> None:
    _altered(bundle)
    bundle.rehash()


def _altered_leaf(bundle: Bundle) -> None:
    bundle.leaves[17] = bytes(32)


def _dropped(bundle: Bundle) -> None:
    del bundle.entries[17]


def _dropped_several(bundle: Bundle) -> None:
    del bundle.entries[17:20]


def _dropped_with_leaf(bundle: Bundle) -> None:
    del bundle.entries[17], bundle.leaves[17]


def _cut(bundle: Bundle) -> None:
    del bundle.entries[35:], bundle.leaves[35:]


def _cut_entries(bundle: Bundle) -> None:
    del bundle.entries[35:]


def _swapped(bundle: Bundle) -> None:
    bundle.entries[17], bundle.entries[23] = bundle.entries[23], bundle.entries[17]


def _swapped_neighbours(bundle: Bundle) -> None:
    bundle.entries[17], bundle.entries[18] = bundle.entries[18], bundle.entries[17]


def _swapped_with_leaves(bundle: Bundle) -> None:
    _swapped(bundle)
    bundle.rehash()


def _moved(bundle: Bundle) -> None:
    bundle.entries.insert(17, bundle.entries.pop(23))


def _duplicated(bundle: Bundle) -> None:
    bundle.entries.insert(17, bundle.entries[3])


def _overwritten(bundle: Bundle) -> None:
    bundle.entries[17] = bundle.entries[3]


def _inserted(bundle: Bundle) -> None:
    bundle.entries.insert(17, bundle.changed(17))


def _appended(bundle: Bundle) -> None:
    bundle.entries.append(bundle.changed(39))
    bundle.rehash()


def _appended_entry(bundle: Bundle) -> None:
    bundle.entries.append(bundle.changed(39))


def _reformatted(bundle: Bundle) -> None:
    bundle.entries[17] = json.dumps(json.loads(bundle.entries[17])).encode() + b"\n"


def _oversized(bundle: Bundle) -> None:
    bundle.entries[17] = b'"' + b"x" * 200_000 + b'"\n'


def _other_key(bundle: Bundle) -> None:
    forger = Keys(bytes(32), bytes(32), bytes(32))
    bundle.parts["key"] = forger.public.hex().encode() + b"\n"
    bundle.resign(forger)


def _other_keys_history(bundle: Bundle) -> None:
    _altered(bundle)
    _other_key(bundle)


def _key_only(bundle: Bundle) -> None:
    bundle.parts["key"] = b"00" * 32 + b"\n"


def _key_garbled(bundle: Bundle) -> None:
    bundle.parts["key"] = b"not a key\n"


def _altered_head(bundle: Bundle) -> None:
    bundle.heads[2] = _with(bundle.heads[2], at="2020-01-01T00:00:00.000000Z")


def _forged_head(bundle: Bundle) -> None:
    """The entry, its leaf hash and the roots are all made to fit; only the signatures can't be."""
    _altered_with_leaf(bundle)
    honest = list(bundle.heads)
    bundle.resign(Keys(bytes(32), bytes(32), bytes(32)))
    bundle.heads = [_with(old, root=new.root) for old, new in zip(honest, bundle.heads, strict=True)]


def _others_head(bundle: Bundle) -> None:
    bundle.heads[-1] = TreeHead.signed(
        40, bytes(32), datetime(2026, 1, 1, tzinfo=UTC), Keys(*[bytes(32)] * 3)
    )


def _head_garbled(bundle: Bundle) -> None:
    bundle.heads[2] = _with(bundle.heads[2], root="zz")


def _last_head_dropped(bundle: Bundle) -> None:
    del bundle.heads[-1], bundle.proofs[-1]


def _middle_head_dropped(bundle: Bundle) -> None:
    del bundle.heads[1], bundle.proofs[1]


def _heads_dropped(bundle: Bundle) -> None:
    bundle.heads, bundle.proofs = [], []


def _heads_reordered(bundle: Bundle) -> None:
    bundle.heads[1], bundle.heads[2] = bundle.heads[2], bundle.heads[1]


def _head_repeated(bundle: Bundle) -> None:
    bundle.heads.insert(2, bundle.heads[1])
    bundle.proofs.insert(1, b'{"new":20,"old":20,"path":[]}\n')


def _proof_altered(bundle: Bundle) -> None:
    bundle.proofs[1] = bundle.proofs[1].replace(b'["', b'["00', 1)


def _proof_added(bundle: Bundle) -> None:
    bundle.proofs.append(bundle.proofs[-1])


def _part_added(bundle: Bundle) -> None:
    bundle.parts["evil\x1b[2J.sh"] = b"rm -rf /"


def _part_twice(bundle: Bundle) -> None:
    bundle.twice.add("entries.jsonl")


def _part_missing(bundle: Bundle) -> None:
    bundle.parts = {name: data for name, data in bundle.parts.items() if name != "key"}


def _bomb(bundle: Bundle) -> None:
    bundle.entries[17] = b"0" * 50_000_000 + b"\n"
    bundle.compressed.add("entries.jsonl")


def _manifest(bundle: Bundle) -> None:
    bundle.parts["manifest.json"] = b'{"format":"something else","version":1}'


TAMPERS: dict[str, Tamper] = {
    "entry-altered": _altered,
    "entry-altered-with-its-leaf": _altered_with_leaf,
    "leaf-altered": _altered_leaf,
    "entry-dropped": _dropped,
    "entries-dropped": _dropped_several,
    "entry-dropped-with-its-leaf": _dropped_with_leaf,
    "end-cut-off": _cut,
    "end-of-entries-cut-off": _cut_entries,
    "entries-swapped": _swapped,
    "neighbours-swapped": _swapped_neighbours,
    "entries-swapped-with-their-leaves": _swapped_with_leaves,
    "entry-moved": _moved,
    "entry-duplicated": _duplicated,
    "entry-overwritten-by-another": _overwritten,
    "entry-inserted": _inserted,
    "entry-appended-with-its-leaf": _appended,
    "entry-appended": _appended_entry,
    "entry-reformatted": _reformatted,
    "entry-oversized": _oversized,
    "signed-with-another-key": _other_key,
    "rewritten-and-signed-with-another-key": _other_keys_history,
    "key-replaced": _key_only,
    "key-garbled": _key_garbled,
    "head-altered": _altered_head,
    "heads-forged": _forged_head,
    "head-by-another-key": _others_head,
    "head-garbled": _head_garbled,
    "last-head-dropped": _last_head_dropped,
    "middle-head-dropped": _middle_head_dropped,
    "heads-dropped": _heads_dropped,
    "heads-reordered": _heads_reordered,
    "head-repeated": _head_repeated,
    "proof-altered": _proof_altered,
    "proof-added": _proof_added,
    "part-added": _part_added,
    "part-twice": _part_twice,
    "part-missing": _part_missing,
    "zip-bomb": _bomb,
    "manifest-altered": _manifest,
}


def _fork_kept(bundle: Bundle, keys: Keys) -> None:
    """History is rewritten from entry 17 on; an honest head of the old history was forgotten in the
    bundle."""
    _altered(bundle)
    bundle.resign(keys, start=2)


def _fork_twice(bundle: Bundle, keys: Keys) -> None:
    """Two heads over as many entries, each shown to somebody else."""
    bundle.heads.append(TreeHead.signed(40, bytes(32), datetime(2026, 2, 1, tzinfo=UTC), keys))
    bundle.proofs.append(b'{"new":40,"old":40,"path":[]}\n')


def _rewritten(bundle: Bundle, keys: Keys) -> None:
    """All of history is signed again; only who holds an earlier head can see it."""
    _altered(bundle)
    bundle.resign(keys)


def _shortened(bundle: Bundle, keys: Keys) -> None:
    """The newest entries and heads are left out; only who holds a later head can see it."""
    del bundle.entries[30:], bundle.leaves[30:], bundle.heads[3:], bundle.proofs[2:]


FORKS: dict[str, Callable[[Bundle, Keys], None]] = {
    "forked-after-a-head": _fork_kept,
    "forked-at-the-last-head": _fork_twice,
    "rewritten-and-signed-again": _rewritten,
    "newest-entries-and-heads-left-out": _shortened,
}


def tamper(name: str, good: Path, out: Path, keys: Keys | None = None) -> None:
    """Write to `out` what tamper `name` makes of the bundle `good` (40 entries or more, heads over 10, 20,
    30, 40)."""
    bundle = Bundle(good)
    if name in FORKS:
        assert keys is not None, "a fork needs the company's own keys"
        FORKS[name](bundle, keys)
    else:
        TAMPERS[name](bundle)
    bundle.write(out)


def _with(head: TreeHead, **changes: str) -> TreeHead:
    return TreeHead(**{**head.json(), **changes})


def write_all(folder: Path) -> None:
    """Write `good.zip` and, beside it, one bundle for each tamper: material for `kept verify` on a command line."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = Keys.open(folder / "keys")
    with Ledger.open(folder / "ledger.sqlite", keys, lambda: datetime(2026, 1, 1, tzinfo=UTC)) as ledger:
        for start in range(0, 40, 10):
            ledger.append_many(
                [(None, {"act": "erase", "n": n, "rows": 7}) for n in range(start, start + 10)]
            )
            ledger.head()
        ledger.export(folder / "good.zip")
    for name in (*TAMPERS, *FORKS):
        tamper(name, folder / "good.zip", folder / f"{name}.zip", keys)


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
