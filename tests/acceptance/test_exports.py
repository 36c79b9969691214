"""Files of rows without anybody in them: coarse enough, checked before they leave, the same each time."""

from __future__ import annotations

import csv
import random
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from kept.controls.choices.records.book import New, record
from kept.controls.disclosure.exports import checked
from kept.controls.disclosure.exports.export import Export, Exported, export
from kept.controls.purposes.groups import cuts
from kept.controls.purposes.groups.asked import answer
from kept.controls.purposes.groups.question import Question
from kept.controls.purposes.groups.scope import scope
from kept.controls.refused import Refused
from kept.state.uses import disclosures
from tests.acceptance.company import SiteLucent
from tests.acceptance.grouped import POLICY, Bought, Corner, corner, day, member
from tests.conftest import MARIADB

JUNE: dict[str, Any] = {"since": date(2026, 6, 1), "until": date(2026, 7, 1)}
FLOOR = 5


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Corner]:
    with corner(tmp_path / "corner") as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgresql", MARIADB])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Corner]:
    kind = request.param
    url = None if kind == "sqlite" else request.getfixturevalue(f"fresh_{kind}")
    with corner(tmp_path / "corner", url) as opened:
        yield opened


def give(shop: Corner, file: Path, *columns: str, to: str = "analyst", **wanted: Any) -> Exported:
    asked = {"purpose": "improve", "data": "buying", **JUNE, **wanted}
    return export(shop.company, Export(columns=columns, **asked), file, to)


def rows_of(file: Path) -> tuple[list[str], list[list[str]]]:
    with file.open(newline="") as source:
        header, *rows = csv.reader(source)
    return header, rows


def filled(shop: Corner, seed: int = 1, people: int = 60, rows: int = 600) -> list[Bought]:
    draw = random.Random(seed)
    jobs = {n: tuple(draw.sample([1, 2, 3], draw.choice([1, 1, 1, 0, 2]))) for n in range(1, people + 1)}
    shop.join(range(1, people + 1), jobs)
    bought = [
        Bought(
            draw.randint(1, people),
            draw.choice(["tea", "rice", "salt", "oil"]) if draw.random() > 0.01 else f"a page of one {n}",
            draw.choice([None, -15, 3, 12, 18, 25, 96, 99]),
            day(f"2026-06-{draw.randint(1, 28):02}"),
        )
        for n in range(rows)
    ]
    shop.buy(bought)
    return bought


def band(amount: int | None, width: int | None) -> str:
    if amount is None:
        return ""
    low = amount // width * width if width else amount
    return f"{low} to <{low + width}" if width else str(amount)


def test_every_combination_in_the_file_is_that_of_enough_people(place: Corner, tmp_path: Path) -> None:
    bought = filled(place)
    found = give(place, tmp_path / "out.csv", "page", "amount")
    header, rows = rows_of(tmp_path / "out.csv")
    assert header == [*found.columns, "since"] and len(rows) == found.rows > 500
    people: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for one in bought:
        values = {"page": one.page or "", "amount": band(one.amount, found.columns.get("amount"))}
        people[tuple(values[name] for name in found.columns)].add(one.member)
    assert all(len(people[tuple(row[:-1])]) >= FLOOR for row in rows)
    assert not any("a page of one" in cell for row in rows for cell in row)


def test_numbers_are_the_same_however_a_database_writes_them(place: Corner, tmp_path: Path) -> None:
    place.join(range(1, 61))
    spent = [10.0, 2.5, -0.25, -1e20]
    place.buy([Bought(n, "tea", None, day("2026-06-03"), spent[n % 4]) for n in range(1, 61)])
    assert give(place, tmp_path / "out.csv", "spent").combinations == 4
    assert {float(row[0]) for row in rows_of(tmp_path / "out.csv")[1]} == set(spent)


def test_true_and_false_leave_as_the_database_writes_them(tmp_path: Path, fresh_postgresql: str) -> None:
    with corner(tmp_path / "corner", fresh_postgresql) as shop:
        shop.do("ALTER TABLE buying ADD COLUMN gift BOOLEAN")
        shop.join(range(1, 61))
        shop.buy([Bought(n, "tea", None, day("2026-06-03")) for n in range(1, 61)])
        shop.do("UPDATE buying SET gift = (id % 2 = 0)")
    text = POLICY.replace("spent: financial,", "spent: financial, gift: status,")
    with corner(tmp_path / "corner", fresh_postgresql, text) as shop:
        assert give(shop, tmp_path / "out.csv", "gift").combinations == 2
    assert {row[0] for row in rows_of(tmp_path / "out.csv")[1]} == {"true", "false"}


