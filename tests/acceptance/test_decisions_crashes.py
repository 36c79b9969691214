"""A decision is cut off (SIGKILL) at any place: it is written, told and on record once, whoever works next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kept.controls.purposes.decisions import queue, seen
from kept.controls.purposes.decisions.change import purpose_of
from tests.acceptance.decided import bazaar, decide, entries, finished, member, renaming
from tests.acceptance.deciding_crashes import SPOTS
from tests.acceptance.postbox import Postbox, postbox
from tests.conftest import MARIADB

BY = ("--as", "trust:4", "--by", "Robin Reed")


@pytest.fixture
def box() -> Iterator[Postbox]:
    with postbox() as started:
        yield started


@pytest.mark.parametrize("spot", SPOTS)
def test_a_decision_that_was_cut_off_goes_on_where_it_stopped(
    tmp_path: Path, box: Postbox, spot: str
) -> None:
    made = bazaar(tmp_path / "bazaar")
    box.used_by(made.folder)
    with made.opened() as company:
        purpose = purpose_of(company, "renaming")
        seen.look(company, purpose)
    kills = 0
    for number in range(1, 30):
        who, new = number % 6 + 1, f"Name {number}"
        before = len(box.to(f"m{who}@mail.example"))
        with made.opened() as company:
            id = renaming(company, who, new)
        killed = made.killed(spot, number, "decide", "yes", id, *BY, "--why", "They showed their papers.")
        kills += killed
        with made.opened() as company:
            assert seen.look(company, purpose).strange == 0, (spot, number)
            if queue.one(company, id).state == queue.OPEN:  # nothing was noted: it is said again
                assert killed
                decide(company, id)
        finished(made)
        with made.opened() as company:
            assert queue.one(company, id).state == queue.DONE, (spot, number)
            assert seen.look(company, purpose) == seen.Seen(6), (spot, number)
            for act in ("propose", "decide", "decided", "decision told"):
                assert sum(one["proposal"] == id for one in entries(company, act)) == 1, (spot, number, act)
        assert made.name(who) == new
        assert len(box.to(f"m{who}@mail.example")) == before + 1, (spot, number)
        if not killed:
            break
    assert kills >= 1 and not killed


@pytest.mark.parametrize("spot", ["noted", "committed", "before"])  # the others: test_ending
def test_an_end_decided_in_the_queue_and_cut_off_is_set_and_told_once(
    tmp_path: Path, box: Postbox, spot: str
) -> None:
    made = bazaar(tmp_path / "bazaar")
    box.used_by(made.folder)
    for number in (1, 2):
        who = member(number)
        with made.opened() as company:
            id = queue.propose(company, "closing", who, by="a page")
        killed = made.killed(f"end-{spot}", number, "decide", "yes", id, *BY, "--why", "They forged lamps.")
        assert killed or number == 2
        with made.opened() as company:
            assert queue.one(company, id).decided_by == "Robin Reed"
        assert made.kept("work").code == 0 and made.kept("work").code == 0
        with made.opened() as company:
            assert queue.one(company, id).state == queue.DONE
            whose = company.pseudonyms.of([str(who)])[str(who)]
            assert sum(one["person"] == whose for one in entries(company, "end")) == 1
            assert sum(one["proposal"] == id for one in entries(company, "decide")) == 1
        assert made.ask(f"SELECT COUNT(*) FROM members WHERE id = {number} AND left_at IS NOT NULL") == [(1,)]
        assert len(box.to(f"m{number}@mail.example")) == 1
    assert made.ask("SELECT COUNT(*) FROM members WHERE left_at IS NOT NULL") == [(2,)]


@pytest.mark.parametrize("kind", ["postgresql", MARIADB])
def test_a_change_that_committed_and_nobody_heard_of_is_settled(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    made = bazaar(tmp_path / "bazaar", str(request.getfixturevalue(f"fresh_{kind}")))
    for spot in ("marked", "committed", "settled"):
        with made.opened() as company:
            seen.look(company, purpose_of(company, "renaming"))
            id = renaming(company, name=spot)
        number = 1
        while made.killed(spot, number, "decide", "yes", id, *BY):
            number += 1
            assert number < 20
            if made.name(1) == spot:
                break
        made.kept("work")
        with made.opened() as company:
            assert queue.one(company, id).state == queue.DONE
            assert seen.look(company, purpose_of(company, "renaming")) == seen.Seen(6), spot
        assert made.name(1) == spot
