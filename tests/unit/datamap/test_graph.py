"""Which rows are whose: small schemas and declarations, and the map they make."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kept.datamap.graph import DataMap, build_map
from kept.stores.schema import Column, ColumnSort, Reference, Schema, Table
from kept.stores.walk import Walk
from tests.declared import declared


def schema(text: str) -> Schema:
    """Tables written one a line: `orders: id*, user_id! -> users.id, note`; * key, ! not null, (a, b) composite."""
    tables = {}
    for line in text.strip().splitlines():
        name, _, rest = line.strip().partition(":")
        columns: dict[str, Column] = {}
        key: list[str] = []
        references = []
        for part in re.findall(r"\([^)]*\)[^,]*|[^,(]+(?:->\s*[\w.]+)?", rest):
            written, _, target = (side.strip() for side in part.partition("->"))
            if not written:
                continue
            names = [word.strip() for word in written.strip("()").split(",")]
            for word in names:
                plain = word.rstrip("*!")
                sort: ColumnSort = "number" if plain == "id" or plain.endswith("_id") else "text"
                columns.setdefault(plain, Column(plain, sort, sort, nullable=word == plain))
                if "*" in word:
                    key.append(plain)
            if target:
                to, _, to_columns = target.partition(".")
                own = tuple(word.rstrip("*!") for word in names)
                references.append(Reference(name, own, to, tuple(to_columns.split("+"))))
        tables[name] = Table(name, columns, tuple(key), tuple(references), is_view=name.startswith("v_"))
    return Schema(tables)


def the_map(facts: str, tables: str) -> DataMap:
    stores = "stores:\n  app: {at: $APP, region: eea}\n" if "stores:" not in facts else ""
    return build_map(declared(stores + facts), {"app": schema(tables)})


def drawn(walk: Walk | None) -> list[str]:
    """The stops of a walk as lines: `orders by user_id to users`, with `<-` where the owner's row refers."""
    assert walk is not None
    lines = []
    for stop in walk.stops[: walk.own]:
        hops = [
            f"{'<- ' if h.forward else ''}{'+'.join(h.reference.columns)} {walk.stops[h.parent].table}"
            for h in stop.hops
        ]
        mode = "" if stop.mode == "share" or not stop.hops else f" ({stop.mode})"
        lines.append(f"{stop.table}{mode}: {', '.join(hops)}")
    return lines


def told(found: DataMap) -> list[tuple[str, str]]:
    """The errors as (code, the place's text)."""
    lines = found.policy.source.text.splitlines()
    return [
        (p.code, lines[p.span.line - 1][p.span.column - 1 :][: p.span.length])
        for p in found.problems
        if p.severity == "error"
    ]


USER = "people:\n  user: {in: app.users, key: id, known-by: {email: email}}\n"
USERS = "users: id*, email\n"


def of_user(tables: Mapping[str, str]) -> str:
    return (
        USER
        + "data:\n"
        + "".join(
            f"  {t}: {{of: {who}, in: {{app.{t}: {{note: free-text}}}}}}\n" for t, who in tables.items()
        )
    )


def test_a_table_belongs_along_its_reference_to_the_nearest_level() -> None:
    found = the_map(
        of_user({"orders": "user", "items": "user", "comments": "user"}),
        USERS
        + """orders: id*, user_id! -> users.id, note
             items: id*, order_id! -> orders.id, note
             comments: id*, user_id -> users.id, note""",
    )
    assert told(found) == []
    assert drawn(found.walk("user")) == [
        "users: ", "comments: user_id users", "orders: user_id users", "items: order_id orders",
    ]  # fmt: skip


def test_several_references_to_the_level_before_share_a_row() -> None:
    found = the_map(
        of_user({"messages": "user"}), USERS + "messages: id*, from_id -> users.id, to_id -> users.id, note"
    )
    assert drawn(found.walk("user"))[1:] == ["messages: from_id users, to_id users"]


def test_references_to_the_same_table_and_to_further_levels_only_refer() -> None:
    found = the_map(
        of_user({"posts": "user", "replies": "user"}),
        USERS
        + """posts: id*, user_id! -> users.id, parent_id -> posts.id, note
             replies: id*, user_id! -> users.id, post_id -> posts.id, note""",
    )
    assert told(found) == []
    assert drawn(found.walk("user"))[1:] == ["posts: user_id users", "replies: user_id users"]


def test_a_circle_of_tables_is_cut_by_level() -> None:
    found = the_map(
        of_user({"carts": "user", "offers": "user"}),
        USERS
        + """carts: id*, user_id! -> users.id, offer_id -> offers.id, note
             offers: id*, cart_id -> carts.id, note""",
    )
    assert drawn(found.walk("user"))[1:] == ["carts: user_id users", "offers: cart_id carts"]


