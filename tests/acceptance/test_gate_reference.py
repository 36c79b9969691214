"""Every answer of the gate is that of an interpreter of sixty lines which shares no code with it."""

from __future__ import annotations

import ast
import tempfile
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from kept.controls.purposes.enforce import Gate
from tests.acceptance import gate_reference
from tests.acceptance.gate_worlds import World, person, request, world

WORLDS, REQUESTS = 25, 4_000
RULES = (
    "purpose",
    "data",
    "channel",
    "by",
    "groups",
    "nobody",
    "owner",
    "limit",
    "region",
    "left",
    "restrict",
    "object",
    "withdraw",
    "hold",
    "choice",
    "unless",
    "upon",
    "case",
    "during",
    "reason",
    "document",
    "written-consent",
)


def test_the_reference_is_short_and_shares_nothing_with_the_gate() -> None:
    text = Path(gate_reference.__file__).read_text()
    assert len(text.splitlines()) <= 60  # of the whole file
    imported = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imported == []


def asked(gate: Gate, ask: dict[str, Any]) -> tuple[bool, str]:
    found = gate.decide(
        ask["purpose"],
        ask["data"],
        person=person(ask["person"]),
        by=ask["by"],
        case=ask["case"],
        group=ask["group"],
        channel=ask["channel"],
        signals=ask["signals"],
        evidence=ask["evidence"],
    )
    assert not found.unsure, found
    assert found.allowed == (found.rule == "") and found.allowed == bool(found.fields), found
    return found.allowed, found.rule


def differing(found: World, random: Random, number: int, seen: Counter[str]) -> list[Any]:
    gate, wrong = Gate.of(found.company), []
    for _ in range(number):
        ask = request(random, found)
        ours, reference = asked(gate, ask), gate_reference.decide(found.policy, found.facts, ask)
        seen[reference[1] or "allowed"] += 1
        if ours != reference:
            wrong.append((ask, ours, reference))
    return wrong


def test_a_hundred_thousand_random_requests_are_answered_as_the_reference_does(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    for seed in range(WORLDS):
        random = Random(seed)
        with world(tmp_path / str(seed), random) as found:
            wrong = differing(found, random, REQUESTS, seen)
            assert not wrong, (f"seed {seed}: {len(wrong)} differ", wrong[:3])
    assert sum(seen.values()) == WORLDS * REQUESTS
    assert seen["allowed"] > 0.1 * sum(seen.values()), seen
    assert not [rule for rule in RULES if seen[rule] < 50], seen


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=some.integers(min_value=1000, max_value=2**32))
def test_any_policy_and_world_is_decided_as_the_reference_does(seed: int) -> None:
    random = Random(seed)
    with (
        tempfile.TemporaryDirectory() as made,
        world(Path(made) / "lumi", random, purposes=random.randint(1, 25), people=8) as found,
    ):
        assert differing(found, random, 400, Counter()) == []


def test_arrays_and_lists_say_what_the_gate_says_of_each(tmp_path: Path) -> None:
    """But for what rests on a guardian's answer, which arrays refuse."""
    compared = allowed = 0
    for seed in range(100, 106):
        with world(tmp_path / str(seed), Random(seed), purposes=40, people=40) as found:
            gate, people = Gate.of(found.company), [person(name) for name in found.facts["people"]]
            whos = [who for who in people if who is not None]
            crowd = gate.crowd(whos)
            uses = [use for use in gate.uses.every() if use.alone]
            numbers = [crowd.number(use.name, None, use.channel) for use in uses]
            indexes = [crowd.index(who) for who in whos]
            found_ = crowd.decide(
                np.repeat(np.array(numbers), len(whos)), np.tile(np.array(indexes), len(uses))
            ).reshape(len(uses), len(whos))
            for at, use in enumerate(uses):
                listed = gate.decide_all(use.name, whos, channel=use.channel)
                for place, who in enumerate(whos):
                    one = gate.decide(use.name, None, person=who, channel=use.channel)
                    assert listed[who] == one
                    guarded = found.facts["people"][str(who)]["guarded"]
                    assert found_[at, place] == one.allowed or (guarded and not found_[at, place])
                    compared, allowed = compared + 1, allowed + one.allowed
    assert compared > 1000 and allowed > 100, (compared, allowed)
