"""Random policies and worlds: in real databases through the real books, and as plain values beside."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final
from unittest.mock import patch

from dateutil.relativedelta import relativedelta  # type: ignore[import-untyped]  # it has no types

from kept.company import Company, opened
from kept.controls.choices.records.book import New, record
from kept.controls.registry import SECTIONS
from kept.controls.rights.people import Person
from kept.policy.policy import Policy
from kept.policy.read import read
from kept.policy.source import Source
from kept.state.tables import holds, instructions

NOW: Final = datetime(2026, 6, 15, 12, tzinfo=UTC)
REGIONS: Final = ("fr", "de", "us", "gb", "br", None, "nowhere")
DATA: Final = ("account", "works", "usage", "diary", "deals")
STAFF: Final = ("engineer", "chief", "support")
TABLES: Final = """\
CREATE TABLE members (id INTEGER PRIMARY KEY, country TEXT, born_on TEXT, sells INTEGER, joined_at TEXT,
                      closed_at TEXT, title TEXT, page TEXT, diary TEXT, deal TEXT);
CREATE TABLE errors (id INTEGER PRIMARY KEY, member_id INTEGER, staff_id INTEGER, opened_at TEXT, closed_at TEXT);
CREATE TABLE tickets (id INTEGER PRIMARY KEY, member_id INTEGER, staff_id INTEGER, opened_at TEXT, closed_at TEXT);
CREATE TABLE sales (id INTEGER PRIMARY KEY, buyer_id INTEGER, seller_id INTEGER, opened_at TEXT, closed_at TEXT);
CREATE TABLE guards (id INTEGER PRIMARY KEY, owner_id INTEGER, member_id INTEGER, opened_at TEXT, closed_at TEXT);
"""
LINKS: Final = {
    "error": ("errors", {"user": "member at member_id", "staff": "engineer at staff_id"}),
    "ticket": ("tickets", {"user": "member at member_id", "staff": "support at staff_id"}),
    "sale": ("sales", {"buyer": "member at buyer_id", "seller": "seller at seller_id"}),
    "guardianship": ("guards", {"guardian": "member at owner_id", "ward": "minor at member_id"}),
}


@dataclass(frozen=True)
class World:
    """A company, its policy as plain YAML, and what is so in it, as `gate_reference` takes it."""

    company: Company
    policy: dict[str, Any]
    facts: dict[str, Any]


def plain_policy(random: Random, purposes: int) -> dict[str, Any]:
    """A policy with everything a use may wait for, as YAML would give it."""
    chosen = {f"c{n}": _choice(random) for n in range(6)}
    chosen |= {f"no{n}": {"of": random.choice(["member", "seller"]), "ask": _ask(random)} for n in range(2)}
    if random.random() < 0.5:
        chosen["guardian"] = {
            "of": "minor",
            "by": "guardianship.guardian",
            "ask": {"eea": "opt-in", "elsewhere": "opt-in"},
            "covers": "everything",
        }
    uses = {f"p{n}": _purpose(random, chosen) for n in range(purposes)}
    limits = {f"r{n}": _limit(random, uses) for n in range(4)}
    tied = {"began": "opened_at", "ended": "closed_at"}
    return {
        "kept": "1",
        "policy": "Lumi",
        "version": "2026-03-01",
        "laws": ["gdpr"],
        "parties": {"lumi": {"role": "us", "name": "Lumi", "authority": "eea"}},
        "stores": {"app": {"at": "sqlite:///app.sqlite", "region": "eea"}},
        "people": {
            "member": {
                "in": "app.members",
                "key": "id",
                "born": "born_on",
                "region": "country",
                "began": "joined_at",
                "ended": "closed_at",
            },
            "seller": {"is": "member", "when": "sells = 1"},
            "minor": {"is": "member", "when": "age < 18"},
            "engineer": {"is": "staff"},
            "chief": {"is": "engineer"},
            "support": {"is": "staff"},
        },
        "links": {
            name: {"in": f"app.{table}", "between": ends} | tied for name, (table, ends) in LINKS.items()
        },
        "data": {
            "account": {"of": "member", "in": {"app.members": {"country": "place", "joined_at": "recorded"}}},
            "works": {"of": "seller", "in": {"app.members": {"title": "free-text"}}},
            "usage": {"of": "member", "in": {"app.members": {"page": "behaviour"}}},
            "diary": {"of": "minor", "in": {"app.members": {"diary": "free-text"}}},
            "deals": {"of": "member", "in": {"app.members": {"deal": "transaction"}}},
        },
        "choices": chosen,
        "purposes": uses,
        "retention": limits,
    }


def read_policy(plain: dict[str, Any]) -> Policy:
    """The same as Kept reads it; what `check` would say of it is of no concern here."""
    found, problems = read(Source("policy.yaml", json.dumps(plain, indent=1)), SECTIONS)
    assert found is not None, [problem.message for problem in problems.errors]
    return found


@contextmanager
def world(folder: Path, random: Random, purposes: int = 14, people: int = 30) -> Iterator[World]:
    """A company under a random policy, with random people who said random things."""
    plain = plain_policy(random, purposes)
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "app.sqlite")) as raw, raw:
        raw.executescript(TABLES)
        persons = {f"member:{n}": _person(random, raw, n, plain) for n in range(1, people + 1)}
        rows = list(_rows(random, raw, people))
    facts = {"people": persons, "rows": rows, "kinds": _kinds(plain)}
    with (
        patch.dict("os.environ", {"KEPT_STATE_URL": ""}),
        opened(read_policy(plain), folder, lambda: NOW) as company,
    ):
        for name, me in persons.items():
            _say(random, company, plain, name, me)
        _close_guardianships(random, folder, facts)
        _instruct(random, company, plain, persons)
        yield World(company, plain, facts)


def request(random: Random, found: World) -> dict[str, Any]:
    """One request, sensible or not."""
    name = random.choice([*found.policy["purposes"]] * 6 + ["p99"])
    use = found.policy["purposes"].get(name, {"uses": ["account"]})
    uses = use["uses"]
    data = random.choice([None, None, uses[0], tuple(uses), tuple(random.sample(uses, len(uses) // 2 + 1))])
    if random.random() < 0.08:
        data = random.choice(["", (), random.choice(DATA), (*uses, random.choice(DATA)), "nothing"])
    who = random.choice([*found.facts["people"], "member:999"]) if random.random() < 0.97 else None
    group, by, case = None, None, None
    if "groups" in use:
        group = random.randint(use["groups"] - 2, use["groups"] + 30)
        who = None if random.random() < 0.8 else who
        group = group if who is None or random.random() < 0.5 else None
    elif random.random() < 0.02:
        group = 50
    roles = use.get("by", []) or [*STAFF, "staff"]
    if "by" in use or "case" in use or random.random() < 0.2:
        by = random.choice(roles) + random.choice([":1", ":2", ":3", ":4", ""])
    if random.random() < 0.1:
        by = random.choice(
            ["ghost:1", "engineer:", "seller:3", "sale.seller:2", "member:1", "sale.x:1", ":", None]
        )
    mine = [row for row in found.facts["rows"] if who in row["ends"].values()]
    if by is not None and mine and random.random() < 0.8:
        row = random.choice(mine)
        role, _, _ = by.partition(":")
        case = row["case"]
        ends = [at.partition(":")[2] for end, at in row["ends"].items() if role == f"{row['link']}.{end}"]
        by = f"{role}:{ends[0] if ends else row['key'] or random.randint(1, 4)}"
    if by is not None and by.split(":")[0] in ("member", "seller") and who and random.random() < 0.7:
        by = f"{by.split(':')[0]}:{who.split(':')[1]}"
    if random.random() < 0.1:
        case = random.choice([None, "error:1", "ticket:2", "sale:1", "error:99", "error", "error:x"])
    return {
        "purpose": name,
        "data": data,
        "person": who,
        "by": by,
        "case": case,
        "group": group,
        "channel": "push" if random.random() < 0.03 else random.choice([None, *use.get("sends", []) * 2]),
        "signals": random.choice([frozenset(), frozenset(), frozenset({"gpc"}), frozenset({"device"})]),
        "evidence": {
            need: random.choice(["because", "because", "because", " "]) for need in use.get("needs", [])
        },
    }


def person(name: str | None) -> Person | None:
    """Who a name of the plain world stands for."""
    return None if name is None else Person("member", (name.partition(":")[2],))


# The policy.


def _ask(random: Random) -> dict[str, str]:
    return random.choice(
        [
            {"eea": "opt-in", "elsewhere": "opt-out"},
            {"eea": "opt-in", "elsewhere": "opt-in"},
            {"eea": "opt-out", "elsewhere": "opt-out"},
            {"eea": "opt-out", "elsewhere": "opt-in"},
        ]
    )


def _choice(random: Random) -> dict[str, Any]:
    found: dict[str, Any] = {"of": random.choice(["member", "member", "seller"]), "ask": _ask(random)}
    if random.random() < 0.4:
        found["signals"] = random.choice([["gpc"], ["device"], ["gpc", "device"]])
    if random.random() < 0.4:
        found["each"] = random.choice(["channel", "purpose"])
    return found


def _purpose(random: Random, choices: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "uses": random.sample(["account", "usage", "deals"], random.randint(1, 3)),
        "ground": random.choice(["contract", "contract", "legal-duty", "legal-claims"]),
        "law": "a law",
    }
    if random.random() < 0.1:
        found["uses"] = ["diary"]
    elif random.random() < 0.25:
        found["uses"].append("works")
    if random.random() < 0.5:
        found["choice"] = random.sample(
            sorted(choices.keys() - {"no0", "no1", "guardian"}), random.randint(1, 2)
        )
    if random.random() < 0.3:
        found["unless"] = random.sample(["no0", "no1", "sale", "guardianship"], random.randint(1, 2))
    if random.random() < 0.2:
        found["regions"] = random.choice([["eea"], ["us", "fr"], ["gb"], ["eea", "br", "us"]])
    if random.random() < 0.3:
        found["sends"] = random.choice([["email"], ["phone", "email"]])
    if random.random() < 0.04:
        found["upon"] = "member.ended"
    if random.random() < 0.12:
        found["groups"] = random.randint(3, 20)
        found |= {"by": ["support"]} if random.random() < 0.3 else {}
        found |= {"needs": ["reason"]} if random.random() < 0.3 else {}
        return found
    if random.random() < 0.25:
        found["case"] = random.choice([["error"], ["ticket"], ["error", "ticket"]])
    if random.random() < 0.3:
        ends = ["sale.buyer", "sale.seller", "guardianship.guardian"]
        found["by"] = random.sample([*STAFF, "member", "seller", *ends], random.randint(1, 4))
    if random.random() < 0.3:
        found["during"] = "sale"
    if random.random() < 0.35:
        found["needs"] = random.sample(["reason", "document", "written-consent"], random.randint(1, 2))
    return found


def _limit(random: Random, uses: dict[str, Any]) -> dict[str, Any]:
    data = random.choice(DATA)
    until = random.choice(["member.ended", "member.began", "recorded", "seller.ended"])
    found = {"keeps": data, "until": f"{random.randint(18, 60)} months after {until}", "then": "delete"}
    users = [name for name, use in uses.items() if data in use["uses"]]
    if users and random.random() < 0.5:
        found["hold"] = random.choice(users)
    return found


def _kinds(plain: dict[str, Any]) -> dict[str, set[str]]:
    found = {"staff": {"staff"}}
    for name in plain["people"]:
        chain, kind = set[str](), name
        while kind is not None:
            chain.add(kind)
            kind = plain["people"].get(kind, {}).get("is")
        found[name] = chain
    return found


# The world.


def _person(random: Random, raw: sqlite3.Connection, n: int, plain: dict[str, Any]) -> dict[str, Any]:
    grown = n == 1
    region = random.choice(REGIONS)
    born = "1980-02-03" if grown else random.choice(["1980-02-03", "1999-01-02", "2015-04-05", None])
    sells = int(random.random() < 0.6)
    began, over = (_moment(random, days) for days in (1500, 1100))
    ended = None if grown else random.choice([None, None, over])
    if ended is None and not grown and random.random() < 0.1:
        ended = NOW + timedelta(days=90)
    raw.execute(
        "INSERT INTO members (id, country, born_on, sells, joined_at, closed_at) VALUES (?, ?, ?, ?, ?, ?)",
        (n, region, born, sells, began.isoformat(), ended and ended.isoformat()),
    )
    kinds = {"member"} | ({"seller"} if sells else set()) | ({"minor"} if born == "2015-04-05" else set())
    past = set()
    for name, limit in plain["retention"].items():
        months, _, _, event = limit["until"].split()
        at = {"member.ended": ended, "seller.ended": ended if sells else None, "member.began": began}.get(
            event
        )
        if at is not None and at + relativedelta(months=int(months)) <= NOW:
            past.add(name)
    return {
        "region": None if region == "nowhere" else region,
        "area": "eea" if region in ("fr", "de") else "elsewhere",
        "kinds": kinds,
        "maybe": kinds | ({"minor"} if born is None else set()),
        "left": ended is not None and ended <= NOW,
        "past": past,
        "said": {},
        "guarded": False,
        "restricted": False,
        "objected": set(),
        "withdrawn": set(),
        "held": {},
    }


def _moment(random: Random, days: int) -> datetime:
    """A moment whose months don't end on the very day: what holds on that day is for other tests."""
    at = NOW - timedelta(days=random.randint(32, days))
    return at.replace(day=random.choice([2, 9, 20, 27]))


