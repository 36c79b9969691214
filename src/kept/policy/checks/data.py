"""Checks of data: owners who are people outside, columns that mean one thing."""

from __future__ import annotations

from kept.policy.policy import Policy
from kept.policy.source import Name, Problems

TIMES = {"recorded", "time"}


def check(policy: Policy, problems: Problems) -> None:
    """Report what is wrong with data."""
    seen: dict[tuple[str, str], tuple[Name, str]] = {}
    for data in policy.data.values():
        for owner in data.of:
            kind = policy.kind_of(owner.who)
            if kind is not None and policy.is_staff(kind):
                problems.error(
                    "owned-by-staff",
                    f"`{owner.who}` is staff: what they do is no data of the people you serve",
                    owner.who.span,
                    help="name the person it is about, or leave it out",
                )
        for table, columns in data.tables.items():
            for column, sort in columns.items():
                first, earlier = seen.setdefault((table, column), (data.name, str(sort)))
                if earlier != str(sort) and not {earlier, str(sort)} <= TIMES:
                    problems.error(
                        "contradiction",
                        f"{table}.{column} is {earlier} in `{first}` and {sort} here",
                        column.span,
                        help="one column holds one sort of data",
                    )
                if (
                    sort.store is not None
                    and sort.store in policy.stores
                    and policy.stores[sort.store].sort not in ("files", "outside")
                ):
                    problems.error(
                        "not-files",
                        f"`{sort.store}` holds no files",
                        sort.store.span,
                        help="name a store of kind: files",
                    )
