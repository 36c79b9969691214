"""Merkle trees: RFC 6962's own test vectors, and pymerkle, an implementation by others, as an oracle."""

from __future__ import annotations

from hashlib import sha256

import pymerkle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kept.evidence.merkle import (
    EMPTY,
    Frontier,
    consistency,
    fold,
    inclusion,
    leaf_hash,
    peaks,
    root_of,
    subtrees,
    verify_consistency,
    verify_inclusion,
)

# The leaves, roots and proofs of Certificate Transparency's reference tests (merkle_tree_test.cc).
LEAVES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
LEAVES.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
many = st.lists(st.binary(max_size=40), min_size=1, max_size=70)


def _grown(entries: list[bytes]) -> Frontier:
    frontier = Frontier()
    for entry in entries:
        frontier.push(leaf_hash(entry))
    return frontier


def _oracle(entries: list[bytes]) -> pymerkle.InmemoryTree:
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for entry in entries:
        tree.append_entry(entry)
    return tree


def test_the_roots_are_those_of_the_reference_tests() -> None:
    assert Frontier().root() == EMPTY == sha256(b"").digest()
    for size, root in enumerate(ROOTS, start=1):
        assert _grown(LEAVES[:size]).root().hex() == root


def test_the_proofs_are_those_of_the_reference_tests() -> None:
    subtree = subtrees([leaf_hash(leaf) for leaf in LEAVES])
    assert [hash_.hex() for hash_ in inclusion(0, 8, subtree)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [hash_.hex() for hash_ in inclusion(5, 8, subtree)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    assert inclusion(0, 1, subtree) == []
    assert consistency(1, 1, subtree) == []
    assert [hash_.hex() for hash_ in consistency(6, 8, subtree)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    assert [hash_.hex() for hash_ in consistency(2, 5, subtree)] == [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ]


@given(many)
def test_roots_and_proofs_are_those_of_another_implementation(entries: list[bytes]) -> None:
    size = len(entries)
    theirs = _oracle(entries)
    subtree = subtrees([leaf_hash(entry) for entry in entries])
    assert _grown(entries).root() == theirs.get_root()
    for index in range(size):
        proof = theirs.prove_inclusion(index + 1)
        path = [bytes.fromhex(text) for text in proof.serialize()["path"]]
        assert [leaf_hash(entries[index]), *inclusion(index, size, subtree)] == path
    for old in range(1, size + 1):
        ours = consistency(old, size, subtree)
        assert verify_consistency(old, size, ours, theirs.get_root(old), theirs.get_root())


@given(many, st.data())
def test_every_proof_verifies_and_no_other_root_index_or_step_does(
    entries: list[bytes], data: st.DataObject
) -> None:
    size = len(entries)
    leaves = [leaf_hash(entry) for entry in entries]
    subtree, root = subtrees(leaves), _grown(entries).root()
    index = data.draw(st.integers(0, size - 1))
    path = inclusion(index, size, subtree)
    assert verify_inclusion(leaves[index], index, size, path, root)
    assert not verify_inclusion(bytes(32), index, size, path, root)
    assert not verify_inclusion(leaves[index], index, size, [*path, root], root)
    assert not verify_inclusion(leaves[index], index, size, path, bytes(32))
    assert not verify_inclusion(leaves[index], size, size, path, root)
    if path:
        assert not verify_inclusion(leaves[index], index, size, path[:-1], root)
        assert not verify_inclusion(leaves[index], index, size, [*path[:-1], bytes(32)], root)
    old = data.draw(st.integers(0, size))
    before = _grown(entries[:old]).root()
    path = consistency(old, size, subtree)
    assert verify_consistency(old, size, path, before, root)
    assert not verify_consistency(old, size, [*path, root], before, root)
    if 0 < old < size:
        assert not verify_consistency(old, size, path, bytes(32), root)
        assert not verify_consistency(old, size, path, before, bytes(32))
        assert not verify_consistency(old, size, [], before, root)
        assert not verify_consistency(old, size, path[:-1], before, root)
        assert not verify_consistency(size, old, path, root, before)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 1500), st.data())
def test_a_tree_is_rebuilt_from_its_right_edge(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(number.to_bytes(4)) for number in range(size)]
    frontier, complete = Frontier(), {}
    for leaf in leaves:
        for done in frontier.push(leaf):
            complete[done.height, done.position] = done.hash
    subtree = subtrees(leaves)
    assert complete == {(8, n): subtree(8, n) for n in range(size >> 8)}
    again = Frontier(size, [subtree(height, position) for height, position in peaks(0, size)])
    assert again.root() == frontier.root() == root_of(0, size, subtree)
    again.push(leaves[0])
    assert again.root() != frontier.root()
    assert again.size == frontier.size + 1


def test_a_leaf_or_tree_that_is_not_there_has_no_proof() -> None:
    subtree = subtrees([leaf_hash(b"a")])
    with pytest.raises(ValueError, match="no leaf 1 in a tree of 1"):
        inclusion(1, 1, subtree)
    with pytest.raises(ValueError, match="no tree of 2"):
        consistency(2, 1, subtree)


def test_a_leaf_never_passes_for_a_node() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != fold([left, right])
