"""A policy file as text with places in it, and the problems found there."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

Severity = Literal["error", "finding"]


@dataclass(frozen=True)
class Span:
    """A stretch of one line: `line` and `column` count from 1, `length` in characters."""

    line: int
    column: int
    length: int = 1


@dataclass(frozen=True)
class Source:
    """The text of a policy file and the path it came from, as the user wrote it."""

    path: str
    text: str

    @classmethod
    def read(cls, path: Path | str) -> Source:
        """Read a file as UTF-8; raises OSError or UnicodeDecodeError."""
        return cls(str(path), Path(path).read_text("utf-8"))

    @property
    def digest(self) -> str:
        """SHA-256 of the text, in hex: which policy a verdict or an act was made under."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def lines(self) -> list[str]:
        """The lines as YAML counts them: other characters that Unicode calls line breaks are none."""
        return re.split("\r\n|\r|\n", self.text)

    def line(self, number: int) -> str:
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""


class Name(str):
    """A name written in a policy file: a str that knows where it stands."""

    __slots__ = ("span",)
    span: Span

    def __new__(cls, text: str, span: Span) -> Name:
        name = super().__new__(cls, text)
        name.span = span
        return name

    def __reduce__(self) -> tuple[type[Name], tuple[str, Span]]:
        return Name, (str(self), self.span)


@dataclass(frozen=True)
class Problem:
    """Something wrong with a policy: an error stops every other command, a finding is what a lawyer would say.

    `code` names the sort of problem (`unknown-key`); `law` the article a finding or error rests on, if any.
    """

    code: str
    message: str
    span: Span
    severity: Severity = "error"
    help: str | None = None
    law: str | None = None

    def show(self, source: Source) -> str:
        """The problem as text: place, message, the line with a caret, what to do, the law."""
        line = _masked(source.line(self.span.line))
        number = str(self.span.line)
        gutter = " " * len(number)
        # A long line is cut around the place, so that the caret stays in sight on a terminal.
        start = max(0, min(self.span.column - 1 - 40, len(line) - 110)) if len(line) > 116 else 0
        cut = line[start : start + 110] if len(line) > 116 else line
        shown = ("…" if start else "") + cut + ("…" if start + len(cut) < len(line) else "")
        caret = self.span.column - 1 - start + (1 if start else 0)
        width = max(1, min(self.span.length, len(shown) - caret))
        parts = [
            f"{self.severity}[{self.code}]: {self.message}",
            f"{gutter}--> {source.path}:{self.span.line}:{self.span.column}",
            f"{gutter} |",
            f"{number} | {shown}",
            f"{gutter} | {' ' * caret}{'^' * width}",
        ]
        if self.help:
            parts.append(f"{gutter} = help: {self.help}")
        if self.law:
            parts.append(f"{gutter} = law: {self.law}")
        return "\n".join(parts)


def _masked(line: str) -> str:
    """A line as it may be shown, character for character: secrets covered, control characters blank."""
    line = "".join(character if character.isprintable() else " " for character in line)
    pattern = r"(?<=://)[^/@\s]*:[^/@\s]+(?=@)|\b(?:sk|rk|pat|key)[_-]\w{6,}"
    return re.sub(pattern, lambda found: "•" * len(found[0]), line)


@dataclass
class Problems:
    """Problems as they are found; reading goes on, so that one run tells them all."""

    found: list[Problem] = field(default_factory=list)

    def error(
        self, code: str, message: str, span: Span, *, help: str | None = None, law: str | None = None
    ) -> None:
        self.found.append(Problem(code, message, span, "error", help, law))

    def finding(
        self, code: str, message: str, span: Span, *, help: str | None = None, law: str | None = None
    ) -> None:
        self.found.append(Problem(code, message, span, "finding", help, law))

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.found if problem.severity == "error"]

    def in_order(self) -> list[Problem]:
        return sorted(
            set(self.found), key=lambda p: (p.span.line, p.span.column, p.severity, p.code, p.message)
        )


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, or None when nothing is near."""
    candidates = sorted(set(known))
    close = difflib.get_close_matches(word.lower(), candidates, n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(word: str, known: Iterable[str], *, limit: int = 8) -> str:
    """`did you mean "x"?`, or the known words where none is near and they are few."""
    candidates = sorted(set(known))
    close = nearest(word, candidates)
    if close:
        return f'did you mean "{close}"?'
    if not candidates:
        return "none is declared yet"
    if len(candidates) <= limit:
        return "known: " + ", ".join(candidates)
    return "known: " + ", ".join(candidates[:limit]) + " …"
