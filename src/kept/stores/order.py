"""In which order rows can be deleted: tables that refer before those they refer to, circles together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kept.stores.schema import Table


def deletion_order(tables: Mapping[str, Table], chosen: Iterable[str]) -> list[list[str]]:
    """Groups of tables, each to be emptied before the next; a group of several refers to itself in a circle.

    Only references that the database knows count: it checks no others. Strongly connected parts, by Tarjan (1972).
    """
    nodes = list(chosen)
    edges = {
        name: [
            r.to
            for r in tables[name].references
            if r.declared == "database" and r.to in nodes and r.to != name
        ]
        for name in nodes
    }
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for to in edges[name]:
            if to not in index:
                visit(to)
                low[name] = min(low[name], low[to])
            elif to in stack:
                low[name] = min(low[name], index[to])
        if low[name] == index[name]:
            at = stack.index(name)
            groups.append(sorted(stack[at:]))
            del stack[at:]

    for name in nodes:
        if name not in index:
            visit(name)
    return groups[::-1]
