"""The data map as people and programs read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kept.datamap.drift import Difference
from kept.datamap.graph import DataMap


def map_as_json(
    found: DataMap, differences: Sequence[Difference], unreachable: Mapping[str, str]
) -> dict[str, object]:
    """`{"kinds": {kind: {"store", "tables": {table: [columns]}, "elsewhere"}}, "drift": […], "unreachable"}`."""
    return {
        "kinds": {
            kind: {
                "store": walk.store,
                "tables": {
                    table: sorted({c for i in walk.of_table(table) for c in walk.stops[i].columns})
                    for table in walk.own_tables()
                },
                "elsewhere": {store: list(tables) for store, tables in walk.elsewhere.items()},
            }
            for kind, walk in found.walks.items()
        },
        "drift": [str(difference) for difference in differences],
        "problems": [problem.message for problem in found.problems],
        "unreachable": dict(unreachable),
    }


def map_as_text(found: DataMap, differences: Sequence[Difference], unreachable: Mapping[str, str]) -> str:
    """For each kind of person the tables that hold their data; then drift; then what can't be asked."""
    lines = []
    for kind, walk in found.walks.items():
        lines.append(f"{kind}")
        for table in walk.own_tables():
            columns = sorted({c for i in walk.of_table(table) for c in walk.stops[i].columns})
            lines.append(f"  {walk.store}.{table}: {', '.join(columns) or 'ties only'}")
        for store, tables in walk.elsewhere.items():
            lines.append(
                f"  {store}: {', '.join(tables)} (not reached: {unreachable.get(store, 'another store')})"
            )
    lines.append("")
    lines += [f"drift: {difference}" for difference in differences]
    lines += [f"{problem.severity}: {problem.message}" for problem in found.problems]
    lines += [f"not asked: {store}: {reason}" for store, reason in unreachable.items()]
    number = len(differences)
    told = f"{number} difference{'' if number == 1 else 's'} between file and database."
    lines.append(told if differences else "File and database agree.")
    return "\n".join(lines)