def _rows(random: Random, raw: sqlite3.Connection, people: int) -> Iterator[dict[str, Any]]:
    for link, (table, ends) in LINKS.items():
        for number in range(1, 41):
            one, other = random.randint(1, people), random.randint(1, people if "staff" not in ends else 4)
            if link == "guardianship":
                one, other = 1, random.randint(2, people)
            closed = random.choice([None, None, "", "2026-02-01T00:00:00+00:00"])
            columns = [at.partition(" at ")[2] for at in ends.values()]
            raw.execute(
                f"INSERT INTO {table} (id, {columns[0]}, {columns[1]}, opened_at, closed_at)"
                " VALUES (?, ?, ?, '2026-01-01T00:00:00+00:00', ?)",
                (number, one, other, closed),
            )
            first, second = ends
            staffed = second == "staff"
            yield {
                "link": link,
                "case": f"{link}:{number}",
                "ends": {first: f"member:{one}"} | ({} if staffed else {second: f"member:{other}"}),
                "key": str(other) if staffed else "",
                "role": ends[second].partition(" ")[0] if staffed else "",
                "open": not closed,
            }


def _say(random: Random, company: Company, plain: dict[str, Any], name: str, me: dict[str, Any]) -> None:
    who = person(name)
    assert who is not None
    at = NOW - timedelta(days=100)
    for choice, entry in plain["choices"].items():
        scopes = [""]
        waiting = [p for p, use in plain["purposes"].items() if choice in use.get("choice", [])]
        if entry.get("each") == "purpose":
            scopes = waiting
        if entry.get("each") == "channel":
            scopes = sorted({c for p in waiting for c in plain["purposes"][p].get("sends", [])})
        for scope in scopes:
            for _ in range(random.randint(0, 2)):
                at += timedelta(minutes=1)
                answer = random.choice(["yes", "no"])
                decider = Person("member", ("1",)) if choice == "guardian" else None
                if decider is not None and not _ward(company, name, me):
                    answer = "no"
                record(company, [New(who, choice, answer, "account", scope, at=at, decider=decider)])  # type: ignore[arg-type]  # one of them
                me["said"][choice, scope] = answer
    me["guarded"] = me["said"].get(("guardian", "")) == "yes"


