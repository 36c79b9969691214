"""What is looked for in files is long enough that finding it means something."""

from __future__ import annotations

import random

import pytest

from kept.controls.rights.erasing.chance import SHORTEST, telling


def test_a_name_of_five_letters_tells_of_one_person_and_not_of_ten_thousand() -> None:
    others = [f"someone {number}@mail.example" for number in range(40_000)]
    assert "Maria" in telling(["Maria"], 1 << 30)
    assert "Maria" not in telling(["Maria", *others], 1 << 30)
    assert telling(["Maria", *others], 1 << 30) == sorted(others)


def test_whatever_is_shorter_than_five_bytes_never_tells() -> None:
    assert telling(["Eve", "Noël", "Zoë"], 1) == ["Noël"]
    assert len("Noël".encode()) == SHORTEST


@pytest.mark.parametrize("seed", range(5))
def test_what_is_said_to_tell_does_not_stand_in_random_digests(seed: int) -> None:
    draw = random.Random(seed)
    digests = "".join(draw.choice("0123456789abcdef") for _ in range(1_000_000))
    numbers = [str(draw.randrange(10**length)) for length in (5, 6, 8, 14) for _ in range(2_000)]
    assert any(number in digests for number in numbers)
    told = telling(numbers, len(digests), digests=True)
    assert told and not any(number in digests for number in told)
