"""The five example companies, small and generated: what `kept` says of each, as its user would run it."""

from __future__ import annotations

import re
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from examples.generators import lucent_commerce, lucent_marketplace, lumensol, lumnar
from examples.sitelucent import generate as sitelucent
from tests.acceptance.company import (
    SiteLucent as Company,
)  # a folder with `kept` run on it, whichever company's

PEOPLE, SEED = 50, 3
COMPANIES = {
    "sitelucent": sitelucent,
    "lucent-commerce": lucent_commerce,
    "lucent-marketplace": lucent_marketplace,
    "lumensol": lumensol,
    "lumnar": lumnar,
}

# Whoever's data stands in databases alone, and is answered whole today: company, WHO, the tables an erasure touches.
ANSWERED = [
    ("sitelucent", "user:2", {"app.users"}),
    ("lucent-marketplace", "applicant:2", {"shop.applicants"}),
    ("lucent-marketplace", "supplier:2", {"shop.suppliers", "shop.deliveries", "shop.supplier_payments"}),
    ("lucent-marketplace", "subscriber:1", {"shop.subscribers"}),
    ("lumnar", "chatter:2", {"app.chatters", "app.conversations", "app.messages"}),
]

# Whose data is held for a client, who alone answers; test_passed_on.py has the whole story.
CLIENTS = [("lumensol", "tenant:2", "landlords")]

# Whoever's data stands behind an API too: company, WHO, the setting without which nobody there can be asked. With
# their stores connected they are answered: test_rights.py.
NOT_CONNECTED = [
    ("sitelucent", "lead:1", "HUBSPOT_TOKEN"),
    ("lucent-marketplace", "member:2", "STRIPE_KEY"),
    ("lucent-marketplace", "member:6", "STRIPE_KEY"),  # a minor
    ("lumnar", "customer:2", "STRIPE_KEY"),
]
VISITORS = {
    "lucent-commerce": ("app", "visits"),
    "lucent-marketplace": ("shop", "visits"),
    "lumensol": ("crm", "visits"),
    "lumnar": ("app", "sessions"),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Company]:
    """Every company, as built: nothing in it is broken. Tests that change one work on a copy."""
    found = {}
    for name, module in COMPANIES.items():
        folder = tmp_path_factory.mktemp(name)
        module.build(folder, PEOPLE, SEED)
        found[name] = Company(folder)
    return found


@pytest.fixture(params=COMPANIES)
def company(request: pytest.FixtureRequest, built: dict[str, Company], tmp_path: Path) -> Company:
    """A copy of each company in turn."""
    return built[request.param].copied(tmp_path / "company")


def test_check_reports_no_error(company: Company) -> None:
    ran = company.kept("check", "--format", "json")
    assert ran.code == 0, ran.out
    told = ran.json()
    assert [problem for problem in told if problem["severity"] == "error"] == []
    assert "not-connected" not in {problem["code"] for problem in told}


def test_map_finds_no_drift_and_no_problem(company: Company) -> None:
    ran = company.kept("map", "--format", "json")
    assert ran.code == 0, ran.out
    told = ran.json()
    assert told["drift"] == told["problems"] == []
    assert all(kind["tables"] for kind in told["kinds"].values())


def test_nothing_is_past_its_limit_as_built(company: Company) -> None:
    ran = company.kept("sweep", "--dry-run", "--format", "json")
    assert ran.code == 0, ran.err
    told = ran.json()
    assert told["swept"] and all(line["rows"] == 0 for line in told["swept"])


def test_no_promise_is_broken_as_built_once_what_is_to_be_sealed_is_sealed(company: Company) -> None:
    if company.folder.joinpath("policy.yaml").read_text("utf-8").count("seals:"):
        assert company.kept("seal", "apply", "app").code == 0
    ran = company.kept("prove", "--format", "json")
    assert ran.code == 0, ran.err
    told = ran.json()
    assert told["counts"]["broken"] == 0
    assert {promise["verdict"] for promise in told["promises"]} <= {"kept", "unproven"}


@pytest.mark.parametrize("name", COMPANIES)
def test_exactly_what_is_planted_is_broken_and_a_sweep_and_people_mend_it(name: str, tmp_path: Path) -> None:
    company = Company(tmp_path / "d")
    asked = ("--people", str(PEOPLE), "--seed", str(SEED), "--no-serve", "--format", "json")
    ran = company.kept("demo", name, *asked, "--dir", str(company.folder))
    assert ran.code == 0, ran.err
    told = ran.json()
    broken = {promise["id"] for promise in told["before"]["promises"] if promise["verdict"] == "broken"}
    said = [line for line in ran.err.splitlines() if "planted against " in line]
    assert broken == {line.partition("planted against ")[2].partition(":")[0] for line in said}
    assert len(broken) >= 3
    assert told["after"]["counts"]["broken"] == 0


