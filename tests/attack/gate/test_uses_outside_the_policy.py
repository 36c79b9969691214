"""Ten thousand uses outside the policy, each one step from a use that is allowed: every one is refused, with a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kept.controls.choices.deciding import Decision
from kept.controls.purposes import enforce
from kept.controls.purposes.enforce import Gate
from kept.controls.rights.people import Person
from tests.acceptance.gate_worlds import DATA, World, person, request, world

USES = 10_000
SEEDS = (20261, 20262, 20263, 20264, 20265)


def spelled(random: Random, text: str) -> str:
    """The same to a reader, or nearly, and not the same."""
    wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)
    other = [
        f" {text}",
        f"{text} ",
        text + "\u200b",
        text + "\0",
        text.upper() if text.upper() != text else text + "x",
        wide,
        text[:-1] + "\u0430",
        text + "\n",
        text * 10_000,
        text + "\ud800",
        f"{text}:",
        f"{text}' OR '1'='1",
        "",
    ]
    return random.choice(other)


def _purpose(random: Random, ask: dict[str, Any], found: World) -> dict[str, Any]:
    return {
        "purpose": random.choice([spelled(random, ask["purpose"]), None, 7, ["p0"], ("p0",), b"p0", "*", "%"])
    }


def _data(random: Random, ask: dict[str, Any], found: World) -> dict[str, Any]:
    uses = found.policy["purposes"][ask["purpose"]]["uses"]
    others = [name for name in (*DATA, "nothing", "*") if name not in uses]
    one = random.choice([random.choice(others), spelled(random, uses[0])])
    odd: list[Any] = [
        one,
        (*uses, one),
        [*uses, one],
        frozenset({one}),
        {one, *uses},
        (name for name in (*uses, one)),
        (str(1 // len(name)) for name in (*uses, "")),
    ]
    odd += [
        (),
        [],
        frozenset(),
        iter(()),
        7,
        True,
        b"account",
        (None,),
        [uses],
        {"a": 1},
        uses * 10_000,
        object(),
    ]
    return {"data": random.choice(odd)}


def _channel(random: Random, ask: dict[str, Any], found: World) -> dict[str, Any]:
    return {"channel": random.choice(["push", "", spelled(random, "email"), 7, ["email"], b"email", True])}


def _by(random: Random, ask: dict[str, Any], found: World) -> dict[str, Any]:
    odd: list[Any] = [
        "ghost:1",
        "engineer:",
        ":",
        "",
        ":4",
        "engineer :4",
        " engineer:4",
        "sale.x:1",
        "sale:1",
        "sale.:1",
    ]
    odd += [
        "engineer\u200b:4",
        "ENGINEER:4",
        "\u0435ngineer:4",
        "engineer:4\n",
        7,
        ["engineer:4"],
        b"engineer:4",
        True,
        "e" * 100_000,
        "staff.x:1",
    ]
    return {"by": random.choice(odd)}


def _others(random: Random, ask: dict[str, Any], found: World) -> dict[str, Any] | None:
    """Somebody who is no staff asks about another."""
    if ask["person"] is None:
        return None
    key = ask["person"].partition(":")[2]
    role = random.choice(["member", "seller", "minor"])
    return {
        "by": f"{role}:{random.choice([f'{int(key) + 100}', f'0{key}', f' {key}', f'{key},', spelled(random, key)])}"
    }


def _case(random: Random, ask: dict[str, Any], found: World) -> dict[str, Any] | None:
    use = found.policy["purposes"][ask["purpose"]]
    if "case" not in use:
        return None
    link, _, number = ask["case"].partition(":")
    closed = [
        row["case"]
        for row in found.facts["rows"]
        if not row["open"] or ask["person"] not in row["ends"].values() or row["link"] not in use["case"]
    ]
    odd: list[Any] = [
        None,
        "",
        link,
        f"{link}:",
        f"{link}:0{number}",
        f"{link}: {number}",
        f"{link}:{number} ",
    ]
    odd += [
        f"{link}:{number}.0",
        f"{link}:{'9' * 40}",
        f"{link}:-1",
        f"{link}:{number}:{number}",
        f"{link}:\u0661",
    ]
    odd += [7, [ask["case"]], True, f"case:{number}", "case:", *closed]
    return {"case": random.choice(odd)}


def _of_another(random: Random, ask: dict[str, Any], found: World) -> dict[str, Any] | None:
    """A case that is another's to work on."""
    if "case" not in found.policy["purposes"][ask["purpose"]]:
        return None
    role, _, key = ask["by"].partition(":")
    return {
        "by": random.choice(
            [f"{role}:{int(key) + 50}", role, f"{role}:0{key}", f"{role}:{key} ", "staff:1", None]
        )
    }


def _person(random: Random, ask: dict[str, Any], found: World) -> dict[str, Any] | None:
    if ask["person"] is None:
        return None
    key = ask["person"].partition(":")[2]
    kinds = [
        "seller",
        "minor",
        "engineer",
        "staff",
        "chief",
        "visitor",
        "",
        "Member",
        "member ",
        "error",
        "sale.buyer",
    ]
    numbers = (0, -1, 999, "1e0", "1 OR 1=1", "\u0661", "\uff11", f"0{key}", "9" * 60, spelled(random, key))
    wrong: list[tuple[Any, Any]] = [(kind, (key,)) for kind in kinds]
    wrong += [("member", (f"{number}",)) for number in numbers]
    wrong += [
        ("member", ()),
        ("member", (key, key)),
        ("member", (int(key),)),
        ("member", [key]),
        (["member"], (key,)),
    ]
    odd: list[Any] = [Person(*one) for one in wrong]
    odd += [None, key, f"member:{key}", ("member", (key,)), 7]
    return {"person": random.choice(odd)}


