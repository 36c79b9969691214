"""What is collected, from whom, and what never is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from kept.controls.phrases import conditions
from kept.controls.purposes.declare import Purpose
from kept.policy.conditions import Conditional, check_conditions
from kept.policy.entry import Promise, key
from kept.policy.fact_readers import store_of
from kept.policy.policy import Policy
from kept.policy.readers import Many, Reference, Word
from kept.policy.source import Name, Problems
from kept.policy.wording import data_words, joined, who_words


@dataclass(frozen=True, kw_only=True)
class Collecting(Conditional):
    """`{takes: account, optional: birth, from: user}`."""

    verbs: ClassVar = ("takes", "optional")

    takes: tuple[Name, ...] = key(Many(Reference("data")), default=())
    optional: tuple[Name, ...] = key(Many(Reference("data")), default=())
    sources: tuple[Name, ...] = key(
        Many(Reference("people", "ends", "parties", "public", "device")),
        name="from",
        required=True,
        default=(),
    )


@dataclass(frozen=True, kw_only=True)
class NeverCollected(Promise):
    """`{never: card-number}`."""

    verbs: ClassVar = ("never",)

    never: tuple[Name, ...] = key(
        Many(Word(("undeclared", "anything", "card-number", "health"), "something never collected")),
        required=True,
        default=(),
    )
    of: tuple[Name, ...] = key(Many(Reference("people", "ends")), default=())
    then: Name | None = key(Word(("refuse", "blot-out"), "what happens to a card number at an entrance"))

    @property
    def blots_out(self) -> bool:
        """Whether a card number is blotted out of what is taken, which is refused otherwise."""
        return self.then == "blot-out"


BRANCHES = (Collecting, NeverCollected)


def check(policy: Policy, problems: Problems, today: date) -> None:
    """Report data without a source, data both collected and never collected, cookies nobody chose."""
    taken: set[str] = set()
    for promise in policy.section("collection").values():
        if isinstance(promise, Collecting):
            taken.update(promise.takes, promise.optional)
            _collecting(policy, promise, problems)
        elif isinstance(promise, NeverCollected):
            _never(policy, promise, problems)
    for data in policy.data.values():
        if data.name not in taken and not policy.is_clients(data) and "collection" not in policy.incomplete:
            problems.error(
                "no-source",
                f"`{data.name}` comes from nowhere: no collection takes it",
                data.span,
                help=f"add to collection: {{takes: {data.name}, from: …}}",
                law=policy.cite("Art. 13, 14(2)(f)"),
            )


def _collecting(policy: Policy, promise: Collecting, problems: Problems) -> None:
    check_conditions(policy, promise, problems)
    for name in promise.optional:
        if name in promise.takes:
            problems.error(
                "contradiction", f"`{name}` is both taken and optional", name.span, help="keep one of the two"
            )
    for name in (*promise.takes, *promise.optional):
        data = policy.data.get(name)
        if data is None or promise.choice or "purposes" in policy.incomplete:
            continue
        uses = [
            use
            for use in policy.section("purposes").values()
            if isinstance(use, Purpose) and name in use.uses
        ]
        grounds = {str(ground) for use in uses for ground in use.ground.values()}
        if (
            name in promise.takes
            and grounds == {"consent"}
            and all(use.ground for use in uses)
            and policy.european()
        ):
            problems.finding(
                "bundled-consent",
                f"`{name}` must be given, yet everything it is used for rests on consent",
                name.span,
                help="make it optional, or put the collection under the same choice",
                law=policy.cite("Art. 7(4)"),
            )
        cookies = [
            table
            for table in data.tables
            if store_of(table) in policy.stores
            and policy.stores[store_of(table)].sort == "browser"
            and table.endswith((".cookie", ".storage", ".beacon"))
        ]
        if cookies and grounds - {"contract", "legal-duty"} and policy.european():
            problems.finding(
                "cookies-without-choice",
                f"`{name}` is kept in the browser for more than the service asked for, and without a choice",
                name.span,
                help="add choice: the standing yes it waits for",
                law="Directive 2002/58/EC Art. 5(3)"
                if "gdpr" in policy.laws
                else "Privacy and Electronic Communications Regulations 2003, reg. 6",
            )


def _never(policy: Policy, promise: NeverCollected, problems: Problems) -> None:
    kinds = {kind for who in promise.of if (kind := policy.kind_of(who)) is not None}
    if "anything" in promise.never and not promise.of:
        problems.error(
            "of-whom",
            f"`{promise.name}` does not say of whom nothing is collected",
            promise.at("never"),
            help="add of: a kind of person",
        )
    if promise.then is not None and (others := [word for word in promise.never if word != "card-number"]):
        problems.error(
            "not-a-card-number",
            f"`{promise.name}` says what happens to card numbers, and forbids {others[0]} as well",
            promise.at("then"),
            help="then: belongs to never: card-number alone; make it an entry of its own",
        )
    for data in policy.data.values():
        about = {owner for owner in policy.owners(data) if not kinds or kinds & set(policy.chain(owner))}
        if "anything" in promise.never and kinds and about:
            problems.error(
                "contradiction",
                f"nothing is ever collected of `{' or '.join(sorted(about))}`, and `{data.name}` is theirs",
                data.span,
                help=f"see `{promise.id}` on line {promise.span.line}",
            )
        for columns in data.tables.values():
            for column, sort in columns.items():
                if sort.type in promise.never and about:
                    problems.error(
                        "contradiction",
                        f"{sort.type} is never collected, and `{data.name}` has a column of it",
                        column.span,
                        help=f"see `{promise.id}` on line {promise.span.line}",
                    )
    if "anything" in promise.never:
        for other in policy.section("collection").values():
            for source in other.sources if isinstance(other, Collecting) else ():
                if kinds & set(policy.chain(policy.kind_of(source) or "")):
                    problems.error(
                        "contradiction",
                        f"nothing is ever collected of `{source}`, and `{other.name}` collects from them",
                        source.span,
                        help=f"see `{promise.id}` on line {promise.span.line}",
                    )


def sentence(policy: Policy, promise: Collecting | NeverCollected) -> str:
    """The promise as the policy page says it."""
    if isinstance(promise, NeverCollected):
        whom = joined((who_words(policy, who) for who in promise.of), "or")
        about = f" about {whom}" if whom else ""
        never = {
            "undeclared": f"We collect nothing{about} beyond what this page names.",
            "anything": f"We collect nothing{about}.",
            "card-number": f"We never take full card numbers{about and f' of {whom}'}.",
            "health": f"We never collect data about {f'the health of {whom}' if whom else 'anyone’s health'}.",
        }
        told = [never[word] for word in promise.never]
        if promise.then == "refuse":
            told.append("What holds one is not accepted.")
        elif promise.then is not None:
            told.append("Where one is written to us all the same, we blot it out before anything is kept.")
        return " ".join(told)
    names = (*promise.takes, *promise.optional)
    you = {str(owner.who) for name in names if name in policy.data for owner in policy.data[name].of}
    you |= {
        who for who in promise.sources if "." not in who and any(policy.related(who, kind) for kind in you)
    }
    ours = [who for who in promise.sources if who in policy.parties and policy.parties[who].role == "us"]
    others = [who_words(policy, who, you) for who in promise.sources if who not in ours]
    data = data_words(policy, names)
    terms = conditions(policy, [promise], you)
    if ours and not others:
        text = f"We note {data} ourselves{terms}."
    else:
        sources = dict.fromkeys([*others, *(["our own records"] if ours else [])])
        text = f"We collect {data} from {joined(sources, 'or')}{terms}."
    if promise.optional and not promise.takes:
        return f"{text} You can leave this out."
    if promise.optional:
        return f"{text} You can leave out {data_words(policy, promise.optional)}."
    return text