@pytest.mark.parametrize(("name", "who", "tables"), ANSWERED)
def test_who_stands_in_databases_alone_is_answered(
    name: str, who: str, tables: set[str], built: dict[str, Company], tmp_path: Path
) -> None:
    company = built[name].copied(tmp_path / "company")
    ran = company.kept("request", "access", who, "--format", "json")
    assert ran.code == 0, ran.err
    [answer] = ran.json()["answers"]
    with zipfile.ZipFile(answer) as opened:
        assert opened.testzip() is None and "data.json" in opened.namelist()
    plan = company.kept("request", "erase", who, "--dry-run", "--format", "json")
    assert plan.code == 0, plan.err
    told = plan.json()
    assert told["people"] == 1 and told["unreached"] == []
    touched = {table for table, counts in told["plan"].items() if any(counts.values())}
    assert touched >= tables


@pytest.mark.parametrize(("name", "who", "client"), CLIENTS)
def test_who_is_held_for_a_client_is_not_answered_here(
    name: str, who: str, client: str, built: dict[str, Company], tmp_path: Path
) -> None:
    company = built[name].copied(tmp_path / "company")
    plan = company.kept("request", "erase", who, "--dry-run", "--format", "json")
    assert plan.code == 0, plan.err
    assert (plan.json()["plan"], plan.json()["passed_on"]) == ({}, [client])
    ran = company.kept("request", "access", who, "--format", "json")
    assert ran.code == 0, ran.err
    assert (ran.json()["answers"], ran.json()["awaits"]) == ([], ["client"])


@pytest.mark.parametrize(("name", "who", "setting"), NOT_CONNECTED)
def test_who_stands_in_a_store_that_is_not_connected_is_told_why_and_nothing_changes(
    name: str, who: str, setting: str, built: dict[str, Company], tmp_path: Path
) -> None:
    company = built[name].copied(tmp_path / "company")
    databases = {path: path.read_bytes() for path in company.folder.glob("*.sqlite")}
    ran = company.kept("request", "access", who)
    assert ran.code != 0 and setting in ran.err, ran.err
    plan = company.kept("request", "erase", who, "--dry-run")
    assert plan.code != 0 and setting in plan.out + plan.err, plan.out
    assert {path: path.read_bytes() for path in databases} == databases


@pytest.mark.parametrize("name", VISITORS)
def test_a_visitor_is_answered_and_told_what_only_their_browser_holds(
    name: str, built: dict[str, Company], tmp_path: Path
) -> None:
    company = built[name].copied(tmp_path / "company")
    store, table = VISITORS[name]
    with closing(sqlite3.connect(company.folder / f"{store}.sqlite")) as database:
        [(visitor,)] = database.execute(f"SELECT visitor_id FROM {table} LIMIT 1")
    ran = company.kept("request", "access", f"visitor:{visitor}", "--format", "json")
    assert ran.code == 0 and ran.json()["state"] == "done", ran.err
    plan = company.kept("request", "erase", f"visitor:{visitor}", "--dry-run", "--format", "json")
    assert plan.code == 0, plan.err
    told = plan.json()
    assert told["plan"][f"{store}.{table}"]["deleted"] == 1
    assert "site.cookie" in told["on_device"] and told["unreached"] == []


def test_what_stands_in_a_sheet_is_a_task_for_staff(built: dict[str, Company], tmp_path: Path) -> None:
    company = built["lumensol"].copied(tmp_path / "company")
    ran = company.kept("request", "access", "contact:2", "--format", "json")
    assert ran.code == 0 and ran.json()["awaits"] == ["tasks"], ran.err
    [line] = company.kept("task", "list").out.splitlines()
    assert "meetings: notes: contact:2" in line
    assert company.kept("task", "done", line.split()[0], "--by", "Ines").code == 0
    assert company.kept("request", "list").out == "No request is open.\n"


# What belongs to two people, on each company's databases alone: its policy without the other stores and without the
# waiting period. The same with every store connected: test_rights.py.