def test_numbers_are_taken_together_and_then_dropped(shop: Corner, tmp_path: Path) -> None:
    shop.join(range(1, 61))
    shop.buy([Bought(n, "tea", 100 + n, day("2026-06-03")) for n in range(1, 61)])
    assert give(shop, tmp_path / "one.csv", "page", "amount").columns == {"amount": 10, "page": None}
    shop.buy([Bought(n, "tea", 10 ** (n % 12), day("2026-05-03")) for n in range(1, 11)])
    may: dict[str, Any] = {"since": date(2026, 5, 1), "until": date(2026, 6, 1)}
    found = give(shop, tmp_path / "two.csv", "page", "amount", **may)
    assert found.rows == 10 and found.combinations == 1


def test_what_points_at_people_is_never_in_a_file(shop: Corner, tmp_path: Path) -> None:
    filled(shop)
    for column in ("said", "email", "id", "member_id", "at", "note", "nothing"):
        with pytest.raises(Refused):
            give(shop, tmp_path / "out.csv", "page", column)
    for wanted in ({"purpose": "look"}, {"data": "account"}, {"purpose": "nothing"}):
        with pytest.raises(Refused):
            give(shop, tmp_path / "out.csv", "page", **wanted)
    with pytest.raises(Refused):
        give(shop, tmp_path / "out.csv", "page", to="")
    assert not list(tmp_path.glob("out*")) and cuts.size(shop.company) == 0


@pytest.mark.parametrize(
    "value", ["member7@corner.example", "Likes Rain", "see member7@corner.example there", "7"]
)
def test_an_identifier_that_many_share_holds_the_file_back(shop: Corner, tmp_path: Path, value: str) -> None:
    shop.join(range(1, 61))
    shop.buy([Bought(n, value, 10, day("2026-06-03")) for n in range(1, 61)])
    with pytest.raises(Refused) as refused:
        give(shop, tmp_path / "out.csv", "page")
    assert refused.value.reason == "check" and value not in str(refused.value)
    assert not list(tmp_path.glob("out*")) and cuts.size(shop.company) == 0


def test_the_check_finds_what_somebody_changed_in_the_file(shop: Corner, tmp_path: Path) -> None:
    filled(shop)
    file = tmp_path / "out.csv"
    give(shop, file, "page", "works-for")
    made = list(cuts.every(shop.company, "improve"))
    asked = scope(
        shop.company, Export(purpose="improve", data="buying", columns=("page", "works-for")).question
    )
    good = file.read_text()
    checked.check(shop.company, asked, made, file, recount=True)
    lines = good.splitlines()
    for bad in (
        "\n".join([*lines, "a page of one 7,,2026-06-01"]),
        "\n".join([*lines, "member3@corner.example,1,2026-06-01"]),
        "\n".join([*lines, *[lines[1]] * 600]),
        "\n".join([f"{lines[0]},email", *(f"{line},x" for line in lines[1:])]),
        "\n".join([*lines, lines[1] + ",more"]),
    ):
        file.write_text(bad + "\n")
        with pytest.raises((Refused, ValueError)):
            checked.check(shop.company, asked, made, file, recount=True)
    few = [replace(cut, cells=tuple(replace(cell, people=3) for cell in cut.cells)) for cut in made]
    file.write_text(good)
    with pytest.raises(Refused):
        checked.check(shop.company, asked, few, file, recount=False)


def test_what_left_in_a_file_leaves_in_no_other_way(shop: Corner, tmp_path: Path) -> None:
    filled(shop)
    give(shop, tmp_path / "one.csv", "page")
    shop.do("DELETE FROM buying WHERE member_id < 30")
    give(shop, tmp_path / "two.csv", "page", to="somebody")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    for wanted in ({"since": date(2026, 5, 1)}, {"every": "week"}, {"purpose": "study"}):
        with pytest.raises(Refused):
            give(shop, tmp_path / "three.csv", "page", **wanted)
    with pytest.raises(Refused):
        give(shop, tmp_path / "three.csv", "page", "amount")
    with pytest.raises(Refused):
        answer(shop.company, Question(purpose="improve", data="buying", measure="rows", **JUNE), "analyst")
    with pytest.raises(Refused):
        give(shop, tmp_path / "one.csv", "page")  # nor over a file that is there


