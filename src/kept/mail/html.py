"""The text of an HTML mail, for staff to read: no tag, no style, no script, nothing loaded."""

from __future__ import annotations

import html
import re
from typing import Final

LIMIT: Final = 1 << 17  # characters looked at
_BLOCKS: Final = frozenset(
    "p div br tr li ul ol table h1 h2 h3 h4 h5 h6 blockquote pre hr section article".split()  # noqa: SIM905
)
_SILENT: Final = ("script", "style", "head", "title", "template")
_NAME: Final = re.compile(r"/?([A-Za-z][A-Za-z0-9]{0,20})")


def text_of(source: str) -> str:
    """What a reader sees, more or less. Every character is passed once: a tag left open ends the text."""
    source = source[:LIMIT]
    small = source.lower() if len(source.lower()) == len(source) else source  # `İ` makes two of one
    out: list[str] = []
    at = 0
    while True:
        opens = source.find("<", at)
        if opens < 0:
            out.append(source[at:])
            break
        out.append(source[at:opens])
        comment = source.startswith("<!--", opens)
        closes = source.find("-->" if comment else ">", opens)
        if closes < 0:
            break
        at = closes + (3 if comment else 1)
        found = _NAME.match(source, opens + 1)
        if found is None:
            if not comment and source[opens + 1 : opens + 2] not in ("!", "?", "/"):
                out.append("<")  # "a < b", not a tag
                at = opens + 1
            continue
        name = found[1].lower()
        if name in _BLOCKS:
            out.append("\n")
        if name in _SILENT and source[opens + 1] != "/":
            end = small.find(f"</{name}", at)
            if end < 0:
                break
            at = end
    lines = (" ".join(line.split()) for line in html.unescape("".join(out)).split("\n"))
    return "\n".join(lines).strip()