def databases_alone(company: Company) -> Company:
    """The company with a policy file from which every store but its databases is left out, with what stands there."""
    file = company.folder / "policy.yaml"
    text = file.read_text("utf-8")
    others = re.findall(r"^  (\w+): +\{.*kind: (?!sql)\w+", text, re.M)
    for store in others:
        text = re.sub(rf"(, )?\b{store}\.\w+: \{{[^}}]*\}}", "", text).replace("in: {, ", "in: {")
        text = re.sub(rf"^  [\w-]+: .*\bin: {store}\..*\n", "", text, flags=re.M)
        text = text.replace(f"file in {store}", "free-text")
    for name in re.findall(r"^  ([\w-]+): .*\bin: \{\}", text, re.M):
        text = re.sub(rf"^  {name}: .*\bin: \{{\}}.*\n", "", text, flags=re.M)
        text = re.sub(rf"^.*(takes|optional|uses|gives|keeps): {name},.*\n", "", text, flags=re.M)
        text = re.sub(rf", {name}(?=[,\]])", "", text)
    file.write_text(text.replace("waits: 30 days, offers: copy, ", ""), "utf-8")
    return company


def ask(company: Company, query: str) -> list[tuple[Any, ...]]:
    """Rows of the company's own database, the first where it has two."""
    files = (company.folder / name for name in ("app.sqlite", "shop.sqlite", "crm.sqlite"))
    with closing(sqlite3.connect(next(file for file in files if file.exists()))) as database:
        return database.execute(query).fetchall()


def erase(company: Company, who: str) -> None:
    ran = company.kept("request", "erase", who)
    assert ran.code == 0, ran.err


@pytest.fixture
def alone(request: pytest.FixtureRequest, built: dict[str, Company], tmp_path: Path) -> Company:
    return databases_alone(built[request.param].copied(tmp_path / "company"))


PRESENTS = "sales JOIN addresses ON addresses.id = address_id WHERE member_id NOT IN (buyer_id, seller_id)"


@pytest.mark.parametrize("alone", ["lucent-marketplace"], indirect=True)
def test_erasing_who_sent_a_present_leaves_the_friends_address_and_the_sellers_sale(alone: Company) -> None:
    [(sale, buyer)] = ask(alone, f"SELECT sales.id, buyer_id FROM {PRESENTS} LIMIT 1")
    others = f"SELECT * FROM addresses WHERE member_id <> {buyer} ORDER BY id"
    part = f"SELECT seller_id, item, amount, paid, agreed_at, closed_at FROM sales WHERE id = {sale}"
    before = ask(alone, others), ask(alone, part)
    erase(alone, f"member:{buyer}")
    assert (ask(alone, others), ask(alone, part)) == before
    assert ask(alone, f"SELECT name, email, phone, born_on, place FROM members WHERE id = {buyer}") == [
        (None,) * 5
    ]
    assert ask(alone, f"SELECT count(*) FROM addresses WHERE member_id = {buyer}") == [(0,)]


@pytest.mark.parametrize("alone", ["lucent-marketplace"], indirect=True)
def test_erasing_who_got_a_present_leaves_the_sale_to_its_parties_without_the_address(alone: Company) -> None:
    [(sale, friend)] = ask(alone, f"SELECT sales.id, member_id FROM {PRESENTS} LIMIT 1")
    part = f"SELECT buyer_id, seller_id, billing_id, item, photo, amount, paid, agreed_at FROM sales WHERE id = {sale}"
    before = ask(alone, part)
    erase(alone, f"member:{friend}")
    assert ask(alone, part) == before
    assert ask(alone, f"SELECT address_id FROM sales WHERE id = {sale}") == [(None,)]


@pytest.mark.parametrize("alone", ["lucent-marketplace"], indirect=True)
def test_erasing_a_guardian_leaves_the_child_its_account_and_its_sales(alone: Company) -> None:
    [(guardian, ward)] = ask(
        alone,
        "SELECT owner_id, member_id FROM guardians JOIN sales ON buyer_id = member_id WHERE ended_at IS NULL LIMIT 1",
    )
    theirs = (
        f"SELECT * FROM members WHERE id = {ward}",
        f"SELECT * FROM addresses WHERE member_id = {ward}",
        f"SELECT id, buyer_id, item, amount, agreed_at FROM sales WHERE buyer_id = {ward} ORDER BY id",
    )
    before = [ask(alone, query) for query in theirs]
    assert all(before)
    erase(alone, f"member:{guardian}")
    assert [ask(alone, query) for query in theirs] == before
    assert ask(alone, f"SELECT count(*) FROM guardians WHERE owner_id = {guardian}") == [(0,)]


@pytest.mark.parametrize("alone", ["lumnar"], indirect=True)
def test_erasing_a_customer_leaves_the_writers_of_a_chat_what_they_wrote(alone: Company) -> None:
    every = "SELECT * FROM messages ORDER BY id"
    conversations = "SELECT id, chatter_id, started_at, closed_at FROM conversations ORDER BY id"
    before = ask(alone, every), ask(alone, conversations)
    erase(alone, "customer:2")
    assert (ask(alone, every), ask(alone, conversations)) == before
    assert ask(alone, "SELECT count(*) FROM conversations WHERE customer_id = 2") == [(0,)]
    assert ask(alone, "SELECT count(*) FROM integrations WHERE customer_id = 2") == [(0,)]


