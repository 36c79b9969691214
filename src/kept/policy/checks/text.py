"""What was left in the text by those who drafted it."""

from __future__ import annotations

import re

from kept.policy.policy import Policy
from kept.policy.source import Problems, Span

NOTE = re.compile(r"\b(TODO|TBD|FIXME|XXX|lorem ipsum)\b|\[(insert|your|company name)\b[^\],]*\]", re.I)


def check(policy: Policy, problems: Problems) -> None:
    """A drafting note that was never removed; comments may hold what they like."""
    for number, line in enumerate(policy.source.lines, 1):
        published = re.split(r"(?:^|\s)#", line, maxsplit=1)[0]
        for match in NOTE.finditer(published):
            problems.finding(
                "drafting-note",
                f"a drafting note was left in the text: {match[0]}",
                Span(number, match.start() + 1, len(match[0])),
                help="put in what is meant, or take it out",
                law=policy.cite("Art. 12(1)"),
            )
