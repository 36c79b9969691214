"""HubSpot worlds of any shape, with faults anywhere: after an erasure repeated until it succeeds, a model agrees."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kept.errors import TransientError
from tests.contract.records.worlds import HubSpotWorld

TIES = st.sets(
    st.tuples(st.integers(0, 3), st.sampled_from(["deals", "notes"]), st.integers(0, 5)), max_size=20
)
FAULTS = st.lists(st.tuples(st.sampled_from(["fail", "lose", "cut"]), st.integers(0, 12)), max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ties=TIES, faults=FAULTS, page=st.integers(1, 4), tables=st.sets(st.sampled_from(["deals", "notes"])))
def test_exactly_what_is_the_persons_alone_goes_whatever_breaks(
    ties: set[tuple[int, str, int]], faults: list[tuple[str, int]], page: int, tables: set[str]
) -> None:
    world = HubSpotWorld(page=page)
    world.store.waiting = world.hours.waiting(tries=1)
    world.store._client.waiting = world.store.waiting  # one try a call, so that each fault ends it
    with world.server:
        people = [world.server.add("contacts", str(n + 1), email=f"p{n}@example.org") for n in range(4)]
        for table in ("deals", "notes"):
            for n in range(6):
                world.server.add(table, str(n + 1), **({"dealname": "x"} if table == "deals" else {}))
        for who, table, n in ties:
            world.server.tie("contacts", people[who], table, str(n + 1))
        for kind, skip in faults:
            if kind == "fail":
                world.server.fail(503, skip=skip)
            else:
                world.server.cut(skip=skip, done=kind == "lose")
        deleted: dict[str, int] = {}
        for _ in range(len(faults) + 1):
            try:
                deleted = dict(world.store.erase(people[0], sorted(tables)).deleted)
                break
            except TransientError:
                continue
        world.server.faults.clear()
        assert world.store.erase(people[0], sorted(tables)).deleted == {}
        assert world.store.existing(people) == set(people[1:])
        hers = {(table, n) for who, table, n in ties if who == 0}
        others = {(table, n) for who, table, n in ties if who != 0}
        for table in ("deals", "notes"):
            for n in range(6):
                record = world.server.record(table, str(n + 1))
                assert record is not None
                gone = table in tables and (table, n) in hers - others
                assert record.archived is gone, (table, n)
                still = {("contacts", people[who]) for who, t, m in ties if (t, m) == (table, n) and who != 0}
                assert {tie for tie in record.tied if tie[1] != people[0]} == still
        assert set(deleted) <= {"contacts", *tables}
        world.store.dispose()
