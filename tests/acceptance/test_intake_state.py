"""What comes in is looked at once, with Kept's state in a file or on a server, by one worker or by eight at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import select

from kept.company import opened
from kept.controls.acts import kinds
from kept.controls.registry import load
from kept.controls.rights import intake, register
from kept.controls.rights.desk import Desk
from kept.state.tables import acts
from tests.acceptance.company import SiteLucent
from tests.acceptance.serving import Inside, inside, link

WORKERS = 8


@pytest.fixture(params=["file", "server"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Inside]:
    made = SiteLucent.made(tmp_path / "company")
    url = request.getfixturevalue("fresh_postgresql") if request.param == "server" else ""
    with inside(made.folder, KEPT_STATE_URL=url) as shop:
        yield shop


def addresses(shop: Inside) -> list[str]:
    rows = SiteLucent(shop.folder).ask("SELECT email FROM users ORDER BY id LIMIT 5")
    return [str(email) for (email,) in rows]


def test_from_the_form_to_the_answer(shop: Inside) -> None:
    email = addresses(shop)[1]
    assert shop.ask("access", email).status_code == 303
    shop.work()
    with shop.client() as client:
        page = client.post(link(shop.box.to(email, "was you"), "verify")).headers["location"]
        shop.work()
        assert client.get(f"{page}/answer").content[:2] == b"PK"


def test_many_workers_that_look_at_once_make_one_request_for_each_person_and_right(shop: Inside) -> None:
    known = addresses(shop)
    with shop.company.state.write() as connection:
        for address in known * 6 + ["nobody@mail.example"]:
            intake.put(shop.company, connection, intake.Arrival("form", address, "access"))

    def look(_: int) -> None:
        with opened(load(shop.folder / "policy.yaml"), shop.folder, shop.clock) as company:
            desk = Desk(company, kinds(company))
            for _ in range(100):
                intake.look(desk)
                if not intake.waiting(company).number:
                    return

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(look, range(WORKERS)))
    shop.clock.on(hours=2)  # for what stood in each other's way
    look(0)
    assert intake.waiting(shop.company).number == 0
    found = register.listing(shop.company, state=None)
    assert len(found) == len(known) == len({request.pseudonym for request in found})


def test_the_same_asked_twice_at_the_same_instant_is_one_request(shop: Inside) -> None:
    arrival = intake.Arrival("form", addresses(shop)[1], "access")
    with shop.company.state.write() as connection:
        for _ in range(2):
            intake.put(shop.company, connection, arrival)
    with shop.company.state.read() as connection:
        ids = list(connection.scalars(select(acts.c.id).where(acts.c.kind == intake.FORM)))
    both = Barrier(2)

    def look(id: str) -> str:
        with opened(load(shop.folder / "policy.yaml"), shop.folder, shop.clock) as company:
            desk = Desk(company, kinds(company))
            taking = desk.receive

            def receive(*given: object, **named: object) -> register.Request:
                both.wait(30)  # neither has seen a request of the other
                return taking(*given, **named)  # type: ignore[arg-type]

            desk.receive = receive  # type: ignore[method-assign]
            try:
                return intake._look(desk, id, arrival)
            except intake.Taken:
                return "taken"

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(look, ids)) == ["received", "taken"]
    assert intake.look(Desk(shop.company, kinds(shop.company))) == {"joined": 1}
    assert len(register.listing(shop.company)) == 1


def test_a_round_that_is_cut_off_anywhere_is_made_up_for_by_the_next(shop: Inside) -> None:
    """Every transaction of Kept's state is the last one, in turn; then somebody else looks."""
    company, made = shop.company, 0
    writing = company.state.write
    for last in range(12):
        with writing() as connection:
            for address in (addresses(shop)[last % 5], "nobody@mail.example"):
                arrival = intake.Arrival("email", address, ("access", "export", "restrict")[last % 3])
                intake.put(company, connection, arrival)
        left = last

        def cut_off():  # type: ignore[no-untyped-def]  # as State.write
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return writing()

        company.state.write = cut_off  # type: ignore[method-assign]
        try:
            intake.look(Desk(company, kinds(company)))
        except KeyboardInterrupt:
            made += 1
        finally:
            company.state.write = writing  # type: ignore[method-assign]
        intake.look(Desk(company, kinds(company)))
        assert intake.waiting(company).number == 0
    assert made == 2  # the transactions of one round
    found = [(request.pseudonym, request.verb) for request in register.listing(company)]
    assert len(found) == len(set(found)) == 12