@pytest.mark.parametrize("alone", ["lumnar"], indirect=True)
def test_erasing_who_wrote_in_a_chat_takes_all_they_wrote_and_nobody_elses(alone: Company) -> None:
    others = (
        "SELECT messages.* FROM messages JOIN conversations ON conversations.id = conversation_id"
        " WHERE chatter_id <> 2 ORDER BY 1"
    )
    before = ask(alone, others)
    erase(alone, "chatter:2")
    assert ask(alone, others) == before == ask(alone, "SELECT * FROM messages ORDER BY id")


@pytest.mark.parametrize(
    ("alone", "bills", "owner", "payer", "columns"),
    [
        ("lucent-commerce", "billing", "customer_id", "payer_id", "address, company, paid_at"),
        ("lumensol", "orders", "contact_id", "billed_id", "amount, invoice, at"),
    ],
    indirect=["alone"],
)
def test_erasing_who_pays_for_another_leaves_the_others_bill_as_it_was(
    alone: Company, bills: str, owner: str, payer: str, columns: str
) -> None:
    [(pays, bought)] = ask(alone, f"SELECT {payer}, {owner} FROM {bills} WHERE {payer} <> {owner} LIMIT 1")
    theirs = f"SELECT id, {owner}, {columns} FROM {bills} WHERE {owner} = {bought} ORDER BY id"
    kind = owner.removesuffix("_id")
    person = f"SELECT * FROM {kind}s WHERE id = {bought}"
    before = ask(alone, theirs), ask(alone, person)
    erase(alone, f"{kind}:{pays}")
    assert (ask(alone, theirs), ask(alone, person)) == before
    [(name, email)] = ask(alone, f"SELECT name, email FROM {kind}s WHERE id = {pays}")
    assert name is None and email is None


@pytest.mark.parametrize(
    ("alone", "who", "kind"),
    [("lucent-commerce", "phone", "customer"), ("lumensol", "email", "contact")],
    indirect=["alone"],
)
def test_an_identifier_that_two_people_share_names_nobody(alone: Company, who: str, kind: str) -> None:
    [(shared,)] = ask(alone, f"SELECT {who} FROM {kind}s GROUP BY {who} HAVING count({who}) > 1 LIMIT 1")
    ran = alone.kept("request", "erase", str(shared))
    assert ran.code == 2 and "several people" in ran.err and str(shared) not in ran.err
    [(one, other)] = ask(alone, f"SELECT min(id), max(id) FROM {kind}s WHERE {who} = '{shared}'")
    erase(alone, f"{kind}:{one}")
    assert ask(alone, f"SELECT {who} FROM {kind}s WHERE id = {other}") == [(shared,)]


def test_an_erased_chatter_leaves_no_attachment(built: dict[str, Company], tmp_path: Path) -> None:
    company = built["lumnar"].copied(tmp_path / "company")
    with closing(sqlite3.connect(company.folder / "app.sqlite")) as database:
        chatter, email = database.execute(
            "SELECT chatters.id, email FROM chatters JOIN conversations ON chatter_id = chatters.id"
            " JOIN messages ON conversation_id = conversations.id WHERE attachment IS NOT NULL"
        ).fetchone()
    assert any(file.startswith("uploads/") for file in company.files_with(email))
    assert company.kept("request", "erase", f"chatter:{chatter}").code == 0
    assert company.files_with(email) == []


def test_rows_that_name_files_are_not_swept_from_under_them(
    built: dict[str, Company], tmp_path: Path
) -> None:
    """A path that is emptied leads nobody to its file any more, and the board would call it kept."""
    company = built["lumnar"].copied(tmp_path / "company")
    with closing(sqlite3.connect(company.folder / "app.sqlite")) as database, database:
        database.execute("UPDATE customers SET closed_at = '2001-01-01 00:00:00'")
        before = database.execute("SELECT id, attachment FROM messages ORDER BY id").fetchall()
    company.kept("sweep")
    with closing(sqlite3.connect(company.folder / "app.sqlite")) as database:
        assert database.execute("SELECT id, attachment FROM messages ORDER BY id").fetchall() == before
    board = {p["id"]: p for p in company.kept("prove", "--format", "json").json()["promises"]}
    assert board["retention.chat"]["verdict"] == "unproven"
    assert any("name files" in proof["says"] for proof in board["retention.chat"]["proofs"])
