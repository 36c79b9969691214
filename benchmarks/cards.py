"""Looking for full card numbers: megabytes a second of prose and of digit-heavy logs, beside a plain pattern.

    python -m benchmarks.cards [--megabytes 8] [--runs 5]

The peer, timed in the same run over the same bytes, is what one would write first: a pattern of 13 to 19 digits with
single spaces or dashes between them, then Luhn. All texts are generated. Then rows of a table, at once and one by one.
Then how many wholly random numbers of 16 digits pass for a card, and how many of those outside every network's range;
and of 20 and 24 in fours, which pass with a card's 16 in them, and of 28, which don't.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from collections.abc import Callable
from functools import partial

from kept.controls.collection.card_numbers import find as cards
from kept.controls.collection.card_numbers import never
from kept.controls.collection.card_numbers.issuers import network_of

_PLAIN = re.compile(rb"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_WORDS = [
    *(
        "the",
        "of",
        "and",
        "to",
        "in",
        "is",
        "you",
        "that",
        "it",
        "he",
        "was",
        "for",
        "on",
        "are",
        "with",
        "they",
    ),
    *(
        "at",
        "be",
        "this",
        "have",
        "from",
        "or",
        "one",
        "had",
        "by",
        "word",
        "but",
        "not",
        "what",
        "all",
        "were",
    ),
    *(
        "when",
        "your",
        "said",
        "there",
        "use",
        "each",
        "which",
        "she",
        "how",
        "their",
        "will",
        "other",
        "about",
    ),
]


def prose(size: int, seed: int = 7) -> str:
    """English-like text, a number now and then."""
    chosen = random.Random(seed)
    parts: list[str] = []
    length = 0
    while length < size:
        sentence = " ".join(chosen.choices(_WORDS, k=chosen.randint(5, 20))).capitalize()
        sentence += chosen.choice(
            [". ", ". ", ". ", f" in {chosen.randint(1900, 2030)}.\n", f", {chosen.randint(1, 99)}. "]
        )
        parts.append(sentence)
        length += len(sentence)
    return "".join(parts)[:size]


def logs(size: int, seed: int = 7) -> str:
    """Lines that are mostly digits: times, an order number of 16 digits, addresses, amounts."""
    chosen = random.Random(seed)
    parts: list[str] = []
    length = 0
    while length < size:
        month, day, minute = chosen.randint(1, 12), chosen.randint(1, 28), chosen.randint(0, 59)
        line = (
            f"2026-{month:02}-{day:02} 14:{minute:02}:33.{chosen.randint(0, 999):03} "
            f"order={chosen.randint(10**15, 10**16 - 1)} user={chosen.randint(1, 10**7)} "
            f"ts={chosen.randint(16 * 10**11, 18 * 10**11)} ip=10.{chosen.randint(0, 255)}.3.{chosen.randint(0, 255)} "
            f"amount={chosen.randint(1, 99999) / 100} 200 {chosen.randint(0, 99999)} {chosen.random()}\n"
        )
        parts.append(line)
        length += len(line)
    return "".join(parts)[:size]


def by_pattern(text: bytes) -> int:
    """The peer: how many places a plain pattern and Luhn find."""
    found = 0
    for match in _PLAIN.finditer(text):
        total = 0
        for at, byte in enumerate(reversed(match[0].translate(None, b" -"))):
            digit = byte - 48
            total += digit if at % 2 == 0 else 2 * digit - 9 * (digit > 4)
        found += total % 10 == 0
    return found


def rate(work: Callable[[], object], size: int, runs: int) -> float:
    """Megabytes a second, the middle of several runs."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return size / sorted(times)[len(times) // 2] / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=8)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    size = given.megabytes * 1_000_000
    english, lines = prose(size), logs(size)
    texts = {
        "prose": (english, 300),
        "prose with curly quotes and é": (english.replace(" the ", " l’été "), None),
        "prose in Bengali letters": (
            english.translate(dict(zip(map(ord, "etaonis"), "কাখগঘচছ", strict=True))),
            None,
        ),
        "digit-heavy logs": (lines, 60),
    }
    for name, (text, limit) in texts.items():
        data = text.encode()
        ours = rate(partial(cards.find, data), len(data), given.runs)
        string = rate(partial(cards.find, text), len(data), given.runs)
        plain = rate(partial(by_pattern, data), len(data), max(given.runs // 3, 1))
        aim = f" (aim {limit})" if limit else ""
        print(
            f"{name}: {ours:.0f} MB/s of bytes{aim}, {string:.0f} of str; "
            f"plain pattern {plain:.0f} MB/s; ratio {ours / plain:.1f}"
        )
    rows = [line[at : at + 40] for line in lines.splitlines() for at in range(0, len(line), 40)]
    letters = sum(map(len, rows))
    together = rate(partial(never.in_rows, rows), letters, given.runs)
    singly = rate(lambda: sum(map(cards.any_in, rows)), letters, given.runs)
    print(
        f"{len(rows):,} rows of 40 characters of such logs: {together:.0f} MB/s at once, {singly:.0f} one by one; "
        f"ratio {together / singly:.1f}"
    )
    chosen = random.Random(7)
    numbers = [b"%016d" % chosen.randrange(10**16) for _ in range(1_000_000)]
    outside = [number for number in numbers if network_of(number, spaced=True) is None]
    passed, wrong = sum(map(cards.any_in, numbers)), sum(map(cards.any_in, outside))
    print(
        f"of {len(numbers):,} random numbers of 16 digits {passed / len(numbers):.2%} pass for a card; "
        f"of {len(outside):,} in no network's range {wrong}"
    )
    for groups in (4, 5, 6, 7):
        written = [
            b" ".join(b"%04d" % chosen.randrange(10**4) for _ in range(groups)) for _ in range(100_000)
        ]
        if groups == 4:
            written = [one for one in written if network_of(one.replace(b" ", b""), spaced=True) is None]
        passed = sum(map(cards.any_in, written))
        what = " in no network's range" if groups == 4 else ""
        print(
            f"of {len(written):,} random numbers of {4 * groups} digits in fours{what} {passed} "
            f"({passed / len(written):.2%}) pass for a card"
        )


if __name__ == "__main__":
    main()
