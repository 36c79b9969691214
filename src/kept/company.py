"""One company, opened: its policy, stores, data map, Kept's state, ledger, keys and clock. Controls get it whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from kept.datamap.graph import DataMap, build_map
from kept.errors import KeptError, StoreError, TerminalError, TransientError
from kept.evidence.keys import Keys
from kept.evidence.ledger import Ledger
from kept.evidence.links import Links
from kept.evidence.pseudonyms import Pseudonyms
from kept.mail.outbox import Outbox
from kept.mail.smtp import Smtp
from kept.policy.facts import DeclaredStore
from kept.policy.policy import Policy
from kept.state.database import State
from kept.stores.opening import open_store
from kept.stores.records.files import FileStore
from kept.stores.records.opening import open_files, open_records
from kept.stores.records.store import RecordStore
from kept.stores.schema import Schema
from kept.stores.sql import SQLStore
from kept.stores.store import Store
from kept.stores.walk import Walk

Clock = Callable[[], datetime]

BEHIND_AN_API = ("hubspot", "stripe", "http")


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
    records: Mapping[str, RecordStore] = field(default_factory=dict)
    files: Mapping[str, FileStore] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    memory: dict[type, Any] = field(default_factory=dict, repr=False)  # what controls keep while it is open

    @cached_property
    def outbox(self) -> Outbox:
        """The letters that wait to be sent."""
        return Outbox(self.state, self.keys, self.clock)

    @cached_property
    def links(self) -> Links:
        """The links that are sent to people."""
        return Links(self.keys, self.clock)

    @property
    def workflows(self) -> Path | str:
        """Where the record of unfinished work stands: beside Kept's state."""
        return self.settings.get("KEPT_STATE_URL") or self.directory / "workflows.sqlite"

    @property
    def public_url(self) -> str:
        """Where people reach the pages that Kept serves (`KEPT_PUBLIC_URL`); empty where it serves none."""
        return self.settings.get("KEPT_PUBLIC_URL", "").rstrip("/")

    @cached_property
    def sites(self) -> Mapping[str, str]:
        """The addresses of the stores that are sites, by store; one whose setting is missing isn't among them."""
        values, found = settings(self.directory), dict[str, str]()
        for name, store in self.policy.stores.items():
            if store.sort == "browser" and store.address is not None:
                address = str(store.address)
                found[str(name)] = values.get(address[1:], "") if address.startswith("$") else address
        return {name: address for name, address in found.items() if address}

    @property
    def can_write(self) -> bool:
        """Whether letters can be sent: there is a mail server (`KEPT_SMTP_URL`)."""
        return bool(self.settings.get("KEPT_SMTP_URL"))

    def post(self) -> Smtp:
        """The company's mail server; letters come from `KEPT_SENDER`, else from the first controller's address."""
        contacts = (contact for party in self.policy.us() for contact in party.contacts.values())
        sender = self.settings.get("KEPT_SENDER") or next((c["email"] for c in contacts if "email" in c), "")
        return Smtp(self.settings["KEPT_SMTP_URL"], sender)

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

    def ask_again(self) -> None:
        """Make the map anew where a database didn't answer when it was made."""
        silent = [name for name in self.stores if name in self.unreachable]
        for name in silent:
            del self.unreachable[name]
        if silent:
            self.__dict__.pop("schemas", None)
            self.__dict__.pop("map", None)

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


@dataclass
class Stores:
    """The stores of a policy that Kept can open, by how they are reached, and why the others can't be."""

    sql: dict[str, SQLStore] = field(default_factory=dict)
    records: dict[str, RecordStore] = field(default_factory=dict)
    files: dict[str, FileStore] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)


@contextmanager
def stores_of(
    policy: Policy, directory: Path, sign: Callable[[bytes], bytes] | None = None
) -> Iterator[Stores]:
    """Open the stores of a policy; `sign` is the company's signature, without which no API is asked anything."""
    found, values = Stores(), settings(directory)
    with ExitStack() as stack:
        for name, declared in policy.stores.items():
            try:
                if declared.is_sql:
                    found.sql[name] = store = _sql(declared, directory, values)
                    stack.callback(store.dispose)
                elif declared.sort in BEHIND_AN_API and sign is not None:
                    found.records[name] = behind = open_records(declared, values, sign=sign)
                    stack.callback(behind.dispose)
                elif declared.sort == "files":
                    found.files[name] = open_files(declared, values, directory)
                else:
                    found.unreachable[name] = f"stores of kind `{declared.sort}` can't be asked"
            except StoreError as wrong:
                found.unreachable[name] = wrong.message
        yield found


def _sql(declared: DeclaredStore, directory: Path, values: Mapping[str, str]) -> SQLStore:
    address = str(declared.address or "")
    if address.startswith("$"):
        if not values.get(address[1:]):
            raise TerminalError(f"the setting {address[1:]} is missing", where=str(declared.name))
        address = values[address[1:]]
    return open_store(str(declared.name), address, directory)


@contextmanager
def opened(policy: Policy, directory: Path, clock: Clock = now) -> Iterator[Company]:
    """Open a company from its folder: the stores it declares, Kept's state, ledger and keys (made on first use)."""
    with ExitStack() as stack:
        values = settings(directory)
        keys = Keys.open(directory / "keys")
        stores = stack.enter_context(stores_of(policy, directory, keys.sign))
        server = values.get("KEPT_STATE_URL")
        state = State(server or directory / "kept.sqlite")
        stack.callback(state.close)
        ledger = Ledger.open(server or directory / "ledger.sqlite", keys, clock)
        stack.callback(ledger.close)
        yield Company(
            directory,
            policy,
            stores.sql,
            stores.unreachable,
            state,
            ledger,
            keys,
            Pseudonyms(state.engine, keys, clock),
            clock,
            stores.records,
            stores.files,
            {name: value for name, value in values.items() if name.startswith("KEPT_")},
        )