def test_rows_that_owned_rows_refer_to_belong_to_whoever_refers() -> None:
    found = the_map(
        of_user({"cards": "user", "addresses": "user"}),
        """users: id*, email, address_id -> addresses.id
           cards: id*, user_id! -> users.id, address_id -> addresses.id, note
           addresses: id*, note""",
    )
    assert told(found) == []
    assert drawn(found.walk("user"))[1:] == [
        "cards: user_id users",
        "addresses: <- address_id users, <- address_id cards",
    ]


def test_composite_keys_are_one_reference() -> None:
    found = the_map(
        "people:\n  user: {in: app.users, key: [land, nr]}\n"
        "data:\n  o: {of: user, in: {app.orders: {note: free-text}}}\n",
        """users: land*, nr*
           orders: id*, (land, nr) -> users.land+nr, note""",
    )
    assert drawn(found.walk("user"))[1:] == ["orders: land+nr users"]


def test_a_row_that_could_hang_in_two_ways_must_say_which() -> None:
    tables = (
        USERS
        + """orders: id*, user_id! -> users.id, note
                        letters: id*, user_id -> users.id, order_id -> orders.id, note"""
    )
    found = the_map(of_user({"orders": "user", "letters": "user"}), tables)
    assert told(found) == [("ambiguous-owner", "app.letters")]
    settled = the_map(of_user({"orders": "user", "letters": "user at order_id"}), tables)
    assert told(settled) == []
    assert "letters: order_id orders" in drawn(settled.walk("user"))


SALES = """people:
  user: {in: app.users, key: id}
  seller: {is: user, when: email is not empty}
  agent: {is: staff}
links:
  sale: {in: app.sales, between: {buyer: user at buyer_id, seller: seller at seller_id, agent: agent at agent_id}%s}
data:
  sold: {of: [sale.buyer, sale.seller], in: {app.sales: {amount: transaction}}}
  wish: {of: sale.buyer, in: {app.sales: {wish: free-text}, app.addresses: {note: address}}}
"""
SALES_TABLES = (
    USERS
    + """sales: id*, buyer_id -> users.id, seller_id -> users.id, agent_id, amount, wish
         addresses: id*, sale_id! -> sales.id, note"""
)


def test_a_link_is_owned_by_its_ends_and_what_is_of_one_end_goes_through_it_alone() -> None:
    found = the_map(SALES % "", SALES_TABLES)
    assert told(found) == []
    walk = found.walk("seller")
    assert walk is found.walk("user") and walk is not None
    assert drawn(walk)[1:] == ["sales: buyer_id users", "sales: seller_id users", "addresses: sale_id sales"]
    assert [sorted(stop.columns) for stop in walk.stops] == [[], ["amount", "wish"], ["amount"], ["note"]]
    assert walk.stops[3].hops[0].parent == 1


def test_what_becomes_of_a_link_row_is_said_or_follows_from_its_data() -> None:
    said = the_map(SALES % ", erased: {buyer: remove, seller: anonymise}", SALES_TABLES)
    assert drawn(said.walk("user"))[1:3] == [
        "sales (remove): buyer_id users",
        "sales (anonymise): seller_id users",
    ]
    bare = (
        USER
        + "links:\n  follow: {in: app.follows, between: {one: user at one_id, other: user at other_id}}\n"
    )
    follows = the_map(bare, USERS + "follows: one_id*! -> users.id, other_id*! -> users.id")
    assert drawn(follows.walk("user"))[1:] == [
        "follows (remove): one_id users",
        "follows (remove): other_id users",
    ]
    case = (
        USER.rstrip()
        + "\n  boss: {is: staff}\nlinks:\n  case: {in: app.cases, between: {user: user at user_id, b: boss at by_id}}\n"
    )
    assert told(the_map(case, USERS + "cases: id*, user_id! -> users.id, by_id!")) == []


def test_the_column_of_a_link_is_a_reference_though_the_database_knows_none() -> None:
    facts = (
        USER
        + "links:\n  friend: {in: app.friends, between: {one: user at one_id, other: user at other_id}}\n"
    )
    found = the_map(facts, USERS + "friends: id*, one_id, other_id")
    assert drawn(found.walk("user"))[1:] == [
        "friends (remove): one_id users",
        "friends (remove): other_id users",
    ]


def test_references_in_the_file_go_by_equal_text_into_json_and_under_a_condition() -> None:
    facts = """stores:
  app: {at: $APP, region: eea, references: {app.visits.email: app.users.email, app.events.body->user->id: app.users.id, app.notes.subject_id: {to: app.users.id, when: kind = user}}}
""" + of_user({"visits": "user", "events": "user", "notes": "user"})  # noqa: E501 as a policy is written
    found = the_map(
        facts, USERS + "visits: id*, email, note\nevents: id*, body, note\nnotes: id*, kind, subject_id, note"
    )
    assert told(found) == []
    assert drawn(found.walk("user"))[1:] == [
        "events: body users",
        "notes: subject_id users",
        "visits: email users",
    ]
    walk = found.walk("user")
    assert walk is not None
    assert [stop.hops[0].reference.path for stop in walk.stops[1:]] == [("user", "id"), (), ()]
    assert [str(stop.hops[0].reference.when) for stop in walk.stops[1:]] == ["None", "kind = user", "None"]