def _ward(company: Company, name: str, me: dict[str, Any]) -> bool:
    with closing(sqlite3.connect(company.directory / "app.sqlite")) as raw:
        found = raw.execute(
            "SELECT 1 FROM guards WHERE member_id = ? AND coalesce(closed_at, '') = ''",
            (name.partition(":")[2],),
        ).fetchone()
    return found is not None and "minor" in me["maybe"]


def _close_guardianships(random: Random, folder: Path, facts: dict[str, Any]) -> None:
    """Some guardians no longer are: what they answered counts no more."""
    with closing(sqlite3.connect(folder / "app.sqlite")) as raw, raw:
        for row in facts["rows"]:
            if row["link"] == "guardianship" and row["open"] and random.random() < 0.4:
                number = row["case"].partition(":")[2]
                raw.execute(
                    "UPDATE guards SET closed_at = '2026-06-01T00:00:00+00:00' WHERE id = ?", (number,)
                )
                row["open"] = False
    for name, me in facts["people"].items():
        still = any(row["open"] and row["ends"].get("ward") == name for row in facts["rows"])
        me["guarded"] = me["guarded"] and still


def _instruct(random: Random, company: Company, plain: dict[str, Any], persons: dict[str, Any]) -> None:
    """What some said about all uses, and what others hold of them, as the desk writes it."""
    pseudonyms = company.pseudonyms.of(list(persons))
    said: list[dict[str, Any]] = []
    held: list[dict[str, Any]] = []
    for name, me in persons.items():
        new: list[tuple[str, str]] = []
        if random.random() < 0.1:
            me["restricted"] = True
            new.append(("restrict", "*"))
        if random.random() < 0.2:
            me["objected"] = set(random.sample([*plain["purposes"]], min(3, len(plain["purposes"]))))
            new += [("object", one) for one in me["objected"]]
        if random.random() < 0.3:
            me["withdrawn"] = {random.choice(["c0", "c1", "c2"])}
            new += [("withdraw", one) for one in me["withdrawn"]]
        said += [
            {
                "pseudonym": pseudonyms[name],
                "verb": verb,
                "scope": scope,
                "who": company.keys.seal("instruction", name.encode()),
                "since": NOW.isoformat(),
                "request": "r",
            }
            for verb, scope in new
        ]
        for number in range(random.choice([0, 0, 0, 0, 1, 2])):
            data, purpose = random.sample(DATA, random.randint(1, 2)), random.choice([*plain["purposes"]])
            for one in data:
                me["held"].setdefault(one, set()).add(purpose)
            held.append(
                {
                    "id": f"{name} {number}",
                    "pseudonym": pseudonyms[name],
                    "who": company.keys.seal("hold", name.encode()),
                    "data": " ".join(data),
                    "purpose": purpose,
                    "set_by": "officer",
                    "since": NOW.isoformat(),
                    "until": (NOW + timedelta(days=30)).isoformat(),
                }
            )
    with company.state.write() as connection:
        if said:
            connection.execute(instructions.insert(), said)
        if held:
            connection.execute(holds.insert(), held)
