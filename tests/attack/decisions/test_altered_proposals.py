"""Somebody with Kept's database changes what was proposed or decided, or puts back what is over."""

from __future__ import annotations

from pathlib import Path

import pytest

from kept.controls.purposes.decisions import carrying, queue
from kept.errors import KeptError
from tests.acceptance.decided import Bazaar, bazaar, carried, decide, entries, member, renaming
from tests.acceptance.postbox import postbox


@pytest.fixture
def shop(tmp_path: Path) -> Bazaar:
    return bazaar(tmp_path / "bazaar")


@pytest.mark.parametrize(
    "change",
    [
        "sealed = NULL",
        "sealed = x'00'",
        "sealed = (SELECT sealed FROM proposals p WHERE p.id <> proposals.id)",
        "purpose = 'ranking'",
        "pseudonym = 'f00'",
        "state = 'accepted'",
        "state = 'refused'",
        "state = 'done'",
        "state = 'Open'",
        "ruling = x'00'",
        "state = 'accepted', role = 'trust', decided_by = 'Robin Reed'",
    ],
)
def test_a_proposal_that_was_altered_can_not_be_decided(shop: Bazaar, change: str) -> None:
    with shop.opened() as company:
        id = renaming(company)
        renaming(company, 2, "Other")
        shop.state(f"UPDATE proposals SET {change} WHERE id = ?", id)
        assert queue.one(company, id).altered
        for answer in ("yes", "no"):
            with pytest.raises(KeptError, match="altered"):
                decide(company, id, answer)
    assert carried(shop, id) != [None] and shop.name(1) == "Shop 1"
    told = shop.kept("decide", "list", "--all")
    assert "altered" in " ".join(told.out.split())


def test_an_altered_decision_is_broken_on_the_board(shop: Bazaar) -> None:
    with shop.opened() as company:
        shop.state("UPDATE proposals SET state = 'accepted' WHERE id = ?", renaming(company))
    verdicts = [(one["verdict"], one["says"]) for one in shop.proofs("renaming")]
    assert (
        "broken",
        "1 decisions have no person on record, and 1 were altered in Kept's database.",
    ) in verdicts


def test_the_ruling_of_another_proposal_decides_nothing(shop: Bazaar) -> None:
    with shop.opened() as company:
        theirs, mine = renaming(company, 2, "Other"), renaming(company)
        decide(company, theirs)
        shop.state(
            "UPDATE proposals SET state = 'accepted', role = 'trust', decided_by = 'Robin Reed', decided = proposed,"
            " ruling = (SELECT ruling FROM proposals WHERE id = ?) WHERE id = ?",
            theirs,
            mine,
        )
    assert carried(shop, theirs, mine)[0] is None
    assert shop.name(2) == "Other" and shop.name(1) == "Shop 1"


@pytest.mark.parametrize("after", ["no", "yes"])
def test_a_yes_that_was_made_a_no_is_neither(shop: Bazaar, after: str) -> None:
    before, state = ("yes", "refused") if after == "no" else ("no", "accepted")
    with shop.opened() as company:
        id = renaming(company)
        decide(company, id, before)  # type: ignore[arg-type]  # either
        shop.state("UPDATE proposals SET state = ?", state)
    assert carried(shop, id) != [None] and shop.name(1) == "Shop 1"


def test_what_is_over_and_put_back_is_neither_carried_out_nor_decided_again(shop: Bazaar) -> None:
    with postbox() as box:
        box.used_by(shop.folder)
        with shop.opened() as company:
            id = renaming(company)
            [was_open] = shop.state("SELECT sealed, state FROM proposals")
            decide(company, id)
            [accepted] = shop.state("SELECT sealed, ruling, state FROM proposals")
        assert carried(shop, id) == [None]
        shop.do("UPDATE shops SET name = 'Since then' WHERE id = 1")
        shop.kept("work")
        shop.state("UPDATE proposals SET sealed = ?, ruling = ?, state = ?, told = NULL", *accepted)
        assert carried(shop, id) == [None] and shop.name(1) == "Since then"
        shop.kept("work")
        assert len(box.to("m1@mail.example")) == 1
        shop.state("UPDATE proposals SET sealed = ?, ruling = NULL, state = ?, told = NULL", *was_open)
        with shop.opened() as company:
            for answer in ("yes", "no"):
                with pytest.raises(KeptError, match="altered"):
                    decide(company, id, answer)
            for act in ("decide", "decided", "decision told"):
                assert len(entries(company, act)) == 1


def test_what_was_proposed_under_one_id_is_not_changed_by_a_second_proposal(shop: Bazaar) -> None:
    with shop.opened() as company:
        id = "a" * 32
        for name in ("Lamps", "Something else"):
            queue.propose(
                company,
                "renaming",
                member(1),
                {"app.shops.name": name},
                by="shop page",
                evidence={"asked": "yes"},
                id=id,
            )
        change = queue.one(company, id).change
        assert change is not None and dict(change.cells) == {"app.shops.name": "Lamps"}


def test_an_altered_decision_is_told_of_once_and_keeps_no_worker_awake(shop: Bazaar) -> None:
    with shop.opened() as company:
        id = renaming(company)
        decide(company, id)
        shop.state("UPDATE proposals SET sealed = x'00'")
        assert carrying.is_due(company)
    [problem] = carried(shop, id)
    assert problem is not None and queue.ALTERED in problem
    with shop.opened() as company:
        assert not carrying.is_due(company)
    assert shop.name(1) == "Shop 1"
