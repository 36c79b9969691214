"""What a member of staff does by hand is due before the request's own clock runs out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from examples.sitelucent.generate import build
from kept.company import opened
from kept.controls.acts import kinds
from kept.controls.registry import load
from kept.controls.rights import register, tasks
from kept.controls.rights.desk import Desk
from kept.controls.rights.people import Person
from kept.controls.rights.register import Subject


@pytest.mark.parametrize(("left", "expected"), [(2, 2), (30, 7)])
def test_a_task_is_due_with_its_request_at_the_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int, expected: int
) -> None:
    monkeypatch.delenv("APP_DATABASE_URL", raising=False)
    build(tmp_path / "company", 20, 3, events_per_person=1)
    with opened(load(tmp_path / "company" / "policy.yaml"), tmp_path / "company") as company:
        two = [Subject(Person("user", (key,))) for key in ("1", "2")]
        Desk(company, kinds(company)).carry_out("access", two, "tester", confirmed=True)
        first, second = register.listing(company)
        assert first.act is not None and first.act == second.act
        now = company.clock()
        register.change(company, [first.id], due=now + timedelta(days=left))
        register.change(company, [second.id], due=now + timedelta(days=25))
        assert tasks.due(company, first.act) - now == pytest.approx(
            timedelta(days=expected), abs=timedelta(seconds=5)
        )
