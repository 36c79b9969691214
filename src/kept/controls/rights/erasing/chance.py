"""Which values tell anything when they are found in files: short ones stand there by chance, and more often of many."""

from __future__ import annotations

import math
from collections.abc import Collection

SHORTEST = 5  # bytes: whatever is shorter is found everywhere
SURE = 10  # to one: that chance shows none of the values

_HEXADECIMAL = frozenset("0123456789abcdef")


def telling(values: Collection[str], size: int, *, digests: bool = False) -> list[str]:
    """Those of the values that `size` random bytes would hardly show, all of them looked for.

    With `digests` what is looked into is full of hexadecimal digits, in which numbers stand by chance.
    """
    needed = math.log(max(1, len(values)) * max(1, size) * SURE)

    def weight(value: str) -> float:
        letters = 16 if digests and _HEXADECIMAL.issuperset(value) else 256
        return len(value.encode()) * math.log(letters)

    return sorted(value for value in values if len(value.encode()) >= SHORTEST and weight(value) > needed)
