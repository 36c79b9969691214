"""How many statements a request sends to Kept's own database, and a batch to the company's: counted, not timed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from examples.sitelucent.generate import build
from kept.company import Company, opened
from kept.controls.acts import kinds
from kept.controls.registry import load
from kept.controls.rights.desk import Desk
from kept.controls.rights.people import Person
from kept.controls.rights.register import Subject
from kept.state import workflows

MOST = 22  # on Kept's own database for one request; DBOS's tables and the ledger are others


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("counted") / "company"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("APP_DATABASE_URL", raising=False)
        build(folder, 1_100, 3, events_per_person=5)
        with (
            opened(load(folder / "policy.yaml"), folder) as company,
            workflows.opened(company.workflows, kinds(company)) as running,
        ):
            yield Desk.at_work(company, running)


@contextmanager
def counted(company: Company) -> Iterator[Counter[str]]:
    """Statements by database while the block lasts; beginning and ending transactions is none."""
    found: Counter[str] = Counter()
    pools = {company.state.engine.pool: "own", company.stores["app"].engine.pool: "company"}

    def count(connection: sa.Connection, _: object, statement: str, *__: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA")):
            found[pools.get(connection.engine.pool, "others")] += 1

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    yield found
    sa.event.remove(sa.Engine, "before_cursor_execute", count)


def sent(desk: Desk, verb: str, people: range) -> Counter[str]:
    subjects = [Subject(Person("user", (str(number),))) for number in people]
    with counted(desk.company) as found:
        result = desk.carry_out(verb, subjects, "tester", confirmed=True)
    assert result.done, result.problem
    return found


@pytest.mark.parametrize("verb", ["access", "erase"])
def test_one_request_takes_few_statements_on_kepts_own_database(desk: Desk, verb: str) -> None:
    first = 1 if verb == "access" else 3
    sent(desk, verb, range(first, first + 1))  # what is read once for a process
    found = sent(desk, verb, range(first + 1, first + 2))
    assert 0 < found["own"] <= MOST, found


def test_a_thousand_accesses_ask_the_company_no_more_than_one_does(desk: Desk) -> None:
    one = sent(desk, "access", range(10, 11))["company"]
    assert one > 0
    assert sent(desk, "access", range(60, 1_060))["company"] <= max(2 * one, 15)
