"""The answer to a request for access: a zip with a page to read, JSON for machines, a CSV for each table.

For each kind of data it says what GDPR Art. 15(1) asks: what is held, why, from where, for how long, who gets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from jinja2 import Environment, PackageLoader

from kept.controls.collection.declare import Collecting
from kept.controls.disclosure.declare import Disclosure
from kept.controls.purposes.declare import Purpose
from kept.controls.retention.declare import Retention
from kept.controls.rights.answers.archives import Around, Frame
from kept.controls.rights.answers.archives import Sought as Sought  # an answer is asked by this name
from kept.controls.rights.answers.forms import Slot, as_json, encoded
from kept.policy.conditions import Conditional
from kept.policy.entry import Promise
from kept.policy.policy import Policy

Sentence = Callable[[Promise], str]


@dataclass(frozen=True)
class Explanation:
    """What a person is told about one kind of data, as sentences of the policy page."""

    why: tuple[str, ...]
    source: tuple[str, ...]
    until: tuple[str, ...]
    recipients: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """One kind of data as the page tells of it."""

    data: str
    explanation: Explanation

    @property
    def is_fact(self) -> bool:
        """Whether it is what the record itself says (its times, its ties) rather than data the policy speaks of."""
        return not (self.explanation.until or self.explanation.source)

    @property
    def title(self) -> str:
        """`Account`, `Tie: works for`."""
        return title(self.data)


def title(data: str) -> str:
    """A data's name, or `tie LINK`, as a heading."""
    return data.replace("tie ", "tie: ").replace("-", " ").capitalize()


def explain(policy: Policy, data: str, sentence: Sentence) -> Explanation:
    """Which promises of the policy speak of a kind of data, or of a tie (`tie LINK`)."""
    why, source, until, recipients = [], [], [], []
    for promise in policy.every_promise():
        ties = (*promise.case, promise.during) if isinstance(promise, Conditional) else ()
        used = isinstance(promise, Purpose) and data in promise.uses
        if used or data in {f"tie {link}" for link in ties}:
            why.append(sentence(promise))
        elif isinstance(promise, Collecting) and data in (*promise.takes, *promise.optional):
            source.append(sentence(promise))
        elif isinstance(promise, Retention) and data in promise.keeps:
            until.append(sentence(promise))
        elif isinstance(promise, Disclosure) and data in promise.gives:
            recipients.append(sentence(promise))
    return Explanation(tuple(why), tuple(source), tuple(until), tuple(recipients))


def contacts(policy: Policy) -> tuple[Mapping[str, str], ...]:
    """How to reach the controllers."""
    return tuple(
        {"controller": party.label, **detail} for party in policy.us() for detail in party.contacts.values()
    )


_PAGES = Environment(
    loader=PackageLoader("kept.controls.rights.answers"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)
_HERE = "\0"  # in a page's template: where a part of it ends; no text of a policy has it, YAML forbids it


def frame(policy: Policy, at: datetime, slots: Mapping[str, tuple[Slot, ...]], sentence: Sentence) -> Frame:
    """What stands in every answer of a batch whose rows are in these slots; `at` is UTC."""
    names = dict.fromkeys(slot.data for group in slots.values() for slot in group)
    told = [Told(name, explain(policy, name, sentence)) for name in names]
    named = {"policy": policy.name, "version": policy.version, "at": at, "contacts": contacts(policy)}
    return Frame(
        at,
        slots,
        page=page("answer.html", names, told=told, **named),
        json=Around(
            b"{\n"
            + b"".join(as_json(key) + b": " + as_json(value) + b",\n" for key, value in named.items())
            # the times and versions are written as ISO 8601 says
            + b'"data": {\n',
            {one.data: (_opening(one), b"\n}}") for one in told},
            b"\n}",
        ),
        always=frozenset(name for name in names if name in policy.data),
    )


def page(template: str, names: Iterable[str], **values: object) -> Around:
    """A page in parts, from a template that marks where each data begins, has its rows, and ends."""
    text = _PAGES.get_template(template).render(here=_HERE, **values)
    head, *parts = text.split(_HERE)
    foot = parts.pop()
    data = {
        name: (encoded(before), encoded(after))
        for name, before, after in zip(names, parts[::2], parts[1::2], strict=True)
    }
    return Around(encoded(head), data, encoded(foot))


def _opening(told: Told) -> bytes:
    explained = as_json(asdict(told.explanation)).removesuffix(b"}")
    return as_json(told.data) + b": " + explained + b', "held": {\n'