def test_a_file_is_on_the_ledger_and_on_the_register_of_a_party(shop: Corner, tmp_path: Path) -> None:
    filled(shop)
    with pytest.raises(Refused):
        give(shop, tmp_path / "out.csv", "page", to="mill")
    give(shop, tmp_path / "out.csv", "page", to="lab")
    [entry] = [one for one in shop.company.ledger.entries() if one["act"] == "export"]
    assert entry["recipient"] == "lab" and entry["columns"] == ["page"] and "tea" not in str(entry)
    with shop.company.state.read() as connection:
        [row] = connection.execute(select(disclosures)).all()
    assert (row.recipient, row.way, row.pseudonym, row.people) == ("lab", "export", None, FLOOR)


def test_a_stricter_floor_of_the_disclosure_holds(tmp_path: Path) -> None:
    text = POLICY.replace("for: improve}", "for: improve, groups: 50}")
    with corner(tmp_path / "corner", text=text) as shop:
        shop.join(range(1, 61))
        shop.buy([Bought(n, "tea" if n < 53 else "rice", 10, day("2026-06-03")) for n in range(1, 61)])
        found = give(shop, tmp_path / "out.csv", "page", to="lab")
        assert found.floor == 50 and found.rows in (52, 60)


def test_rows_of_two_kinds_of_people_leave_among_enough_of_each(place: Corner, tmp_path: Path) -> None:
    place.join(range(1, 30))
    rows = [{"v": f"a{n}", "m": 7, "p": "tea"} for n in range(10)]
    rows += [{"v": f"b{n}", "m": None, "p": "rice"} for n in range(300)]
    rows += [{"v": f"c{n}", "m": n, "p": "salt"} for n in range(1, 10)]
    place.do("INSERT INTO visits VALUES (:v, :m, :p, '2026-06-03 10:00:00')", *rows)
    found = give(place, tmp_path / "out.csv", "page", data="seen", to="lab")
    _, out = rows_of(tmp_path / "out.csv")
    assert {row[0] for row in out} == {"rice", "salt"} and len(out) == found.rows == 309


def test_the_command_writes_a_file(tmp_path: Path) -> None:
    lucent = SiteLucent.made(tmp_path / "lucent", people=300)
    file = tmp_path / "usage.csv"
    asked = ("groups", "improve-app", "usage", "--by", "page", "--every", "month", "--to", "analyst")
    done = lucent.kept(*asked, "--export", str(file), "--format", "json")
    assert done.code == 0, done.err
    header, rows = rows_of(file)
    assert header == ["page", "since"] and len(rows) == done.json()["rows"] > 0
    assert lucent.kept(*asked, "--export", str(file)).code == 2


SHARING = POLICY.replace(
    "  counting: {of: [member, visitor], ask: opt-out}",
    "  counting: {of: [member, visitor], ask: opt-out}\n  sharing:  {of: [member, visitor], ask: opt-in}\n"
    "  hidden:   {of: [member, visitor], ask: opt-in}",
)


@pytest.mark.parametrize(
    ("condition", "rows"), [("choice: sharing", 30), ("unless: hidden", 50), ("regions: [eea]", 0)]
)
def test_a_party_gets_nobody_whom_the_disclosure_itself_leaves_out(
    condition: str, rows: int, tmp_path: Path
) -> None:
    text = SHARING.replace("for: improve}", f"for: improve, {condition}}}")
    with corner(tmp_path / "corner", text=text) as shop:
        shop.join(range(1, 61))
        said = [New(member(n), "sharing", "yes", "account", "") for n in range(1, 31)]
        record(shop.company, [*said, *(New(member(n), "hidden", "yes", "account", "") for n in range(1, 11))])
        shop.buy([Bought(n, "tea", 10, day("2026-06-03")) for n in range(1, 61)])
        shop.buy([Bought(n, "tea", 10, day("2026-05-03")) for n in range(1, 61)])
        assert give(shop, tmp_path / "out.csv", "page", to="lab").rows == rows
        with pytest.raises(Refused):  # other people are in it than in a file for the house
            give(shop, tmp_path / "own.csv", "page")
        may: dict[str, Any] = {"since": date(2026, 5, 1), "until": date(2026, 6, 1)}
        assert give(shop, tmp_path / "own.csv", "page", **may).rows == 60
        with pytest.raises(Refused):
            give(shop, tmp_path / "two.csv", "page", to="lab", **may)


