"""One company, opened: its policy, stores, data map, Kept's state, ledger, keys and clock. Controls get it whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from kept.datamap.graph import DataMap, build_map
from kept.errors import KeptError, StoreError, TerminalError, TransientError
from kept.evidence.keys import Keys
from kept.evidence.ledger import Ledger
from kept.evidence.pseudonyms import Pseudonyms
from kept.policy.policy import Policy
from kept.state.database import State
from kept.stores.opening import open_store
from kept.stores.schema import Schema
from kept.stores.sql import SQLStore
from kept.stores.store import Store
from kept.stores.walk import Walk

Clock = Callable[[], datetime]


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


@dataclass
class Company:
    """What a control works with. `unreachable` says, by store, why it can't be asked anything."""

    directory: Path
    policy: Policy
    stores: Mapping[str, SQLStore]
    unreachable: dict[str, str]
    state: State
    ledger: Ledger
    keys: Keys
    pseudonyms: Pseudonyms
    clock: Clock = now

    @cached_property
    def schemas(self) -> Mapping[str, Schema]:
        """The shape of every store that answers; one that doesn't is added to `unreachable`."""
        found: dict[str, Schema] = {}
        store: Store
        for name, store in self.stores.items():
            try:
                found[name] = store.schema()
            except StoreError as wrong:
                self.unreachable[name] = wrong.message
        return found

    @cached_property
    def map(self) -> DataMap:
        return build_map(self.policy, self.schemas)

    def root_kinds(self) -> list[str]:
        """The kinds of people that stand in a table of their own, organisations left out."""
        people = self.policy.people.values()
        return [str(kind.name) for kind in people if kind.table is not None and not kind.is_organisation]

    def walk(self, kind: str) -> Walk:
        """The way from people of a kind to their rows; TerminalError where their store can't be walked."""
        walk = self.map.walk(kind)
        if walk is None:
            silent = self.silent()
            error = TransientError if silent else TerminalError
            raise error(
                f"people of kind `{kind}` can't be reached: {'; '.join(silent or self.out_of_reach(kind))}"
            )
        return walk

    def out_of_reach(self, kind: str) -> list[str]:
        """Every declared place with data of a kind that can't be reached now, each with the reason."""
        root = self.policy.root(kind)
        places = dict(self.map.elsewhere(kind))
        if root is not None and root.table is not None and self.map.walk(kind) is None:
            store, _, table = root.table.partition(".")
            places.setdefault(store, (table,))
        return [
            f"{kind}: {store}.{', '.join(tables)} ({self.unreachable.get(store, 'not reached from this kind')})"
            for store, tables in places.items()
        ]

    def agree(self) -> None:
        """Refuse to change anything where file and databases disagree about whose rows are whose."""
        wrong = [problem.message for problem in self.map.problems if problem.severity == "error"]
        if wrong:
            raise TerminalError(
                f"file and database disagree: {'; '.join(wrong)}",
                help="`kept check` says what to do about each",
            )

    def silent(self) -> list[str]:
        """The SQL stores that should have answered and didn't, each with the reason."""
        return [f"{name}: {why}" for name, why in self.unreachable.items() if self.policy.stores[name].is_sql]

    @property
    def answers(self) -> Path:
        """Where answers to requests are kept until they are handed over."""
        return self.directory / "answers"


def settings(directory: Path) -> dict[str, str]:
    """The settings a policy file names as $NAME: `.env` in the company's folder, and the environment, which wins."""
    found: dict[str, str] = {}
    file = directory / ".env"
    if file.exists():
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            name, equals, value = line.strip().partition("=")
            if name and not name.startswith("#"):
                if not equals:
                    raise KeptError("a setting is written NAME=value", where=f"{file.name}:{number}")
                found[name.strip()] = value.strip().strip("\"'")
    return found | dict(os.environ)


@contextmanager
def stores_of(policy: Policy, directory: Path) -> Iterator[tuple[dict[str, SQLStore], dict[str, str]]]:
    """The stores of a policy that this version of Kept can open, and why the others can't be."""
    values = settings(directory)
    opened: dict[str, SQLStore] = {}
    unreachable: dict[str, str] = {}
    with ExitStack() as stack:
        for name, declared in policy.stores.items():
            address = str(declared.address or "")
            if not declared.is_sql:
                unreachable[name] = f"stores of kind `{declared.sort}` can't be reached yet"
            elif address.startswith("$") and not values.get(address[1:]):
                unreachable[name] = f"the setting {address[1:]} is missing"
            else:
                url = values[address[1:]] if address.startswith("$") else address
                try:
                    opened[name] = open_store(name, url, directory)
                    stack.callback(opened[name].dispose)
                except StoreError as wrong:
                    unreachable[name] = wrong.message
        yield opened, unreachable


@contextmanager
def opened(policy: Policy, directory: Path, clock: Clock = now) -> Iterator[Company]:
    """Open a company from its folder: the stores it declares, Kept's state, ledger and keys (made on first use)."""
    with ExitStack() as stack:
        stores, unreachable = stack.enter_context(stores_of(policy, directory))
        keys = Keys.open(directory / "keys")
        state = State(directory / "kept.sqlite")
        stack.callback(state.close)
        ledger = Ledger.open(directory / "ledger.sqlite", keys, clock)
        stack.callback(ledger.close)
        yield Company(
            directory, policy, stores, unreachable, state, ledger, keys, Pseudonyms(state.engine, keys), clock
        )