def test_a_table_that_hangs_on_a_person_at_any_distance_must_be_declared_or_impersonal() -> None:
    tables = USERS + "orders: id*, user_id -> users.id\nitems: id*, order_id -> orders.id\nplans: id*"
    assert [code for code, _ in told(the_map(USER, tables))] == ["undeclared-table", "undeclared-table"]
    stores = "stores:\n  app: {at: $APP, region: eea, impersonal: [orders]}\n"
    found = the_map(stores + USER, tables)
    assert [code for code, _ in told(found)] == ["undeclared-table"], (
        "listing one table does not list what hangs on it"
    )
    assert "app.items" in found.problems[0].message


def test_tables_and_columns_that_are_not_there_get_the_nearest_word() -> None:
    found = the_map(
        of_user({"order": "user"}),
        USERS.replace("email", "e_mail") + "orders: id*, user_id -> users.id, note",
    )
    helps = {(p.code, p.help) for p in found.problems}
    assert ("unknown-table", 'did you mean "orders"?') in helps
    assert ("unknown-column", 'did you mean "e_mail"?') in helps


def test_data_that_nothing_connects_with_its_person_is_told() -> None:
    assert told(the_map(of_user({"diaries": "user"}), USERS + "diaries: id*, note")) == [
        ("unreachable-data", "app.diaries")
    ]


def test_a_column_that_erasing_has_to_empty_and_that_must_not_be_is_told() -> None:
    tables = (
        USERS
        + """orders: id*, user_id! -> users.id, note
                        letters: id*, user_id! -> users.id, order_id! -> orders.id, note"""
    )
    assert told(the_map(of_user({"orders": "user", "letters": "user"}), tables)) == [
        ("cannot-unlink", "app.letters")
    ]
    stores = "stores:\n  app: {at: $APP, region: eea, impersonal: [audits]}\n"
    [(code, _)] = told(the_map(stores + USER, USERS + "audits: id*, user_id! -> users.id"))
    assert code == "cannot-unlink"


def test_owners_that_own_each_other_in_a_circle_are_told() -> None:
    found = the_map(
        of_user({"carts": "user at offer_id", "offers": "user at cart_id"}),
        USERS + "carts: id*, offer_id -> offers.id, note\noffers: id*, cart_id -> carts.id, note",
    )
    assert [code for code, _ in told(found)] == ["unreachable-data", "unreachable-data"]


def test_another_kinds_rows_are_in_the_walk_so_that_an_erasure_respects_them() -> None:
    facts = """people:
  member: {in: app.members, key: id}
  visitor: {in: app.visits, key: visitor_id}
data:
  activity: {of: [member, visitor], in: {app.visits: {page: behaviour}, app.clicks: {what: behaviour}}}
"""
    tables = """members: id*
                visits: id*, visitor_id, member_id -> members.id, page
                clicks: id*, visit_id -> visits.id, what"""
    found = the_map(facts, tables)
    walk = found.walk("member")
    assert walk is not None and told(found) == []
    assert drawn(walk) == ["members: ", "visits: member_id members", "clicks: visit_id visits"]
    assert [(s.table, [h.parent for h in s.hops]) for s in walk.stops[walk.own :]] == [
        ("visits", []),
        ("clicks", [3]),
    ]


def test_data_in_other_stores_is_named_and_not_forgotten() -> None:
    facts = """stores:
  app: {at: $APP, region: eea}
  site: {at: https://example.org, kind: browser}
people:
  user: {in: app.users, key: id}
data:
  usage: {of: user, in: {app.users: {email: email}, site.cookie: {_id: identifier}}}
"""
    found = the_map(facts, USERS)
    assert found.elsewhere("user") == {"site": ("cookie",)}
    walk = found.walk("user")
    assert walk is not None and walk.elsewhere == {"site": ("cookie",)}
    unconnected = build_map(found.policy, {})
    assert unconnected.walk("user") is None
    assert unconnected.elsewhere("user") == {"app": ("users",), "site": ("cookie",)}


def test_views_are_read_and_never_walked_through() -> None:
    facts = USER + "data:\n  ties: {of: user at user_id, in: {app.v_ties: {note: free-text}}}\n"
    found = the_map(facts, USERS + "v_ties: user_id, note")
    assert told(found) == []
    assert drawn(found.walk("user"))[1:] == ["v_ties: user_id users"]