def test_what_somebody_closed_stays_closed_though_their_word_lapsed(tmp_path: Path) -> None:
    text = SHARING.replace(
        "hidden:   {of: [member, visitor], ask: opt-in}",
        "hidden: {of: member, ask: opt-in, lapses: 1 months}",
    )
    text = text.replace("for: improve}", "for: improve, unless: hidden}").replace(
        "gives: [buying, seen]", "gives: buying"
    )
    with corner(tmp_path / "corner", text=text) as shop:
        shop.join(range(1, 61))
        record(shop.company, [New(member(n), "hidden", "yes", "account", "") for n in range(1, 11)])
        shop.clock.pass_by(days=60)
        shop.buy([Bought(n, "tea", 10, day("2026-06-03")) for n in range(1, 61)])
        assert give(shop, tmp_path / "out.csv", "page", to="lab").rows == 50


@pytest.mark.parametrize("name", ["Lab", "lab ", "LAB.", "lаb", "Mill", "mill\u200b", "Corner "])
def test_a_name_that_only_looks_like_a_partys_gets_no_file(shop: Corner, tmp_path: Path, name: str) -> None:
    filled(shop)
    with pytest.raises(Refused) as refused:
        give(shop, tmp_path / "out.csv", "page", to=name)
    assert refused.value.reason == "lookalike" and not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("note", "page"),
    [
        ("Zoë Ångström", unicodedata.normalize("NFD", "Zoë Ångström")),  # other bytes, alike to read
        ("likes rain", "ｌｉｋｅｓ ｒａｉｎ"),
    ],
)
def test_an_identifier_in_other_bytes_holds_the_file_back(
    shop: Corner, tmp_path: Path, note: str, page: str
) -> None:
    shop.join(range(1, 61))
    shop.do("UPDATE members SET note = :note WHERE id = 7", {"note": note})
    shop.buy([Bought(n, page, 10, day("2026-06-03")) for n in range(1, 61)])
    with pytest.raises(Refused) as refused:
        give(shop, tmp_path / "out.csv", "page")
    assert refused.value.reason == "check"


def test_a_key_that_is_a_text_holds_the_file_back_within_a_longer_one(shop: Corner, tmp_path: Path) -> None:
    shop.join(range(1, 30))
    rows = [{"v": f"visitor{n:04}", "n": n, "p": "watched_visitor0007"} for n in range(1, 30)]
    shop.do("INSERT INTO visits VALUES (:v, :n, :p, '2026-06-03 10:00:00')", *rows)
    with pytest.raises(Refused) as refused:
        give(shop, tmp_path / "out.csv", "page", data="seen")
    assert refused.value.reason == "check"


def test_no_cell_is_a_formula_for_a_spreadsheet(shop: Corner, tmp_path: Path) -> None:
    shop.join(range(1, 41))
    plain = ["-900", "-900.5", "-.9e+19", "a;=900"]
    pages = [
        *plain,
        '=HYPERLINK("http://127.0.0.1/","y")',
        "+900+900",
        "-900+9",
        "@SUM(A1)",
        "\t=900",
        "\r=900",
        "＝900",
    ]
    shop.buy([Bought(n, page, -15, day("2026-06-03")) for page in pages for n in range(1, 41)])
    found = give(shop, tmp_path / "out.csv", "page", "amount")
    header, rows = rows_of(tmp_path / "out.csv")
    at = header.index("page")
    assert {row[at] for row in rows} == {page if page in plain else f"'{page}" for page in pages}
    assert {row[header.index("amount")] for row in rows} == {"-15"} and found.rows == 440
    assert all(line.startswith('"') for line in (tmp_path / "out.csv").read_text().split("\r\n") if line)


def test_a_column_named_as_the_time_is_no_way_round_the_check(tmp_path: Path) -> None:
    with corner(tmp_path / "corner") as shop:
        filled(shop)
        shop.do("ALTER TABLE buying ADD COLUMN since VARCHAR(40) DEFAULT 'member7@corner.example'")
    text = POLICY.replace("spent: financial,", "spent: financial, since: status,")
    with corner(tmp_path / "corner", text=text) as shop, pytest.raises(Refused):
        give(shop, tmp_path / "out.csv", "page", "since")
