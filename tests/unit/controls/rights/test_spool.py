"""The spool gives back what it was given, wherever it kept it, and leaves no name behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from kept.controls.rights.answers.spool import BLOCK, Piece, Spool, size


@pytest.mark.parametrize("most", [0, 10, 1 << 20])
def test_pieces_come_back_in_their_order(tmp_path: Path, most: int) -> None:
    spool = Spool(tmp_path, most)
    lists: list[list[Piece]] = [[], [], []]
    for number in range(300):
        spool.add(lists[number % 3], f"{number},".encode())
    for which, pieces in enumerate(lists):
        expected = "".join(f"{number}," for number in range(which, 300, 3)).encode()
        assert b"".join(spool.read(pieces)) == expected and size(pieces) == len(expected)
    spool.close()


def test_beyond_its_limit_it_holds_nothing_in_memory_and_the_file_has_no_name(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000)
    pieces: list[Piece] = []
    for _ in range(100):
        spool.add(pieces, b"x" * 100)
    assert sum(len(piece) for piece in pieces if isinstance(piece, bytes)) <= 1000
    assert list(tmp_path.iterdir()) == []
    spool.close()


def test_a_piece_of_several_blocks_is_read_block_by_block(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 0)
    pieces: list[Piece] = []
    spool.add(pieces, bytes(range(256)) * (BLOCK // 100))
    blocks = list(spool.read(pieces))
    assert len(blocks) == 3 and max(map(len, blocks)) == BLOCK
    assert b"".join(blocks) == bytes(range(256)) * (BLOCK // 100)
    spool.close()
