"""Random schemas, rows and declarations: access and erasure against a model that shares no code with Kept.

Every row and every column must agree, on SQLite, PostgreSQL and MariaDB; where the plan refuses, nothing has changed.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings

from kept.datamap.graph import build_map
from kept.errors import TerminalError
from kept.stores.collect import collect
from kept.stores.erasing.erase import Counts, erase
from kept.stores.opening import open_store
from kept.stores.sql import SQLStore
from kept.stores.walk import Hold
from tests.acceptance.model import Model, Row, World
from tests.acceptance.worlds import build, contents, facts, plain, sorted_rows, worlds
from tests.declared import declared

EXAMPLES = int(os.environ.get("KEPT_EXAMPLES", "150"))


def agrees(store: SQLStore, world: World) -> None:
    for _ in world.keys:  # what the map says is ambiguous or out of reach is left out, one table a round
        policy = declared(facts(world))
        build(store, world)
        map_ = build_map(policy, {"app": store.schema()})
        wrong = [p for p in map_.problems if p.code in ("ambiguous-owner", "unreachable-data")]
        if not wrong:
            break
        event(wrong[0].code)
        for t in list(world.keys):
            if any(f"app.{t} " in p.message + " " for p in wrong):
                for hows in world.hows.values():
                    hows.pop(t, None)
                world.links.pop(t, None)
                world.held.pop(t, None)
                world.impersonal.add(t)
    unknown = [p for p in map_.problems if p.code not in ("cannot-unlink", "undeclared-table")]
    assert not [p for p in unknown if p.severity == "error"], unknown
    walk = map_.walk("people")
    assert walk is not None
    model, key = Model(world), world.keys["people"]
    everybody = [tuple(row[c] for c in key) for row in world.rows["people"]]

    found: dict[Any, list[tuple[str, Row]]] = {person: [] for person in everybody}
    for portion in collect(store, walk, everybody):
        for person, row in portion.rows:
            found[person].append((portion.table, plain(dict(row))))
    for number, person in enumerate(everybody):
        assert sorted_rows(found[person]) == sorted_rows(model.access(number)), "access"

    day = datetime(2025, 1, 1, tzinfo=UTC)
    holds = [Hold(t, columns, "at", day) for t, columns in world.held.items()]
    erasure = map_.erasure("people", holds)
    assert erasure is not None
    expected, before = model.erase(), contents(store, world)
    noted: list[Counts] = []
    keys = [everybody[i] for i in world.erased]
    if expected is None:
        event("refused")
        with pytest.raises(TerminalError):
            erase(store, erasure, keys, noted.append)
        assert contents(store, world) == before and not noted
        return
    event("held" if holds else "erased")
    counts = erase(store, erasure, keys, noted.append)
    after = contents(store, world)
    for t in world.rows:
        assert sorted_rows(after[t]) == sorted_rows(expected[t]), t
    assert noted == [counts]
    assert not erase(store, erasure, keys, noted.append).changed, "a second run finds nothing to do"
    assert contents(store, world) == after


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQLStore]:
    path: Path = tmp_path_factory.mktemp("graphs") / "app.sqlite"
    path.touch()
    store = open_store("app", f"sqlite:///{path}")
    yield store
    store.dispose()


@pytest.fixture(scope="module")
def postgresql(postgresql_url: str) -> Iterator[SQLStore]:
    store = open_store("app", postgresql_url)
    yield store
    store.dispose()


@pytest.fixture(scope="module")
def mariadb(mariadb_url: str) -> Iterator[SQLStore]:
    name, server = f"graphs_{uuid.uuid4().hex[:12]}", open_store("server", mariadb_url)
    with server.alone() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    server.dispose()
    store = open_store("app", mariadb_url.replace("/mysql?", f"/{name}?"))
    yield store
    store.dispose()


SETTINGS = settings(
    phases=[Phase.explicit, Phase.reuse, Phase.generate] if "KEPT_NO_SHRINK" in os.environ else list(Phase),
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@settings(SETTINGS, max_examples=EXAMPLES)
@given(world=worlds())
def test_access_and_erasure_agree_with_the_model_on_sqlite(sqlite: SQLStore, world: World) -> None:
    agrees(sqlite, world)


@settings(SETTINGS, max_examples=max(10, EXAMPLES // 6))
@given(world=worlds())
def test_access_and_erasure_agree_with_the_model_on_postgresql(postgresql: SQLStore, world: World) -> None:
    agrees(postgresql, world)


@settings(SETTINGS, max_examples=max(10, EXAMPLES // 6))
@given(world=worlds())
def test_batches_in_temporary_tables_agree_with_the_model_on_postgresql(
    postgresql: SQLStore, world: World
) -> None:
    """So many people are in no random world: the bounds are put so low that one is many."""
    with pytest.MonkeyPatch.context() as bounds:
        bounds.setattr("kept.stores.erasing.erase.FEW", 0)
        bounds.setattr("kept.stores.collect.MANY", 0)
        agrees(postgresql, world)


@pytest.mark.needs("mariadb")
@settings(SETTINGS, max_examples=max(10, EXAMPLES // 6))
@given(world=worlds())
def test_access_and_erasure_agree_with_the_model_on_mariadb(mariadb: SQLStore, world: World) -> None:
    agrees(mariadb, world)
