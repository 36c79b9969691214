"""Checks of links: ends that differ, and what happens to the row when one of them goes."""

from __future__ import annotations

from kept.policy.policy import Policy
from kept.policy.source import Problems, did_you_mean


def check(policy: Policy, problems: Problems) -> None:
    """Report what is wrong with links."""
    for link in policy.links.values():
        columns: dict[str, str] = {}
        for end, at in link.between.items():
            other = columns.setdefault(at.column, end)
            if other != end:
                problems.error(
                    "contradiction",
                    f"`{other}` and `{end}` of `{link.name}` stand in one column, {at.column}",
                    end.span,
                    help="each end has a column of its own",
                )
        for end in link.erased:
            if end not in link.between:
                problems.error(
                    "unknown-end",
                    f'"{end}" is not an end of `{link.name}`',
                    end.span,
                    help=did_you_mean(end, link.between),
                )
