"""An entrance of the company's own application: which of its paths are which steps, and what of a request goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypedDict

from kept.company import Company
from kept.controls.collection.enforce import Collected, collect, only_source, step_named, why
from kept.controls.collection.gate import bodies
from kept.controls.collection.persons.age import Age
from kept.controls.refused import Refused
from kept.controls.rights.people import Person
from kept.errors import KeptError

BODY: Final = 8 << 20  # bytes of a body, files and all
COLLECTED: Final = "kept.collected"
"""Under this name the application finds what was collected: in the scope of ASGI, in the environ of WSGI."""


@dataclass(frozen=True)
class Step:
    """What a path is for: a step of the policy, the source (None: the only one it has), fields that are no data about
    anybody (`besides`, such as a token of the form), and the methods that bring a form."""

    step: str
    source: str | None = None
    besides: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset({"POST", "PUT", "PATCH"})
    strict: bool = False


class Asking(TypedDict, total=False):
    """What the application knows of whoever sends a form, as `collect` takes it."""

    who: Person | None
    region: str | None
    signals: frozenset[str]
    evidence: Mapping[str, str]
    age: Age | None
    guardian: Person | None
    role: str | None


@dataclass(frozen=True)
class Sent:
    """A request as it came; nothing of it has been looked at. `query` is what stands behind the question mark."""

    content_type: str
    encoding: str
    query: str
    body: bytes = field(repr=False)
    gpc: bool = False


@dataclass(frozen=True)
class Passed:
    """A request as it goes on to the application."""

    content_type: str
    query: str = field(repr=False)
    body: bytes = field(repr=False)
    collected: Collected


class TooLarge(KeptError):
    """A body is larger than the entrance takes."""

    def __init__(self) -> None:
        super().__init__("what was sent is too large")


class Entrance:
    """The paths of an application that take personal data, each with its step.

    `steps` maps paths to steps: `/register`, `/shops/{shop}/edit` (a name in braces is one part of a path). A slash at
    the end, two in a row, and capitals make no other path, for applications take them for the same. Forms on other
    paths aren't looked at, nor is what comes through a WebSocket. Raises Refused for a step or a source that the policy
    doesn't have.
    """

    def __init__(
        self, company: Company | Callable[[], Company], steps: Mapping[str, str | Step], *, body: int = BODY
    ) -> None:
        self._company = company
        self.body = body
        given = {path: Step(step) if isinstance(step, str) else step for path, step in steps.items()}
        self._paths = {path: self._sourced(step) for path, step in given.items()}

    @property
    def company(self) -> Company:
        """The company whose policy holds now."""
        return self._company if isinstance(self._company, Company) else self._company()

    def step(self, method: str, path: str) -> Step | None:
        """The step that a request is for; None where it brings no form to look at."""
        plain = _plain(path)
        for pattern, step in self._patterns:
            if pattern.fullmatch(plain):
                return step if method.upper() in step.methods else None
        return None

    def judge(self, step: Step, sent: Sent, asking: Asking) -> Passed:
        """What of a request goes on; Refused where it doesn't."""
        if sent.encoding.strip().lower() not in ("", "identity"):
            raise Refused("no-form", "a packed body can't be looked into", help="send it as it is")
        read = bodies.read(sent.content_type, sent.body)
        asked = bodies.query(sent.query)
        if set(asked) & set(read.form):
            raise Refused("twice", "a field is given in the address and in the body")
        signals = asking.get("signals", frozenset()) | (frozenset({"gpc"}) if sent.gpc else frozenset())
        known: dict[str, Any] = {**asking, "signals": signals}
        known.setdefault("who", None)
        assert step.source is not None
        found = collect(
            self.company,
            step.step,
            {**asked, **read.form},
            source=step.source,
            strict=step.strict,
            besides=step.besides,
            **known,
        )
        went = {name: bodies.alike(value, read.form.get(name)) for name, value in found.form.items()}
        body, content_type = bodies.write(
            read.kind, {name: value for name, value in went.items() if name in read.form}, sent.content_type
        )
        query = bodies.written({name: value for name, value in went.items() if name in asked})
        return Passed(content_type, query, body, found)

    def _sourced(self, step: Step) -> Step:
        policy = self.company.policy
        source = step.source if step.source is not None else only_source(policy, step.step)
        entry = step_named(policy, step.step)
        if source not in map(str, entry.sources):
            raise Refused(
                "unknown-source", f"`{step.step}` takes nothing from `{source}`", clause=entry.clause
            )
        return Step(step.step, source, step.besides, step.methods, step.strict)

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], Step]]:
        return [(_pattern(path), step) for path, step in self._paths.items()]


def answer(wrong: KeptError) -> tuple[int, bytes]:
    """A refusal as an answer of HTTP: its status, and JSON without anything that was sent."""
    status = 422
    if isinstance(wrong, TooLarge):
        status = 413
    elif not isinstance(wrong, Refused) or wrong.reason == "unreachable":
        status = 503
    return status, json.dumps(why(wrong), ensure_ascii=False).encode()


def _plain(path: str) -> str:
    return "/" + "/".join(part for part in path.casefold().split("/") if part)


def _pattern(path: str) -> re.Pattern[str]:
    parts = (part for part in path.split("/") if part)
    return re.compile(
        "/"
        + "/".join(
            "[^/]+" if part.startswith("{") and part.endswith("}") else re.escape(part.casefold())
            for part in parts
        )
    )
