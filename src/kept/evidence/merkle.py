"""A Merkle tree as RFC 6962 §2.1 defines it: leaf and node hashes, roots, and proofs anyone can check.

Hashes are SHA-256, 32 bytes. A *subtree* is a perfect one: `height` h and `position` p cover the leaves p·2ʰ
to (p+1)·2ʰ. Proofs are made from subtrees that the caller looks up, so making one needs no pass over all
leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

Subtree = Callable[[int, int], bytes]
"""Gives the hash of the perfect subtree of a height at a position."""

STRIDE = 8
"""A frontier hands out the subtrees whose height is a multiple of this, for storing: one row for 256 leaves,
and any other subtree is at most 128 hashes away from stored ones."""

EMPTY = sha256().digest()


def leaf_hash(data: bytes) -> bytes:
    """The hash of one entry: SHA-256(0x00 ‖ data) (RFC 6962 §2.1)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256(0x01 ‖ left ‖ right) (RFC 6962 §2.1)."""
    return sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over 2ʰ hashes of neighbouring subtrees of one height."""
    level = list(hashes)
    while len(level) > 1:
        level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]


@dataclass(frozen=True)
class Complete:
    """A perfect subtree that became complete with the last leaf."""

    height: int
    position: int
    hash: bytes


class Frontier:
    """The right edge of a growing tree: all that is needed to append a leaf and to know the root, in O(log
    n)."""

    __slots__ = ("_hashes", "size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """`hashes`: those of the subtrees `size` leaves fall into, the largest first (see `peaks`)."""
        self.size = size
        self._hashes = list(hashes)

    def push(self, leaf: bytes) -> Sequence[Complete]:
        """Append a leaf hash; says which subtrees of a height divisible by STRIDE it completed."""
        hashes, count, height, node = self._hashes, self.size, 0, leaf
        complete: list[Complete] | None = None
        while count & 1:
            node = sha256(b"\x01" + hashes.pop() + node).digest()
            count >>= 1
            height += 1
            if height % STRIDE == 0:
                complete = complete or []
                complete.append(Complete(height, count, node))
        hashes.append(node)
        self.size += 1
        return complete or ()

    def root(self) -> bytes:
        """The root over everything pushed so far; SHA-256 of nothing for an empty tree."""
        if not self._hashes:
            return EMPTY
        root = self._hashes[-1]
        for left in reversed(self._hashes[:-1]):
            root = node_hash(left, root)
        return root

    def copy(self) -> Frontier:
        """A second edge that grows on its own."""
        return Frontier(self.size, self._hashes)


def peaks(start: int, end: int) -> list[tuple[int, int]]:
    """The perfect subtrees (height, position) that leaves start … end fall into, left to right.

    `start` must be a multiple of the largest power of two below or at end - start, as in every range of RFC
    6962.
    """
    found = []
    while start < end:
        height = (end - start).bit_length() - 1
        found.append((height, start >> height))
        start += 1 << height
    return found


def root_of(start: int, end: int, subtree: Subtree) -> bytes:
    """The root over the leaves start … end (see `peaks`)."""
    return Frontier(end - start, [subtree(height, position) for height, position in peaks(start, end)]).root()


def subtrees(leaves: Sequence[bytes]) -> Subtree:
    """Look-up of subtrees over leaf hashes held in memory."""
    return lambda height, position: fold(leaves[position << height : (position + 1) << height])


def inclusion(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size` leaves, from the leaf up (RFC 6962 §2.1.1)."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(root_of(middle, end, subtree))
            end = middle
        else:
            path.append(root_of(start, middle, subtree))
            start = middle
    return path[::-1]


def consistency(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """The proof that the tree of `new` leaves starts with the tree of `old` leaves (RFC 6962 §2.1.2).

    Empty when the sizes are equal, and when `old` is 0 (every tree starts with nothing).
    """
    if not 0 <= old <= new:
        raise ValueError(f"no tree of {old} leaves before one of {new}")
    if old in (0, new):
        return []
    path, start, end = [], 0, new
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(root_of(middle, end, subtree))
            end = middle
        else:
            path.append(root_of(start, middle, subtree))
            start = middle
    if start:
        path.append(root_of(start, end, subtree))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `path` shows the leaf hash at `index` under `root` of `size` leaves (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, last, result = index, size - 1, leaf
    for step in path:
        if last == 0:
            return False
        if node & 1 or node == last:
            result = node_hash(step, result)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            result = node_hash(result, step)
        node >>= 1
        last >>= 1
    return last == 0 and result == root


def verify_consistency(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether `path` shows that the tree under `new_root` starts with the one under `old_root` (RFC 9162
    §2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == EMPTY
    steps = list(path)
    if not steps:
        return False
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    node, last = old - 1, new - 1
    while node & 1:
        node >>= 1
        last >>= 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            first = node_hash(step, first)
            second = node_hash(step, second)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            second = node_hash(second, step)
        node >>= 1
        last >>= 1
    return last == 0 and first == old_root and second == new_root


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)