def _group(random: Random, ask: dict[str, Any], found: World) -> dict[str, Any]:
    floor = found.policy["purposes"][ask["purpose"]].get("groups")
    if floor is None:
        return {"group": random.choice([0, 1, 10, 10**30, True, "50", 50.0, -3])}
    odd = [floor - 1, 0, -1, -floor, True, None, float("inf"), float("nan"), f"{floor}", floor + 0.5, [floor]]
    return random.choice([{"group": random.choice(odd)}, {"person": Person("member", ("1",))}])


def _needs(random: Random, ask: dict[str, Any], found: World) -> dict[str, Any] | None:
    needs = found.policy["purposes"][ask["purpose"]].get("needs")
    if not needs:
        return None
    nothing = random.choice(
        ["", " ", "\u200b", "\t\n", "\u2063\u2063", None, 7, True, b"because", ["because"]]
    )
    odd: list[Any] = [{}, None, 7, "because", {needs[0]: nothing}, {needs[0].upper(): "because"}, [needs[0]]]
    return {"evidence": random.choice(odd)}


STEPS: tuple[Callable[[Random, dict[str, Any], World], dict[str, Any] | None], ...] = (
    _purpose,
    _data,
    _channel,
    _by,
    _others,
    _case,
    _of_another,
    _person,
    _group,
    _needs,
)


def given(ask: dict[str, Any], **changed: Any) -> dict[str, Any]:
    found = {**ask, "person": person(ask["person"]), **changed}
    return {"purpose": found.pop("purpose"), "data": found.pop("data"), **found}


def allowed(gate: Gate, random: Random, found: World) -> Iterator[dict[str, Any]]:
    """Uses that are allowed, one after another; a third of them for a case, where there is any."""
    cases = [ask for ask in _for_a_case(found) if gate.decide(**given(ask)).allowed]
    while True:
        ask = random.choice(cases) if cases and random.random() < 0.33 else request(random, found)
        if gate.decide(**given(ask)).allowed:
            yield ask


def _for_a_case(found: World) -> Iterator[dict[str, Any]]:
    for name, use in found.policy["purposes"].items():
        for row in found.facts["rows"]:
            if row["open"] and row["link"] in use.get("case", ()):
                yield {
                    "purpose": name,
                    "data": None,
                    "person": row["ends"]["user"],
                    "by": f"{row['role']}:{row['key']}",
                    "case": row["case"],
                    "group": None,
                    "channel": None,
                    "signals": frozenset(),
                    "evidence": dict.fromkeys(use.get("needs", ()), "because"),
                }


def test_whatever_is_one_step_outside_the_policy_is_refused(tmp_path: Path) -> None:
    seen = Counter[str]()
    for done, seed in enumerate(SEEDS, 1):
        print(f"seed {seed}")
        random = Random(seed)
        with world(tmp_path / str(seed), random, purposes=40) as found:
            gate = Gate.of(found.company)
            uses = allowed(gate, random, found)
            while sum(seen.values()) < USES * done // len(SEEDS):
                ask, step = next(uses), random.choice(STEPS)
                changed = step(random, ask, found)
                if changed is None:
                    continue
                answer = gate.decide(**given(ask, **changed))
                assert isinstance(answer, Decision)
                assert not answer.allowed and answer.rule and not answer.fields, (seed, step, ask, changed)
                assert len(answer.reason) < 400
                seen[step.__name__] += 1
            assert gate.decide(**given(next(uses))).allowed  # and it still allows what it should
    assert sum(seen.values()) == USES and not [step for step in STEPS if seen[step.__name__] < 20], seen


def test_nobody_moves_elsewhere_by_saying_so(tmp_path: Path) -> None:
    """A region is the company's record of a person; no signal, evidence or wording of a request is one."""
    random, tried = Random(7), 0
    with world(tmp_path / "lumi", random, purposes=40) as found:
        gate = Gate.of(found.company)
        for _ in range(6000):
            ask = request(random, found)
            if gate.decide(**given(ask)).rule != "region":
                continue
            words = {"region": "us", "regions": "eea", "reason": "they live in France"}
            for signals in (
                frozenset({"us"}),
                frozenset({"region=eea"}),
                frozenset({"gpc", "eea"}),
                "eea",
                ["eea"],
                {"us"},
            ):
                answer = gate.decide(**given(ask, signals=signals, evidence={**ask["evidence"], **words}))
                assert not answer.allowed and answer.rule == "region"
                tried += 1
    assert tried > 500


def test_a_flood_of_odd_questions_fills_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enforce, "REFUSALS", 100)
    monkeypatch.setattr(enforce, "ASKERS", 50)
    random = Random(5)
    with world(tmp_path / "lumi", random, purposes=30) as found:
        gate = Gate.of(found.company)
        for number in range(30_000):
            names = tuple(random.choices(DATA, k=random.randint(1, 5)))
            by = f"engineer:{number}" if number % 2 else None
            odd = frozenset({f"s{number}"})
            gate.decide(f"p{number % 30}", names, person=person(f"member:{number % 5}"), by=by, signals=odd)
        assert len(gate.uses.known) <= 10_000 and len(gate.uses.alone) <= 10_000
        bases = [gate.choices.known[Person("member", (f"{number}",))] for number in range(1, 5)]
        assert 10 < sum(len(some) for known in bases for some in known.refused.values()) <= 100
        assert all(len(known.standing) <= 4 and not known.decided for known in bases)
        assert 0 < len(gate._roles) <= 50
