"""Whom it is about is erased: before it is decided, before it is carried out, while they are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kept.company import Company
from kept.controls.purposes.decisions import carrying, queue
from kept.controls.rights.people import Person
from kept.errors import KeptError
from tests.acceptance.decided import Bazaar, bazaar, carried, decide, entries, finished, member, renaming
from tests.acceptance.postbox import postbox


@pytest.fixture
def shop(tmp_path: Path) -> Bazaar:
    return bazaar(tmp_path / "bazaar")


def erase(made: Bazaar) -> None:
    ran = made.kept("request", "erase", "member:1", "--by", "Ada")
    assert ran.code == 0, ran.out + ran.err


@pytest.mark.parametrize("decided", [False, True])
def test_nothing_comes_of_a_proposal_about_somebody_who_was_erased(shop: Bazaar, decided: bool) -> None:
    with shop.opened() as company:
        id, other = renaming(company), renaming(company, 2, "Other")
        if decided:
            decide(company, id)
    _erase_before_work(shop)
    with shop.opened() as company:
        assert queue.one(company, id).state == queue.MOOT
        for answer in ("yes", "no"):
            with pytest.raises(KeptError, match="isn't open any more: moot"):
                decide(company, id, answer, by="Kim Alder")
        assert queue.one(company, other).state == queue.OPEN
    assert shop.state("SELECT sealed, ruling FROM proposals WHERE id = ?", id) == [(None, None)]
    assert carried(shop, id) == [None]
    assert shop.ask("SELECT COUNT(*) FROM shops WHERE name = 'Lamps'") == [(0,)]
    with shop.opened() as company:
        assert not entries(company, "decided")
        told = json.dumps([one.as_json() for one in queue.listing(company, states=queue.ALL)])
    assert "Lamps" not in told and "member:1" not in told


def _erase_before_work(shop: Bazaar) -> None:
    """Erase somebody as the worker that closes the erasure does, with whatever waits left as it is."""
    with shop.opened() as company:
        whose = company.pseudonyms.of(["member:1"])["member:1"]
        queue.forget(company, [whose])
    shop.do("DELETE FROM shops WHERE member_id = 1")


def test_nothing_stays_of_what_is_proposed_while_they_are_erased(
    shop: Bazaar, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealing = queue._sealed

    def erased_meanwhile(company: Company, made: queue.Proposal) -> bytes:
        erase(shop)
        return sealing(company, made)

    with shop.opened() as company:
        with monkeypatch.context() as patched:
            patched.setattr(queue, "_sealed", erased_meanwhile)
            with pytest.raises(KeptError, match="erased at this moment"):
                renaming(company)
        assert queue.listing(company) == []
    assert shop.state("SELECT count(*) FROM proposals WHERE sealed IS NOT NULL") == [(0,)]


def test_what_was_proposed_in_the_last_moment_of_an_erasure_goes_with_the_next_work(shop: Bazaar) -> None:
    with shop.opened() as company:
        id = renaming(company)
        company.pseudonyms.forget({"member:1": []})  # which comes after the look at the queue
        assert [one.id for one in queue.listing(company)] == [id]
    finished(shop)
    assert shop.state("SELECT state, sealed FROM proposals") == [(queue.MOOT, None)]


def test_an_erasure_lets_go_of_what_was_proposed(shop: Bazaar) -> None:
    with shop.opened() as company:
        id = renaming(company)
    erase(shop)
    with shop.opened() as company:
        assert queue.one(company, id).state == queue.MOOT
    assert shop.files_with("Lamps") == [] and shop.files_with("shop page") == []


def test_somebody_who_gets_the_same_key_again_gets_nothing_of_it(shop: Bazaar) -> None:
    with shop.opened() as company:
        id = renaming(company)
    erase(shop)
    shop.do("INSERT INTO members VALUES (1, 'new@mail.example', '2026-06-01 00:00:00', NULL)")
    shop.do("INSERT INTO shops VALUES (9, 1, 'New', 1)")
    with shop.opened() as company:
        with pytest.raises(KeptError, match="moot"):
            decide(company, id)
        again = renaming(company)
        assert queue.one(company, again).pseudonym != queue.one(company, id).pseudonym


def test_no_letter_goes_to_somebody_who_is_erased_while_it_is_written(
    shop: Bazaar, monkeypatch: pytest.MonkeyPatch
) -> None:
    address_of = carrying.address_of
    with postbox() as box:
        box.used_by(shop.folder)
        with shop.opened() as company:
            id = renaming(company)
            decide(company, id)

        def meanwhile(company: Company, person: Person) -> str | None:
            found = address_of(company, person)
            assert person == member(1)
            queue.forget(company, list(company.pseudonyms.of(["member:1"]).values()))
            return found

        monkeypatch.setattr(carrying, "address_of", meanwhile)
        assert carried(shop, id) == [None]
        shop.kept("work")
        assert box.letters == []
        assert shop.state("SELECT COUNT(*) FROM letters WHERE sealed IS NOT NULL") == [(0,)]
        with shop.opened() as company:
            assert queue.one(company, id).state == queue.MOOT
