"""The page of preferences never says otherwise than the gate decides, whatever somebody did before."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from examples.generators import lucent_marketplace
from kept.company import opened
from kept.controls.choices.enforce import Gate
from kept.controls.choices.messages.preferences import preferences
from kept.controls.choices.records.book import New, record
from kept.controls.choices.records.states import Answer
from kept.controls.registry import load
from kept.controls.rights.people import Person

WAYS = ("page", "account", "confirmed", "one-click", "import", "signal", "device")
CHOICES = ("newsletter", "promotions", "contact", "advertising", "location", "public-activity")
ANSWERS: tuple[Answer, ...] = ("yes", "yes", "no", "later", "asked")


def test_what_is_marked_yes_is_what_the_gate_lets_through(tmp_path: Path) -> None:
    draw, now = random.Random("preferences"), datetime.now(UTC)
    lucent_marketplace.build(tmp_path, 40, 3)
    seen = set()
    with opened(load(tmp_path / "policy.yaml"), tmp_path, lambda: now) as company:
        gate = Gate.of(company)
        for number in range(1, 41):
            who = Person("member", (str(number),))
            for _ in range(draw.randrange(25)):
                now += timedelta(minutes=1)
                new = New(who, draw.choice(CHOICES), draw.choice(ANSWERS), draw.choice(WAYS))
                record(company, [new])
            page = preferences(company, who, "en")
            for one in page.offered:
                for item in one.items:
                    if one.by_guardian or one.agreed:
                        continue
                    allowed = gate.choice(who, item.choice, item.scope).allowed
                    assert (item.answer == "yes") == allowed, (item, one.ask)
                    seen.add((item.stands, one.ask))
    assert {stands for stands, _ in seen} >= {"none", "on", "yes", "no", "waiting"}
